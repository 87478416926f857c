//! What was asked, changed and broken, and when: one list, one clock.
//!
//! Plain data, compact enough for millions of calls in memory; holds no secret. Invariants: a call begins before its first
//! byte is sent and ends after its last is read, by the clock of the one process that drives all; what a call stands on is
//! listed with it. Next: [`super::judge`].

/// Microseconds since the history began.
pub type Micros = u64;

/// How long a broker that runs may still be at an act whose answer was lost: its own deadline of a call, then that of a write.
pub const LINGERS: Micros = 45_000_000;
/// How long a database may still be at what a broker that died had sent: its statements have 5 seconds.
pub const OUTLIVES: Micros = 6_000_000;

/// Something that rights hang on, by its number in [`History::things`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(u32);

impl Subject {
    /// None.
    pub const NONE: Self = Self(u32::MAX);

    /// Its place in [`History::things`].
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A mail password.
    Credential,
    /// An account, with its grant.
    Account,
    /// The label by which services are given an account.
    Label,
    /// An app.
    App,
    /// A service.
    Service,
    /// A service's right to the accounts with a label.
    Right,
    /// An adapter.
    Adapter,
    /// An adapter's right to a protocol.
    Protocol,
    /// An API key.
    Key,
    /// An open mail session.
    Session,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Credential,
        Self::Account,
        Self::Label,
        Self::App,
        Self::Service,
        Self::Right,
        Self::Adapter,
        Self::Protocol,
        Self::Key,
        Self::Session,
    ];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Account => "account",
            Self::Label => "account's label",
            Self::App => "app",
            Self::Service => "service",
            Self::Right => "service's right",
            Self::Adapter => "adapter",
            Self::Protocol => "adapter's protocol",
            Self::Key => "API key",
            Self::Session => "session",
        }
    }
}

/// A change of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whether the right is taken; else it is given.
    pub takes: bool,
    /// What was done, for people.
    pub what: &'static str,
    /// At which broker.
    pub broker: u8,
    /// When it was asked for.
    pub begun: Micros,
    /// How it ended.
    pub end: End,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its answer came then.
    Acknowledged(Micros),
    /// No answer, or one that leaves it open: whether and when it was done is not known.
    Maybe,
}

/// Something that rights hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Its kind.
    pub kind: Kind,
    /// Its name, as the audit has it where it stands there.
    pub name: String,
    /// Every change of it.
    pub writes: Vec<Write>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// `GetAccessToken`.
    Token,
    /// An account of a `BatchGetAccessTokens`.
    Batch,
    /// `OpenSession`.
    Open,
    /// `RenewSession`.
    Renew,
}

impl Ask {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Batch, Self::Open, Self::Renew];

    /// As the contract names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "GetAccessToken",
            Self::Batch => "BatchGetAccessTokens",
            Self::Open => "OpenSession",
            Self::Renew => "RenewSession",
        }
    }
}

/// What was heard of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Heard {
    /// It was handed out.
    Granted,
    /// It was refused.
    Refused,
    /// Nothing that is certain: it may have been handed out and recorded.
    Unsure,
}

/// Rights that one call stands on, at most.
pub const STANDS: usize = 7;

/// A call for something to be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was sent.
    pub begun: Micros,
    /// When its answer had come.
    pub ended: Micros,
    /// What it stands on, in the order of [`Place`].
    pub on: [Subject; STANDS],
    /// What for.
    pub ask: Ask,
    /// What came.
    pub heard: Heard,
    /// At which broker.
    pub broker: u8,
}

/// Where in [`Call::on`] a right has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Service or adapter.
    Caller,
    /// Its key.
    Key,
    /// Its right to a label, or to a protocol.
    Right,
    /// The account.
    Account,
    /// The account's app.
    App,
    /// The account's label, or the credential.
    Way,
    /// The session.
    Session,
}

/// What was done to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Harm {
    /// Stopped for a moment.
    ShortPause,
    /// Stopped for longer than any lease lasts.
    LongPause,
    /// Cut off from the database.
    NoStore,
    /// Cut off from its clients.
    NoClients,
    /// Killed, and started again.
    Kill,
}

impl Harm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ShortPause, Self::LongPause, Self::NoStore, Self::NoClients, Self::Kill];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShortPause => "paused, shorter than a lease",
            Self::LongPause => "paused, longer than a lease",
            Self::NoStore => "cut off from the database",
            Self::NoClients => "cut off from its clients",
            Self::Kill => "killed and started again",
        }
    }

    const fn pauses(self) -> bool {
        matches!(self, Self::ShortPause | Self::LongPause)
    }
}

/// A harm to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which broker.
    pub broker: u8,
    /// What.
    pub harm: Harm,
    /// Since when.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
}

/// All of it.
#[derive(Debug, Default)]
pub struct History {
    /// What rights hang on.
    pub things: Vec<Thing>,
    /// Calls, in the order of their ends.
    pub calls: Vec<Call>,
    /// Harms, in the order of their ends.
    pub faults: Vec<Fault>,
}

impl History {
    /// Room for so many calls from the start.
    pub fn with_room(calls: usize) -> Self {
        Self { calls: Vec::with_capacity(calls), ..Self::default() }
    }

    /// A new thing; nobody has a right to it so far.
    pub fn thing(&mut self, kind: Kind, name: String) -> Subject {
        let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX - 1);
        self.things.push(Thing { kind, name, writes: Vec::new() });
        Subject(number)
    }

    /// A change of it.
    pub fn write(&mut self, subject: Subject, write: Write) {
        if let Some(thing) = self.things.get_mut(subject.at()) {
            thing.writes.push(write);
        }
    }

    /// When a change was done at the latest.
    pub fn latest(&self, write: &Write) -> Micros {
        match write.end {
            End::Acknowledged(at) => at,
            End::Maybe => lingers(&self.faults, write),
        }
    }
}

/// Until when a change without an answer may still be made: by a broker that runs, not while it is paused; by one that died,
/// no longer than the database needs.
fn lingers(faults: &[Fault], write: &Write) -> Micros {
    let mine = || faults.iter().filter(|fault| fault.broker == write.broker);
    let mut pauses: Vec<_> = mine().filter(|fault| fault.harm.pauses()).collect();
    pauses.sort_unstable_by_key(|fault| fault.from);
    // Whoever gave up on it did so within a call's deadline, which is counted in.
    let mut end = write.begun + 2 * LINGERS;
    for pause in pauses {
        if pause.to > write.begun && pause.from < end {
            end += pause.to - pause.from.max(write.begun);
        }
    }
    let kills = mine().filter(|fault| fault.harm == Harm::Kill && fault.from >= write.begun);
    let death = kills.map(|fault| fault.from + OUTLIVES).min();
    death.map_or(end, |death| death.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;

    fn lost_at(begun: Micros) -> Write {
        Write { takes: false, what: "given", broker: 1, begun, end: End::Maybe }
    }

    fn fault(broker: u8, harm: Harm, from: Micros, to: Micros) -> Fault {
        Fault { broker, harm, from, to }
    }

    #[test]
    fn an_act_without_an_answer_ends_with_its_broker_or_when_no_deadline_is_left() {
        let lost = lost_at(10 * SECOND);
        assert_eq!(lingers(&[], &lost), 100 * SECOND);
        let killed = fault(1, Harm::Kill, 20 * SECOND, 21 * SECOND);
        assert_eq!(lingers(&[killed], &lost), 26 * SECOND);
        let before = fault(1, Harm::Kill, 9 * SECOND, 9 * SECOND);
        let another = fault(2, Harm::Kill, 20 * SECOND, 21 * SECOND);
        assert_eq!(lingers(&[before, another], &lost), 100 * SECOND);
    }

    #[test]
    fn a_pause_of_its_broker_keeps_an_act_alive() {
        let lost = lost_at(10 * SECOND);
        let around = fault(1, Harm::ShortPause, 5 * SECOND, 12 * SECOND);
        let late = fault(1, Harm::LongPause, 99 * SECOND, 119 * SECOND);
        let beyond = fault(1, Harm::LongPause, 130 * SECOND, 150 * SECOND);
        assert_eq!(lingers(&[late, beyond, around], &lost), 122 * SECOND);
    }
}
