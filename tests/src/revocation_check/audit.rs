//! Whether everything that was handed out has exactly one audit record, by the database.
//!
//! Counted for each caller and each account or password: what was granted for certain must be there, what had no certain
//! answer may be, and nothing else. Judging is pure. Next: [`super::report`].

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

use super::history::{Ask, Heard, History, Place, Subject};
use crate::world::House;

/// So many findings are named.
const NAMED: usize = 20;

/// What was handed out is counted by what, to whom, and of what.
const COUNTS: &str = "select what, actor, account, subject, count(*) from audit
    where granted = 1 and what in ('token', 'session') group by 1, 2, 3, 4
    union all select what, actor, '', '', count(*) from audit
    where granted = 1 and what = 'session.renewal' group by 1, 2";
/// A session is renewed once at most.
const TWICE: &str = "select subject, count(*) from audit
    where granted = 1 and what = 'session.renewal' group by 1 having count(*) > 1 order by 1 limit 20";
/// Numbers in a chain have no gaps.
const GAPS: &str =
    "select chain, count(*) - max(sequence) from audit group by 1 having count(*) <> max(sequence)";

/// Records that were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) what: String,
    pub(super) actor: String,
    pub(super) account: String,
    pub(super) subject: String,
    pub(super) records: i64,
}

/// What the database has.
#[derive(Clone, Debug, Default)]
pub(super) struct Audit {
    pub(super) counts: Vec<Count>,
    /// What is wrong with it by itself.
    pub(super) wrong: Vec<String>,
}

impl Audit {
    /// Reads it over a connection of its own, when nobody writes any more.
    pub(super) async fn read(house: &House) -> Result<Self> {
        let mut conn =
            PgConnection::connect(house.postgres_url().context("no PostgreSQL")?).await?;
        let rows: Vec<(String, String, String, String, i64)> =
            sqlx::query_as(COUNTS).fetch_all(&mut conn).await?;
        let count = |(what, actor, account, subject, records)| Count {
            what,
            actor,
            account,
            subject,
            records,
        };
        let twice: Vec<(String, i64)> = sqlx::query_as(TWICE).fetch_all(&mut conn).await?;
        let twice = twice
            .into_iter()
            .map(|(session, times)| format!("session {session} has {times} records of a renewal"));
        let gaps: Vec<(String, i64)> = sqlx::query_as(GAPS).fetch_all(&mut conn).await?;
        let gaps = gaps
            .into_iter()
            .map(|(chain, lacks)| format!("chain {chain:?} lacks {} records", -lacks));
        let wrong = twice.chain(gaps).collect();
        Ok(Self { counts: rows.into_iter().map(count).collect(), wrong })
    }

    /// What does not fit the history. `names` are the ids of accounts, also former ones.
    pub(super) fn judge(&self, history: &History, names: &HashMap<String, Subject>) -> Vec<String> {
        let heard = tally(history);
        let mut written: BTreeMap<Entry, u64> = BTreeMap::new();
        let name = |subject: Subject| history.things[subject.at()].name.clone();
        for count in &self.counts {
            let of = match count.what.as_str() {
                // An account whose id nobody was told is counted under that.
                "token" => match names.get(&count.account) {
                    Some(subject) => name(*subject),
                    None => count.account.clone(),
                },
                "session" => count.subject.clone(),
                _ => String::new(),
            };
            let records = u64::try_from(count.records).unwrap_or(0);
            *written.entry((count.what.clone(), count.actor.clone(), of)).or_default() += records;
        }
        let mut wrong = self.wrong.clone();
        for (entry, (least, most)) in &heard {
            let records = written.remove(entry).unwrap_or(0);
            if !(*least..=*most).contains(&records) {
                wrong.push(told(entry, records, (*least, *most)));
            }
        }
        wrong.extend(written.iter().map(|(entry, records)| told(entry, *records, (0, 0))));
        let more = wrong.len().saturating_sub(NAMED);
        wrong.truncate(NAMED);
        if more > 0 {
            wrong.push(format!("and {more} more"));
        }
        wrong
    }
}

/// What, to whom, of what.
type Entry = (String, String, String);

/// How often something was handed out, at least and at most.
fn tally(history: &History) -> BTreeMap<Entry, (u64, u64)> {
    let mut counted: HashMap<(&str, Subject, Subject), (u64, u64)> = HashMap::new();
    for call in history.calls.iter().filter(|call| call.heard != Heard::Refused) {
        let (what, of) = match call.ask {
            Ask::Token | Ask::Batch => ("token", call.on[Place::Account as usize]),
            Ask::Open => ("session", call.on[Place::Way as usize]),
            Ask::Renew => ("session.renewal", Subject::NONE),
        };
        let (least, most) = counted.entry((what, call.on[Place::Caller as usize], of)).or_default();
        *least += u64::from(call.heard == Heard::Granted);
        *most += 1;
    }
    let name = |subject: Subject| {
        history.things.get(subject.at()).map(|it| it.name.clone()).unwrap_or_default()
    };
    let named = |((what, caller, of), bounds): ((&str, Subject, Subject), (u64, u64))| {
        ((what.to_owned(), name(caller), name(of)), bounds)
    };
    counted.into_iter().map(named).collect()
}

fn told((what, actor, of): &Entry, records: u64, (least, most): (u64, u64)) -> String {
    format!(
        "{records} audit records of {what} for {actor} and {of:?}, handed out {least} to {most} times"
    )
}

#[cfg(test)]
mod tests {
    use super::super::history::{Call, Kind, STANDS};
    use super::*;

    /// Granted twice and once without an answer.
    fn history() -> (History, HashMap<String, Subject>) {
        let mut history = History::default();
        let service = history.thing(Kind::Service, "callers/crm".to_owned());
        let account = history.thing(Kind::Account, "ann@example.test".to_owned());
        let mut on = [Subject::NONE; STANDS];
        (on[Place::Caller as usize], on[Place::Account as usize]) = (service, account);
        for heard in [Heard::Granted, Heard::Granted, Heard::Unsure, Heard::Refused] {
            let ask = Ask::Token;
            history.calls.push(Call { begun: 0, ended: 1, on, ask, heard, broker: 0 });
        }
        let names = HashMap::from([("old".to_owned(), account), ("new".to_owned(), account)]);
        (history, names)
    }

    fn records(account: &str, records: i64) -> Count {
        let (what, actor) = ("token".to_owned(), "callers/crm".to_owned());
        Count { what, actor, account: account.to_owned(), subject: String::new(), records }
    }

    fn found(counts: Vec<Count>) -> Vec<String> {
        let (history, names) = history();
        Audit { counts, wrong: Vec::new() }.judge(&history, &names)
    }

    #[test]
    fn a_record_for_each_grant_and_perhaps_for_what_had_no_answer_is_clean() {
        assert_eq!(found(vec![records("new", 2)]), Vec::<String>::new());
        assert_eq!(found(vec![records("new", 3)]), Vec::<String>::new());
        assert_eq!(found(vec![records("old", 1), records("new", 1)]), Vec::<String>::new());
    }

    #[test]
    fn a_record_that_is_missing_or_too_many_is_found() {
        let missing = found(vec![records("new", 1)]);
        assert!(missing[0].starts_with("1 audit records of token for callers/crm"), "{missing:?}");
        assert_eq!(found(vec![records("new", 4)]).len(), 1);
        assert_eq!(found(Vec::new()).len(), 1);
        assert_eq!(found(vec![records("new", 2), records("stranger", 1)]).len(), 1);
    }
}
