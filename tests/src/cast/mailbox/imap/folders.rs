//! Commands about folders: LIST, STATUS, CREATE, SELECT, APPEND.
//!
//! Every user has INBOX, Drafts, Sent and Trash from the start. UIDVALIDITY is 1 for ever: nothing outlives the process.
//! Next: [`super::messages`].

use std::collections::BTreeSet;
use std::io;

use super::super::store::{Folder, StoreRefusal};
use super::syntax::{Arg, Command};
use super::{Next, Selected, Session};

impl Session<'_> {
    pub(super) async fn list(&mut self, command: &Command) -> io::Result<Next> {
        let (Some(reference), Some(pattern)) = (command.text(0), command.text(1)) else {
            return self.done(&command.tag, "BAD Syntax: LIST reference pattern").await;
        };
        if pattern.is_empty() {
            self.wire.say(&format!("* {} (\\Noselect) \"/\" \"\"", command.name)).await?;
        }
        let pattern = format!("{reference}{pattern}");
        for name in self.door.store.folder_names(&self.user()) {
            if matches(&pattern, &name) {
                self.wire
                    .say(&format!("* {} (\\HasNoChildren) \"/\" {}", command.name, quoted(&name)))
                    .await?;
            }
        }
        self.done(&command.tag, "OK Completed").await
    }

    pub(super) async fn status(&mut self, command: &Command) -> io::Result<Next> {
        let name = command.text(0).unwrap_or_default();
        let Some(folder) = self.door.store.folder(&self.user(), &name) else {
            return self.done(&command.tag, "NO [NONEXISTENT] No such folder").await;
        };
        let wanted = command.args.get(1).map(Arg::words).unwrap_or_default();
        let items = wanted.iter().filter_map(|item| {
            let number = match item.to_ascii_uppercase().as_str() {
                "MESSAGES" => folder.messages.len(),
                "RECENT" => 0,
                "UIDNEXT" => folder.uid_next as usize,
                "UIDVALIDITY" => 1,
                "UNSEEN" => unseen(&folder),
                _ => return None,
            };
            Some(format!("{} {number}", item.to_ascii_uppercase()))
        });
        let items = items.collect::<Vec<_>>().join(" ");
        self.wire.say(&format!("* STATUS {} ({items})", quoted(&name))).await?;
        self.done(&command.tag, "OK STATUS completed").await
    }

    pub(super) async fn create(&mut self, command: &Command) -> io::Result<Next> {
        let name = command.text(0).unwrap_or_default();
        if !name.is_empty() && self.door.store.create(&self.user(), &name) {
            return self.done(&command.tag, "OK CREATE completed").await;
        }
        self.done(&command.tag, "NO [CANNOT] Not created").await
    }

    pub(super) async fn select(&mut self, command: &Command) -> io::Result<Next> {
        self.selected = None;
        let name = command.text(0).unwrap_or_default();
        let Some(folder) = self.door.store.folder(&self.user(), &name) else {
            return self.done(&command.tag, "NO [NONEXISTENT] No such folder").await;
        };
        let read_only = command.name == "EXAMINE";
        let uids: Vec<u32> = folder.messages.iter().map(|message| message.uid).collect();
        let said = format!(
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* {} EXISTS\r\n* 0 RECENT\r\n\
             * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Ok\r\n\
             * OK [UIDVALIDITY 1] Ok\r\n* OK [UIDNEXT {}] Ok\r\n",
            uids.len(),
            folder.uid_next,
        );
        self.wire.send(said.as_bytes()).await?;
        self.selected = Some(Selected { name, read_only, uids });
        let mode = if read_only { "READ-ONLY" } else { "READ-WRITE" };
        self.done(&command.tag, &format!("OK [{mode}] {} completed", command.name)).await
    }

    pub(super) async fn append(&mut self, command: &Command) -> io::Result<Next> {
        let (Some(name), Some(Arg::Text(mail))) = (command.text(0), command.args.last()) else {
            return self
                .done(&command.tag, "BAD Syntax: APPEND folder [flags] [date] literal")
                .await;
        };
        let flags = command.args[1..].iter().find(|arg| matches!(arg, Arg::List(_)));
        let flags: BTreeSet<String> =
            flags.map(Arg::words).unwrap_or_default().into_iter().collect();
        let now = self.door.now_ms();
        let end = match self.door.store.append(&self.user(), &name, flags, now, mail) {
            Ok(uid) => format!("OK [APPENDUID 1 {uid}] APPEND completed"),
            Err(StoreRefusal::NoFolder) => "NO [TRYCREATE] No such folder".to_owned(),
            Err(StoreRefusal::Full) => "NO [OVERQUOTA] Full".to_owned(),
        };
        self.announce(true).await?;
        self.done(&command.tag, &end).await
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unseen(folder: &Folder) -> usize {
    folder.messages.iter().filter(|message| !message.flags.contains("\\Seen")).count()
}

/// Whether a name fits a LIST pattern; `*` and `%` differ only at `/`, which no folder here has at first.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(star) = pattern.find(['*', '%']) else {
        return pattern == name || (pattern.eq_ignore_ascii_case("INBOX") && name == "INBOX");
    };
    let (head, tail) = (&pattern[..star], &pattern[star + 1..]);
    let Some(rest) = name.strip_prefix(head) else { return false };
    let percent = pattern.as_bytes()[star] == b'%';
    let ends = tail.trim_start_matches(['*', '%']);
    rest.ends_with(ends) && !(percent && rest[..rest.len() - ends.len()].contains('/'))
}
