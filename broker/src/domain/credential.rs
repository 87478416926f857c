//! A proxy credential: the generated password of one device or script for one account.
//!
//! Never holds the password, only a keyed hash of it. Invariant: every refusal a login can meet is decided here, from the
//! row, the address and the time alone. Next: `service/open_session` asks [`Credential::admits`].

use std::net::IpAddr;

use ipnet::IpNet;

use crate::clock::Time;
use crate::domain::guarded::{Canonical, Rights};
use crate::domain::ids::{AccountId, CredentialId};
use crate::domain::mail::MailProtocol;

/// A proxy credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its row.
    pub id: CredentialId,
    /// The public part of the password, also its id for people.
    pub key: String,
    /// The account it logs in to.
    pub account: AccountId,
    /// For people.
    pub description: String,
    /// What it may log in to.
    pub protocols: Vec<MailProtocol>,
    /// From where; empty means anywhere.
    pub ip_ranges: Vec<IpNet>,
    /// How much it may be used.
    pub limits: Limits,
    /// When it ends, if ever.
    pub expires_at: Option<Time>,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
    /// The keyed hash of its secret part.
    pub secret_hash: Vec<u8>,
    /// The key of its successor after a rotation; empty without one.
    pub successor: String,
    /// Rises with every change but of the last use.
    pub version: i64,
    /// When it was made.
    pub created_at: Time,
    /// The last login with it.
    pub last_used_at: Option<Time>,
    /// From where that came; empty if never.
    pub last_used_from: String,
}

/// How much a credential may be used. What is absent has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at one time, over all adapters.
    pub sessions: Option<u32>,
    /// Logins in any 60 seconds, over all adapters.
    pub logins_per_minute: Option<u32>,
}

impl Limits {
    /// Whether anything is limited.
    pub const fn is_none(self) -> bool {
        self.sessions.is_none() && self.logins_per_minute.is_none()
    }

    /// Whether one more login fits beside `live` sessions and `logins` of the last 60 seconds.
    pub fn admit(self, live: i64, logins: i64) -> bool {
        let fits = |limit: Option<u32>, now| limit.is_none_or(|limit| now < i64::from(limit));
        fits(self.sessions, live) && fits(self.logins_per_minute, logins)
    }
}

/// Why a credential does not admit a login. For the audit; the client is told one and the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It was revoked.
    Revoked,
    /// It ran out.
    Expired,
    /// It may not use this protocol.
    Protocol,
    /// It may not come from there.
    Network,
}

/// How a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Works.
    Active,
    /// Works until its end, a successor exists.
    Rotating,
    /// Ran out.
    Expired,
    /// Was revoked.
    Revoked,
}

impl Credential {
    /// How it stands at `now`.
    pub fn state(&self, now: Time) -> CredentialState {
        if self.revoked_at.is_some() {
            return CredentialState::Revoked;
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return CredentialState::Expired;
        }
        if self.successor.is_empty() { CredentialState::Active } else { CredentialState::Rotating }
    }

    /// Whether a login over `protocol` from `address` may pass at `now`. The secret is checked elsewhere.
    ///
    /// # Errors
    /// [`NotAdmitted`] says why not.
    pub fn admits(
        &self,
        protocol: MailProtocol,
        address: IpAddr,
        now: Time,
    ) -> Result<(), NotAdmitted> {
        match self.state(now) {
            CredentialState::Revoked => return Err(NotAdmitted::Revoked),
            CredentialState::Expired => return Err(NotAdmitted::Expired),
            CredentialState::Active | CredentialState::Rotating => {}
        }
        if !self.protocols.contains(&protocol) {
            return Err(NotAdmitted::Protocol);
        }
        if !within(&self.ip_ranges, address) {
            return Err(NotAdmitted::Network);
        }
        Ok(())
    }
}

/// Whether `address` lies in one of `ranges`; no ranges means anywhere. An IPv4 address in IPv6 clothes counts as IPv4.
pub fn within(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    ranges.is_empty() || ranges.iter().any(|range| range.contains(&address))
}

impl Rights for Credential {
    const TABLE: &'static str = "credentials";

    fn row(&self) -> [u8; 16] {
        self.id.bytes()
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn columns(&self, row: Canonical) -> Canonical {
        let ranges: Vec<String> = self.ip_ranges.iter().map(IpNet::to_string).collect();
        let row = row
            .text("key_id", self.key.as_str())
            .bytes("account", &self.account.bytes()[..])
            .list("protocols", self.protocols.iter().map(|protocol| protocol.as_str()))
            .list("ip_ranges", ranges.iter().map(String::as_str))
            .number("expires_at", self.expires_at.map(Time::millis))
            .number("revoked_at", self.revoked_at.map(Time::millis))
            .bytes("secret_hash", self.secret_hash.as_slice())
            .text("successor", self.successor.as_str());
        // Rows without limits keep the form they had before there were any.
        if self.limits.is_none() {
            return row;
        }
        row.number("max_sessions", self.limits.sessions.map(i64::from))
            .number("logins_per_minute", self.limits.logins_per_minute.map(i64::from))
    }
}
