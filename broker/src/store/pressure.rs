//! What each broker counts of refused logins, told to the others.
//!
//! Never the truth about a login: a broker that does not hear of the others counts alone. Invariant: a broker writes its own
//! rows only, and a row that is older than it may be is not read. Next: `service/refused_login`.

use super::engine::{Conn, Tx, all, run, statements};
use super::error::Result;
use super::row::Cells;
use crate::clock::Time;
use crate::domain::guessing::{Network, Pressure, Subject};

statements! {
    FORGET_OWN = "delete from login_pressure where replica = $1 or at < $2";
    PUT = "insert into login_pressure (replica, subject, thousandths, at) values ($1, $2, $3, $4)";
    OF_OTHERS = "select subject, thousandths from login_pressure where replica <> $1 and at >= $2
        order by thousandths desc limit 5000";
}

impl Conn {
    /// What the other brokers counted since `since`, the heaviest 5,000.
    ///
    /// # Errors
    /// [`Error::Corrupt`](super::Error::Corrupt) if a row cannot be understood; else as every read.
    pub async fn login_pressure(&mut self, own: &str, since: Time) -> Result<Vec<Pressure>> {
        let rows = all!(self, OF_OTHERS => (String, i64); own; since.millis())?;
        let read = |(subject, thousandths): (String, i64)| {
            let at = Cells::of("login_pressure", subject.as_bytes());
            let subject = at.text("subject", &subject, parse)?;
            Ok(Pressure { subject, count: count(at.number("thousandths", thousandths)?) })
        };
        rows.into_iter().map(read).collect()
    }
}

impl Tx {
    /// Puts `pressures` in place of what this broker said before; forgets what anybody said before `since`.
    ///
    /// # Errors
    /// As every write.
    pub async fn put_login_pressure(
        &mut self,
        own: &str,
        pressures: &[Pressure],
        (since, now): (Time, Time),
    ) -> Result<()> {
        run!(self, FORGET_OWN; own; since.millis())?;
        for Pressure { subject, count } in pressures {
            run!(self, PUT; own; text(subject); thousandths(*count); now.millis())?;
        }
        Ok(())
    }
}

fn count(thousandths: u32) -> f64 {
    f64::from(thousandths) / 1000.0
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a count of guesses; a huge one is cut to the largest number"
)]
const fn thousandths(count: f64) -> i64 {
    (count * 1000.0).clamp(0.0, u32::MAX as f64) as i64
}

fn text(subject: &Subject) -> String {
    match subject {
        Subject::Credential(key) => format!("credential:{key}"),
        Subject::Network(network) => format!("network:{network}"),
        Subject::Adapter(name) => format!("adapter:{name}"),
    }
}

fn parse(text: &str) -> Option<Subject> {
    let (kind, name) = text.split_once(':')?;
    Some(match kind {
        "credential" => Subject::Credential(name.to_owned()),
        "network" => Subject::Network(Network::parse(name)?),
        "adapter" => Subject::Adapter(name.to_owned()),
        _ => return None,
    })
}
