//! Commands about the mails of the selected folder: FETCH, STORE, SEARCH, COPY, EXPUNGE.
//!
//! Numbers are places in what the client has been told; a mail that is gone since is passed over. Next: [`super::fetch`]
//! and [`super::search`], which are pure.

use std::collections::BTreeSet;
use std::io;

use super::super::store::Message;
use super::syntax::{Arg, Command, in_set};
use super::{Next, Session, fetch, search};

/// A mail and the number that the client knows it by.
pub(super) struct Numbered {
    pub(super) number: u32,
    pub(super) message: Message,
}

impl Session<'_> {
    pub(super) async fn fetch(&mut self, command: &Command, by_uid: bool) -> io::Result<Next> {
        let (Some(set), Some(items)) = (command.text(0), command.args.get(1)) else {
            return self.done(&command.tag, "BAD Syntax: FETCH set items").await;
        };
        let items = fetch::items(&items.words(), by_uid);
        let writable = self.selected.as_ref().is_some_and(|selected| !selected.read_only);
        let marks = writable && items.iter().any(|item| fetch::marks_seen(item));
        for Numbered { number, mut message } in self.targets(&set, by_uid) {
            let mut items = items.clone();
            if marks && message.flags.insert("\\Seen".to_owned()) {
                self.set_flags(message.uid, &message.flags);
                items.insert(0, "FLAGS".to_owned());
            }
            let Some(line) = fetch::line(number, &message, &items) else {
                return self.done(&command.tag, "BAD Unknown item").await;
            };
            self.wire.send(&line).await?;
        }
        self.announce(by_uid).await?;
        self.done(&command.tag, "OK FETCH completed").await
    }

    pub(super) async fn store(&mut self, command: &Command, by_uid: bool) -> io::Result<Next> {
        let (Some(set), Some(mode), Some(flags)) =
            (command.text(0), command.text(1), command.args.get(2))
        else {
            return self.done(&command.tag, "BAD Syntax: STORE set FLAGS (flags)").await;
        };
        if self.selected.as_ref().is_some_and(|selected| selected.read_only) {
            return self.done(&command.tag, "NO [READ-ONLY] Selected with EXAMINE").await;
        }
        let mode = mode.to_ascii_uppercase();
        let given: BTreeSet<String> = flags.words().into_iter().collect();
        for Numbered { number, message } in self.targets(&set, by_uid) {
            let flags: BTreeSet<String> = match mode.as_bytes().first() {
                Some(b'+') => &message.flags | &given,
                Some(b'-') => &message.flags - &given,
                _ => given.clone(),
            };
            self.set_flags(message.uid, &flags);
            if !mode.ends_with(".SILENT") {
                let changed = Message { flags, ..message };
                let line =
                    fetch::line(number, &changed, &fetch::items(&["FLAGS".to_owned()], by_uid));
                self.wire.send(&line.unwrap_or_default()).await?;
            }
        }
        self.done(&command.tag, "OK STORE completed").await
    }

    pub(super) async fn search(&mut self, command: &Command, by_uid: bool) -> io::Result<Next> {
        let all = self.targets("1:*", false);
        let Some(found) = search::search(&command.args, &all) else {
            return self.done(&command.tag, "BAD Unknown search key").await;
        };
        let number = |it: &&Numbered| if by_uid { it.message.uid } else { it.number };
        let numbers: String = found.iter().map(|it| format!(" {}", number(it))).collect();
        self.wire.say(&format!("* SEARCH{numbers}")).await?;
        self.announce(by_uid).await?;
        self.done(&command.tag, "OK SEARCH completed").await
    }

    pub(super) async fn copy(&mut self, command: &Command, by_uid: bool) -> io::Result<Next> {
        let (Some(set), Some(folder)) = (command.text(0), command.text(1)) else {
            return self.done(&command.tag, "BAD Syntax: COPY set folder").await;
        };
        let user = self.user();
        for Numbered { message, .. } in self.targets(&set, by_uid) {
            let Message { flags, received_ms, raw, .. } = message;
            if self.door.store.append(&user, &folder, flags, received_ms, &raw).is_err() {
                return self.done(&command.tag, "NO [TRYCREATE] Not copied").await;
            }
        }
        self.done(&command.tag, "OK COPY completed").await
    }

    pub(super) async fn expunge(&mut self, command: &Command) -> io::Result<Next> {
        self.drop_deleted();
        self.announce(true).await?;
        self.done(&command.tag, "OK EXPUNGE completed").await
    }

    pub(super) async fn leave(&mut self, command: &Command) -> io::Result<Next> {
        if command.name == "CLOSE" {
            self.drop_deleted();
        }
        self.selected = None;
        self.done(&command.tag, "OK Completed").await
    }

    /// The mails of a set that are still there.
    fn targets(&self, set: &str, by_uid: bool) -> Vec<Numbered> {
        let Some((selected, folder)) = self.look() else { return Vec::new() };
        let last_uid = selected.uids.last().copied().unwrap_or(0);
        let count = u32::try_from(selected.uids.len()).unwrap_or(u32::MAX);
        let known = (1_u32..).zip(&selected.uids);
        let wanted = known.filter(|&(number, &uid)| match by_uid {
            true => in_set(set, uid, last_uid),
            false => in_set(set, number, count),
        });
        let found = wanted.filter_map(|(number, uid)| {
            let at = folder.messages.binary_search_by_key(uid, |message| message.uid).ok()?;
            Some(Numbered { number, message: folder.messages[at].clone() })
        });
        found.collect()
    }

    fn set_flags(&self, uid: u32, flags: &BTreeSet<String>) {
        let Some(selected) = &self.selected else { return };
        self.door.store.change(&self.user(), &selected.name, |folder| {
            if let Some(message) = folder.messages.iter_mut().find(|message| message.uid == uid) {
                message.flags.clone_from(flags);
            }
        });
    }

    fn drop_deleted(&self) {
        let Some(selected) = self.selected.as_ref().filter(|selected| !selected.read_only) else {
            return;
        };
        self.door.store.change(&self.user(), &selected.name, |folder| {
            folder.messages.retain(|message| !message.flags.contains("\\Deleted"));
        });
    }
}

impl Arg {
    /// Whether an argument is the word `name`.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(name))
    }
}
