//! A fake SMTP submission server (RFC 6409, RFC 4954) that takes bearer tokens and puts mail into inboxes.
//!
//! Mail is kept byte for byte, without any header added. Bounded: 100 recipients, 8 MiB a mail. It relays nowhere.
//! Next: [`login`] for AUTH.

mod login;

use std::collections::BTreeSet;
use std::io;

use tokio_rustls::TlsAcceptor;

use super::door::{Door, Guest};
use super::settings::Trouble;
use super::store::MESSAGE_MAX;
use super::wire::Wire;

const RECIPIENTS_MAX: usize = 100;

struct Session<'d> {
    wire: Wire,
    door: &'d Door,
    guest: Option<Guest>,
    greeted: bool,
    from: Option<String>,
    to: Vec<String>,
}

enum Next {
    Command,
    Tls,
    End,
}

/// Serves one connection until it ends.
pub(super) async fn serve(wire: Wire, door: &Door, tls: &TlsAcceptor) -> io::Result<()> {
    let mut session = Session::new(wire, door);
    match door.early_trouble() {
        Some(Trouble::DropGreeting) => return Ok(()),
        Some(_) => {
            session.wire.say("421 4.3.2 fake.test is busy").await?;
            session.wire.close().await;
            return Ok(());
        }
        None => session.wire.say("220 fake.test ESMTP").await?,
    }
    while let Some(line) = session.wire.line().await? {
        match session.command(&String::from_utf8_lossy(&line)).await? {
            Next::Command => {}
            Next::Tls => {
                session = Session::new(session.wire.start_tls(tls).await?, door);
                door.count(|stats| stats.tls += 1);
            }
            Next::End => break,
        }
    }
    session.wire.close().await;
    Ok(())
}

impl<'d> Session<'d> {
    fn new(wire: Wire, door: &'d Door) -> Self {
        Self { wire, door, guest: None, greeted: false, from: None, to: Vec::new() }
    }

    async fn command(&mut self, line: &str) -> io::Result<Next> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        if self.guest.as_ref().is_some_and(|guest| self.door.is_over(guest)) {
            self.wire.say("421 4.7.0 The access token has expired").await?;
            return Ok(Next::End);
        }
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => self.ehlo().await?,
            "HELO" => {
                self.greeted = true;
                self.wire.say("250 fake.test").await?;
            }
            "STARTTLS" if !self.wire.is_tls() => {
                self.wire.say("220 2.0.0 Ready for TLS").await?;
                return Ok(Next::Tls);
            }
            "AUTH" => return self.auth(rest).await,
            "MAIL" => self.mail(rest).await?,
            "RCPT" => self.rcpt(rest).await?,
            "DATA" => self.data().await?,
            "RSET" => {
                self.forget();
                self.wire.say("250 2.0.0 Flushed").await?;
            }
            "NOOP" => self.wire.say("250 2.0.0 Ok").await?,
            "QUIT" => {
                self.wire.say("221 2.0.0 Bye").await?;
                return Ok(Next::End);
            }
            _ => self.wire.say("500 5.5.1 Unknown command").await?,
        }
        Ok(Next::Command)
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        self.greeted = true;
        self.forget();
        let settings = self.door.settings();
        let mut lines =
            vec!["fake.test".to_owned(), "PIPELINING".to_owned(), format!("SIZE {MESSAGE_MAX}")];
        lines.extend(["8BITMIME", "ENHANCEDSTATUSCODES"].map(str::to_owned));
        if !self.wire.is_tls() {
            lines.push("STARTTLS".to_owned());
        }
        if self.wire.is_tls() || settings.plain_login {
            let names: Vec<&str> = settings.mechanisms.iter().map(|it| it.name()).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        let last = lines.len() - 1;
        let said = lines.iter().enumerate().map(|(at, line)| {
            let dash = if at == last { ' ' } else { '-' };
            format!("250{dash}{line}\r\n")
        });
        self.wire.send(said.collect::<String>().as_bytes()).await
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        let reply = match (&self.guest, path(rest, "FROM:")) {
            (None, _) => "530 5.7.0 Authentication required",
            (Some(guest), _) if guest.disconnected => "432 4.3.2 Not connected to the mailbox",
            (_, None) => "501 5.5.4 Syntax: MAIL FROM:<address>",
            (_, Some(_)) if self.from.is_some() => "503 5.5.1 Nested MAIL",
            (_, Some(from)) => {
                self.from = Some(from);
                "250 2.1.0 Ok"
            }
        };
        self.wire.say(reply).await
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let reply = match path(rest, "TO:") {
            _ if self.from.is_none() => "503 5.5.1 MAIL first",
            _ if self.to.len() >= RECIPIENTS_MAX => "452 4.5.3 Too many recipients",
            Some(to) if to.contains('@') => {
                self.to.push(to);
                "250 2.1.5 Ok"
            }
            _ => "501 5.1.3 Syntax: RCPT TO:<address>",
        };
        self.wire.say(reply).await
    }

    async fn data(&mut self) -> io::Result<()> {
        if self.to.is_empty() {
            return self.wire.say("503 5.5.1 RCPT first").await;
        }
        self.wire.say("354 End with a dot").await?;
        let Some(mail) = self.mail_text().await? else {
            self.forget();
            return self.wire.say("552 5.3.4 Too large").await;
        };
        let now = self.door.now_ms();
        let kept = self
            .to
            .iter()
            .all(|to| self.door.store.append(to, "INBOX", BTreeSet::new(), now, &mail).is_ok());
        self.forget();
        if !kept {
            return self.wire.say("452 4.2.2 Mailbox full").await;
        }
        self.door.count(|stats| stats.delivered += 1);
        self.wire.say("250 2.0.0 Delivered").await
    }

    /// The mail up to the lonely dot, dots unstuffed; `None` if it is too large (it is read all the same).
    async fn mail_text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut mail = Vec::new();
        let mut too_large = false;
        while let Some(line) = self.wire.line().await? {
            if line == b"." {
                return Ok((!too_large).then_some(mail));
            }
            too_large |= mail.len() + line.len() > MESSAGE_MAX;
            if !too_large {
                mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                mail.extend_from_slice(b"\r\n");
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

/// The address in `FROM:<address> SIZE=1`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let head = rest.get(..keyword.len())?;
    let address = rest[keyword.len()..].trim_start().strip_prefix('<')?;
    let (address, _) = address.split_once('>')?;
    head.eq_ignore_ascii_case(keyword).then(|| address.to_owned())
}
