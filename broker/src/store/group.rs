//! A group of decisions, from the judgement to the commit.
//!
//! Never answers anybody: `lane.rs` does, after this has ended. Two ways: in one stroke if nothing is known to have changed,
//! which the database confirms with the write; else step by step, with the epoch and its changes read first. Invariants: what
//! is recorded was judged by the epoch that its transaction saw; a stroke that did not fit has written nothing.
//! Next: `stroke.rs` is the short way, `changes.rs` remembers what changed, `audit.rs` chains.

use std::collections::HashMap;
use std::time::Duration;

use super::audit::chained;
use super::changes::Changes;
use super::engine::{Conn, Tx};
use super::error::{Error, Result};
use super::lane::{Opening, Shared, Verdict, Waiting};
use super::pending::Head;
use super::stroke::{Place, STROKE};
use crate::domain::event::Event;
use crate::domain::ids::CredentialId;
use crate::domain::session::MailSession;

/// How many steps of the epoch are read at once; who is further behind forgets everything.
const STEPS: i64 = 4096;
/// What a limit of logins is about.
const MINUTE: Duration = Duration::from_secs(60);

/// Judges and records one group; an early return drops the transaction and, with it, the connection.
pub(super) async fn transact(
    mut conn: Conn,
    shared: &Shared,
    head: &mut Option<Head>,
    group: &mut [Waiting],
) -> Result<Conn> {
    match in_one_stroke(&mut conn, shared, head, group).await? {
        true => Ok(conn),
        false => step_by_step(conn, shared, head, group).await,
    }
}

/// The short way. False if it cannot be taken, and then nothing has happened.
async fn in_one_stroke(
    conn: &mut Conn,
    shared: &Shared,
    head: &mut Option<Head>,
    group: &mut [Waiting],
) -> Result<bool> {
    // A session may be one too many, and a chain without a record has no head to move.
    let limited = |it: &Waiting| {
        it.decision.opening.as_ref().is_some_and(|opening| !opening.limits.is_none())
    };
    let Some(from) = head.as_ref().filter(|head| head.sequence > 0) else { return Ok(false) };
    if !shared.rules.heeds_epoch || group.len() > STROKE || group.iter().any(limited) {
        return Ok(false);
    }
    // Known before anything is judged by it: what is learned meanwhile only makes the judgement stricter.
    let epoch = shared.changes.known();
    judge(&shared.changes, group);
    let events = standing(group);
    let records = chained(&shared.chain, from, &events);
    let place = Place { chain: &shared.chain, from, epoch };
    if events.is_empty() || !conn.record_in_one_stroke(place, &records, &opened(group)).await? {
        return Ok(false);
    }
    let end = records.into_iter().last().map(|record| record.end);
    *head = end;
    Ok(true)
}

/// The long way.
async fn step_by_step(
    conn: Conn,
    shared: &Shared,
    head: &mut Option<Head>,
    group: &mut [Waiting],
) -> Result<Conn> {
    let mut tx = Tx::begin_beside(conn).await?;
    if shared.rules.heeds_epoch {
        look(&mut tx, &shared.changes).await?;
    }
    judge(&shared.changes, group);
    limit(&mut tx, group).await?;
    let events = standing(group);
    if events.is_empty() {
        return tx.commit().await;
    }
    let from = match head.take() {
        Some(head) => head,
        None => {
            let (sequence, hash) = tx.audit_head(&shared.chain).await?;
            Head { sequence, hash }
        }
    };
    let end = tx.extend_chain(&shared.chain, &from, &events).await?;
    tx.insert_mail_sessions(&opened(group)).await?;
    let conn = tx.commit().await?;
    *head = Some(end);
    Ok(conn)
}

fn judge(changes: &Changes, group: &mut [Waiting]) {
    for waiting in group {
        // Nobody can be told any more that what was handed out early is overtaken: it is recorded as it was.
        let stands = waiting.is_answered()
            || waiting.decision.basis.iter().all(|sight| changes.holds(*sight));
        waiting.verdict = if stands { Verdict::Stands } else { Verdict::Overtaken };
    }
}

fn standing(group: &[Waiting]) -> Vec<&Event> {
    let standing = group.iter().filter(|it| it.verdict == Verdict::Stands);
    standing.map(|it| &it.decision.event).collect()
}

fn opened(group: &[Waiting]) -> Vec<&MailSession> {
    let standing = group.iter().filter(|it| it.verdict == Verdict::Stands);
    standing.filter_map(|it| it.decision.opening.as_ref().map(|opening| &opening.session)).collect()
}

/// Sends back the sessions that are too many for their credential. Brokers that open one at the same instant do not see each
/// other's: a limit can be exceeded by as many as there are other brokers.
async fn limit(tx: &mut Tx, group: &mut [Waiting]) -> Result<()> {
    let mut opened: HashMap<CredentialId, (i64, i64)> = HashMap::new();
    for waiting in group.iter_mut().filter(|it| it.verdict == Verdict::Stands) {
        let Some(Opening { session, limits }) = &waiting.decision.opening else { continue };
        if limits.is_none() {
            continue;
        }
        let (live, logins) = match opened.get(&session.credential) {
            Some(seen) => *seen,
            None => tx.logins_of(session.credential, session.opened_at.before(MINUTE)).await?,
        };
        if limits.admit(live, logins) {
            opened.insert(session.credential, (live + 1, logins + 1));
        } else {
            opened.insert(session.credential, (live, logins));
            waiting.verdict = Verdict::Limited;
        }
    }
    Ok(())
}

/// Reads the epoch, and what changed since the last look.
pub(super) async fn look(conn: &mut Conn, changes: &Changes) -> Result<()> {
    // In this order: another look may come between.
    let known = changes.known();
    let epoch = conn.rights_epoch().await?;
    if epoch < known {
        // Somebody put an older database under a running broker: what it remembers may be wrong in any way.
        return Err(Error::Corrupt { table: "rights_epoch", column: "epoch", id: "1".into() });
    }
    if epoch > known {
        let steps = match epoch - known {
            ..STEPS => conn.rights_changes(known, STEPS).await?,
            _ => Vec::new(),
        };
        changes.learn(epoch, &steps);
    }
    Ok(())
}
