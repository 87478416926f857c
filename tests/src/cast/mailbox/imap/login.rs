//! AUTHENTICATE with a bearer token, with and without initial response (RFC 4959, RFC 7628).
//!
//! A bad token gets the JSON challenge first and NO after the client's empty response. Next: [`super::super::door`].

use std::io;

use super::super::door::{Protocol, Verdict};
use super::super::sasl;
use super::super::settings::{Mechanism, Trouble};
use super::syntax::Command;
use super::{Next, Session};

impl Session<'_> {
    pub(super) async fn authenticate(&mut self, command: &Command) -> io::Result<Next> {
        let tag = &command.tag;
        let settings = self.door.settings();
        if !(self.wire.is_tls() || settings.plain_login) {
            return self.done(tag, "NO [PRIVACYREQUIRED] STARTTLS first").await;
        }
        let named = command.text(0).and_then(|name| Mechanism::of(&name));
        let Some(mechanism) = named.filter(|it| settings.mechanisms.contains(it)) else {
            return self.done(tag, "NO [CANNOT] Unsupported mechanism").await;
        };
        let response = match command.text(1) {
            Some(_) if !settings.sasl_ir => {
                return self.done(tag, "BAD No initial response here").await;
            }
            Some(initial) => initial,
            None => self.respond_to("").await?,
        };
        if response == "*" {
            return self.done(tag, "BAD Cancelled").await;
        }
        let verdict = self.door.knock(Protocol::Imap, mechanism, &response);
        let challenged = match &verdict {
            Verdict::Refused => settings.challenge,
            // Gmail challenges even when the token is good and there are too many connections.
            Verdict::Trouble(trouble) => *trouble == Trouble::Limit && settings.challenge,
            Verdict::Welcome(_) => false,
        };
        if challenged {
            let answer = self.respond_to(&sasl::challenge(mechanism)).await?;
            let odd = u64::from(!sasl::is_dummy(&answer));
            self.door.count(|stats| stats.unanswered_challenges += odd);
        }
        self.answer(tag, verdict).await
    }

    async fn answer(&mut self, tag: &str, verdict: Verdict) -> io::Result<Next> {
        match verdict {
            Verdict::Welcome(guest) => {
                self.guest = Some(guest);
                let words = self.capabilities();
                self.done(tag, &format!("OK [CAPABILITY {words}] Logged in")).await
            }
            Verdict::Refused => {
                self.done(tag, "NO [AUTHENTICATIONFAILED] Invalid credentials").await
            }
            Verdict::Trouble(Trouble::Drop) => Ok(Next::End),
            Verdict::Trouble(Trouble::Limit) => {
                self.done(tag, "NO [LIMIT] Too many simultaneous connections").await
            }
            Verdict::Trouble(_) => {
                self.done(tag, "NO [UNAVAILABLE] Temporary authentication failure").await
            }
        }
    }

    async fn respond_to(&mut self, challenge: &str) -> io::Result<String> {
        self.wire.say(&format!("+ {challenge}")).await?;
        let line = self.wire.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
