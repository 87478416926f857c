//! The mail itself, in memory: users, folders, messages.
//!
//! Both servers share it, so a mail sent is a mail read. Bounded: 10,000 messages a folder, 64 folders a user, 1,000
//! users, 8 MiB a message. It checks no rights. Next: [`super::imap`], which reads it, and [`super::smtp`], which fills it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Largest message in bytes.
pub const MESSAGE_MAX: usize = 8 * 1024 * 1024;
const MESSAGES_MAX: usize = 10_000;
const FOLDERS_MAX: usize = 64;
const USERS_MAX: usize = 1000;
const FIRST_FOLDERS: [&str; 4] = ["INBOX", "Drafts", "Sent", "Trash"];

/// One mail.
#[derive(Clone, Debug)]
pub struct Message {
    /// Unique within its folder, ascending.
    pub uid: u32,
    /// Flags such as `\Seen`.
    pub flags: BTreeSet<String>,
    /// When it arrived, in milliseconds since 1970.
    pub received_ms: i64,
    /// The mail, byte for byte.
    pub raw: Arc<[u8]>,
}

/// One folder; clones share the mails.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The next mail's uid.
    pub uid_next: u32,
    /// Its mails by ascending uid.
    pub messages: Vec<Message>,
}

impl Default for Folder {
    fn default() -> Self {
        Self { uid_next: 1, messages: Vec::new() }
    }
}

/// Why mail is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreRefusal {
    /// There is no folder of that name.
    NoFolder,
    /// A bound is reached.
    Full,
}

type Folders = BTreeMap<String, Folder>;

/// Everybody's mail; clones share it.
#[derive(Clone, Debug)]
pub struct MailStore {
    users: Arc<Mutex<HashMap<String, Folders>>>,
    changed: watch::Sender<u64>,
}

impl Default for MailStore {
    fn default() -> Self {
        Self { users: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl MailStore {
    /// Puts a mail into a folder; returns its uid. A user unknown so far gets empty folders first.
    ///
    /// # Errors
    /// No such folder, or a bound is reached.
    pub fn append(
        &self,
        user: &str,
        folder: &str,
        flags: BTreeSet<String>,
        received_ms: i64,
        raw: &[u8],
    ) -> Result<u32, StoreRefusal> {
        let mut users = self.folders_of(user)?;
        let folders = users.get_mut(&key(user)).ok_or(StoreRefusal::Full)?;
        let folder = folders.get_mut(&folder_key(folder)).ok_or(StoreRefusal::NoFolder)?;
        if folder.messages.len() >= MESSAGES_MAX || raw.len() > MESSAGE_MAX {
            return Err(StoreRefusal::Full);
        }
        let uid = folder.uid_next;
        folder.uid_next += 1;
        folder.messages.push(Message { uid, flags, received_ms, raw: raw.into() });
        drop(users);
        self.changed.send_modify(|version| *version += 1);
        Ok(uid)
    }

    /// A folder as it is now.
    pub fn folder(&self, user: &str, folder: &str) -> Option<Folder> {
        self.folders_of(user).ok()?.get(&key(user))?.get(&folder_key(folder)).cloned()
    }

    /// The names of a user's folders.
    pub fn folder_names(&self, user: &str) -> Vec<String> {
        let Ok(users) = self.folders_of(user) else { return Vec::new() };
        users.get(&key(user)).map(|folders| folders.keys().cloned().collect()).unwrap_or_default()
    }

    /// Makes a folder; false if there is one or there are too many.
    pub fn create(&self, user: &str, folder: &str) -> bool {
        let Ok(mut users) = self.folders_of(user) else { return false };
        let Some(folders) = users.get_mut(&key(user)) else { return false };
        let new = folders.len() < FOLDERS_MAX && !folders.contains_key(&folder_key(folder));
        if new {
            folders.insert(folder_key(folder), Folder::default());
        }
        new
    }

    /// Changes a folder.
    pub fn change<R>(
        &self,
        user: &str,
        folder: &str,
        change: impl FnOnce(&mut Folder) -> R,
    ) -> Option<R> {
        let mut users = self.folders_of(user).ok()?;
        let result = change(users.get_mut(&key(user))?.get_mut(&folder_key(folder))?);
        drop(users);
        self.changed.send_modify(|version| *version += 1);
        Some(result)
    }

    /// The bytes of all mails in a folder, oldest first; for tests.
    pub fn mails(&self, user: &str, folder: &str) -> Vec<Arc<[u8]>> {
        let folder = self.folder(user, folder).unwrap_or_default();
        folder.messages.into_iter().map(|message| message.raw).collect()
    }

    /// Ticks whenever anything changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn folders_of(
        &self,
        user: &str,
    ) -> Result<MutexGuard<'_, HashMap<String, Folders>>, StoreRefusal> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if !users.contains_key(&key(user)) {
            if users.len() >= USERS_MAX {
                return Err(StoreRefusal::Full);
            }
            let fresh = FIRST_FOLDERS.map(|name| (name.to_owned(), Folder::default()));
            users.insert(key(user), fresh.into_iter().collect());
        }
        Ok(users)
    }
}

fn key(user: &str) -> String {
    user.to_ascii_lowercase()
}

/// `INBOX` is the one name that ignores case (RFC 3501 section 5.1).
fn folder_key(name: &str) -> String {
    if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name.to_owned() }
}
