//! AUTH with a bearer token, with and without initial response (RFC 4954, RFC 7628).
//!
//! A bad token gets the JSON challenge first and 535 after the client's empty response. Next: [`super::super::door`].

use std::io;

use super::super::door::{Protocol, Verdict};
use super::super::sasl;
use super::super::settings::{Mechanism, Trouble};
use super::{Next, Session};

impl Session<'_> {
    pub(super) async fn auth(&mut self, rest: &str) -> io::Result<Next> {
        let (name, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let settings = self.door.settings();
        let offered = self.wire.is_tls() || settings.plain_login;
        let mechanism = Mechanism::of(name).filter(|it| settings.mechanisms.contains(it));
        let complaint = match mechanism {
            _ if self.guest.is_some() => Some("503 5.5.1 Already authenticated"),
            _ if !self.greeted => Some("503 5.5.1 EHLO first"),
            _ if !offered => Some("538 5.7.11 Encryption required"),
            None => Some("504 5.5.4 Unrecognized authentication type"),
            Some(_) => None,
        };
        let (Some(mechanism), None) = (mechanism, complaint) else {
            self.wire
                .say(complaint.unwrap_or("504 5.5.4 Unrecognized authentication type"))
                .await?;
            return Ok(Next::Command);
        };
        let response =
            if initial.is_empty() { self.respond_to("").await? } else { initial.trim().to_owned() };
        if response == "*" {
            self.wire.say("501 5.7.0 Cancelled").await?;
            return Ok(Next::Command);
        }
        if response.len() > sasl::RESPONSE_MAX {
            self.wire.say("500 5.5.6 Authentication exchange line is too long").await?;
            return Ok(Next::Command);
        }
        let verdict = self.door.knock(Protocol::Smtp, mechanism, &response);
        self.answer(mechanism, verdict, settings.challenge).await
    }

    async fn answer(
        &mut self,
        mechanism: Mechanism,
        verdict: Verdict,
        challenge: bool,
    ) -> io::Result<Next> {
        match verdict {
            Verdict::Welcome(guest) => {
                self.guest = Some(guest);
                self.wire.say("235 2.7.0 Welcome").await?;
            }
            Verdict::Refused => {
                if challenge {
                    let answer = self.respond_to(&sasl::challenge(mechanism)).await?;
                    let odd = u64::from(!sasl::is_dummy(&answer));
                    self.door.count(|stats| stats.unanswered_challenges += odd);
                }
                self.wire.say("535 5.7.8 Username and Password not accepted").await?;
            }
            Verdict::Trouble(Trouble::Drop) => return Ok(Next::End),
            Verdict::Trouble(Trouble::Limit) => {
                self.wire.say("421 4.7.0 Too many concurrent connections").await?;
                return Ok(Next::End);
            }
            Verdict::Trouble(_) => {
                self.wire.say("454 4.7.0 Temporary authentication failure").await?;
            }
        }
        Ok(Next::Command)
    }

    async fn respond_to(&mut self, challenge: &str) -> io::Result<String> {
        self.wire.say(&format!("334 {challenge}")).await?;
        let line = self.wire.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
