//! A fake IMAP4rev1 server (RFC 3501) that takes bearer tokens: enough for curl, imaplib and mail clients to read mail.
//!
//! Bounded: commands of 64 KiB, literals of 8 MiB after login and 4 KiB before it. What it does not know it refuses with
//! BAD. The walk: [`reader`] gathers a command, [`syntax`] takes it apart, this file dispatches; [`login`], [`folders`],
//! [`messages`] and [`idle`] do the work, [`fetch`], [`body`], [`envelope`] and [`search`] are pure.

mod body;
mod envelope;
mod fetch;
mod folders;
mod idle;
mod login;
mod messages;
mod reader;
mod search;
mod syntax;

use std::io;

use tokio_rustls::TlsAcceptor;

use super::door::{Door, Guest};
use super::settings::Trouble;
use super::store::Folder;
use super::wire::Wire;
use syntax::Command;

struct Session<'d> {
    wire: Wire,
    door: &'d Door,
    guest: Option<Guest>,
    selected: Option<Selected>,
}

/// The folder that a client looks at, as the client knows it: sequence numbers are places in `uids`.
struct Selected {
    name: String,
    read_only: bool,
    uids: Vec<u32>,
}

enum Next {
    Command,
    Tls,
    End,
}

/// Serves one connection until it ends.
pub(super) async fn serve(wire: Wire, door: &Door, tls: &TlsAcceptor) -> io::Result<()> {
    let mut session = Session { wire, door, guest: None, selected: None };
    if !session.greet().await? {
        return Ok(());
    }
    while let Some(command) = session.read_command().await? {
        let next = match Command::parse(&command) {
            Some(command) => session.obey(&command).await?,
            None => {
                session.wire.say("* BAD Syntax error").await?;
                Next::Command
            }
        };
        match next {
            Next::Command => {}
            Next::Tls => {
                session.wire = session.wire.start_tls(tls).await?;
                door.count(|stats| stats.tls += 1);
            }
            Next::End => break,
        }
    }
    session.wire.close().await;
    Ok(())
}

impl Session<'_> {
    async fn greet(&mut self) -> io::Result<bool> {
        match self.door.early_trouble() {
            Some(Trouble::DropGreeting) => return Ok(false),
            Some(_) => {
                self.wire.say("* BYE [UNAVAILABLE] fake.test is busy").await?;
                return Ok(false);
            }
            None => {}
        }
        let greeting = match self.door.settings().greeting_capability {
            true => format!("* OK [CAPABILITY {}] fake.test ready", self.capabilities()),
            false => "* OK fake.test ready".to_owned(),
        };
        self.wire.say(&greeting).await?;
        Ok(true)
    }

    fn capabilities(&self) -> String {
        if self.guest.is_some() {
            return "IMAP4rev1 ID IDLE NAMESPACE UNSELECT UIDPLUS LITERAL+ CHILDREN".to_owned();
        }
        let settings = self.door.settings();
        let mut words = vec!["IMAP4rev1".to_owned(), "ID".to_owned(), "LITERAL+".to_owned()];
        words.push("LOGINDISABLED".to_owned());
        if settings.sasl_ir {
            words.push("SASL-IR".to_owned());
        }
        if !self.wire.is_tls() {
            words.push("STARTTLS".to_owned());
        }
        if self.wire.is_tls() || settings.plain_login {
            words.extend(settings.mechanisms.iter().map(|it| format!("AUTH={}", it.name())));
        }
        words.join(" ")
    }

    async fn obey(&mut self, command: &Command) -> io::Result<Next> {
        if self.guest.as_ref().is_some_and(|guest| self.door.is_over(guest)) {
            self.wire.say("* BYE Session invalidated - AccessTokenExpired").await?;
            return Ok(Next::End);
        }
        let tag = &command.tag;
        match command.name.as_str() {
            "CAPABILITY" => {
                let words = self.capabilities();
                self.wire.say(&format!("* CAPABILITY {words}")).await?;
                self.done(tag, "OK CAPABILITY completed").await
            }
            "ID" => {
                self.wire.say("* ID (\"name\" \"fake.test\")").await?;
                self.done(tag, "OK ID completed").await
            }
            "LOGOUT" => {
                self.wire.say("* BYE Logging out").await?;
                self.done(tag, "OK LOGOUT completed").await?;
                Ok(Next::End)
            }
            _ if self.guest.is_none() => self.obey_stranger(command).await,
            _ if self.guest.as_ref().is_some_and(|guest| guest.disconnected) => {
                self.done(tag, "BAD User is authenticated but not connected.").await
            }
            _ => self.obey_guest(command).await,
        }
    }

    async fn obey_stranger(&mut self, command: &Command) -> io::Result<Next> {
        let tag = &command.tag;
        match command.name.as_str() {
            "NOOP" => self.done(tag, "OK NOOP completed").await,
            "STARTTLS" if !self.wire.is_tls() => {
                self.done(tag, "OK Begin TLS").await?;
                Ok(Next::Tls)
            }
            "AUTHENTICATE" => self.authenticate(command).await,
            "LOGIN" => self.done(tag, "NO [AUTHENTICATIONFAILED] Only OAuth is served here").await,
            _ => self.done(tag, "BAD Log in first").await,
        }
    }

    async fn obey_guest(&mut self, command: &Command) -> io::Result<Next> {
        match command.name.as_str() {
            "NOOP" | "CHECK" => {
                self.announce(true).await?;
                self.done(&command.tag, "OK Completed").await
            }
            "LIST" | "LSUB" => self.list(command).await,
            "NAMESPACE" => {
                self.wire.say("* NAMESPACE ((\"\" \"/\")) NIL NIL").await?;
                self.done(&command.tag, "OK NAMESPACE completed").await
            }
            "STATUS" => self.status(command).await,
            "CREATE" => self.create(command).await,
            "SUBSCRIBE" | "UNSUBSCRIBE" => self.done(&command.tag, "OK Completed").await,
            "SELECT" | "EXAMINE" => self.select(command).await,
            "APPEND" => self.append(command).await,
            "IDLE" => self.idle(command).await,
            _ => self.obey_reader(command).await,
        }
    }

    async fn obey_reader(&mut self, command: &Command) -> io::Result<Next> {
        if self.selected.is_none() {
            return self.done(&command.tag, "BAD Unknown command, or select a folder first").await;
        }
        match command.name.as_str() {
            "FETCH" => self.fetch(command, false).await,
            "STORE" => self.store(command, false).await,
            "SEARCH" => self.search(command, false).await,
            "COPY" => self.copy(command, false).await,
            "UID" => self.by_uid(command).await,
            "EXPUNGE" => self.expunge(command).await,
            "CLOSE" | "UNSELECT" => self.leave(command).await,
            _ => self.done(&command.tag, "BAD Unknown command").await,
        }
    }

    async fn by_uid(&mut self, command: &Command) -> io::Result<Next> {
        let Some(inner) = command.shifted() else {
            return self.done(&command.tag, "BAD UID what?").await;
        };
        match inner.name.as_str() {
            "FETCH" => self.fetch(&inner, true).await,
            "STORE" => self.store(&inner, true).await,
            "SEARCH" => self.search(&inner, true).await,
            "COPY" => self.copy(&inner, true).await,
            _ => self.done(&command.tag, "BAD Unknown UID command").await,
        }
    }

    /// Tells what has changed in the selected folder; expunges only where the protocol lets us (RFC 3501 section 7.4.1).
    async fn announce(&mut self, expunges: bool) -> io::Result<()> {
        let Some((selected, folder)) = self.look() else { return Ok(()) };
        let (name, read_only, old) =
            (selected.name.clone(), selected.read_only, selected.uids.clone());
        let alive: Vec<u32> = folder.messages.iter().map(|message| message.uid).collect();
        let mut kept = old.clone();
        if expunges {
            for at in (0..old.len()).rev().filter(|&at| alive.binary_search(&old[at]).is_err()) {
                self.wire.say(&format!("* {} EXPUNGE", at + 1)).await?;
                kept.remove(at);
            }
        }
        let newest = kept.last().copied().unwrap_or(0);
        let before = kept.len();
        kept.extend(alive.into_iter().filter(|&uid| uid > newest));
        if kept.len() > before {
            self.wire.say(&format!("* {} EXISTS", kept.len())).await?;
        }
        self.selected = Some(Selected { name, read_only, uids: kept });
        Ok(())
    }

    /// The selected folder as the client knows it and as it is.
    fn look(&self) -> Option<(&Selected, Folder)> {
        let (guest, selected) = (self.guest.as_ref()?, self.selected.as_ref()?);
        let folder = self.door.store.folder(&guest.user, &selected.name)?;
        Some((selected, folder))
    }

    fn user(&self) -> String {
        self.guest.as_ref().map(|guest| guest.user.clone()).unwrap_or_default()
    }

    async fn done(&mut self, tag: &str, end: &str) -> io::Result<Next> {
        self.wire.say(&format!("{tag} {end}")).await?;
        Ok(Next::Command)
    }
}
