//! How long relayed sessions live after the credential they were opened with was revoked: real broker, real adapter, a client
//! on each session that waits for the end.
//!
//! It asserts only that every session ends and is told why; how fast is a figure. Time runs from before the call that revokes,
//! so it is longer than what is promised, which counts from its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cast::speaker::Speaker;
use crate::world::{ALICE, Engine, World};

/// Logins at once while the sessions are opened.
const LOGINS: usize = 16;
/// How long a session may take to end, here: far beyond what is promised, so that slowness is a figure and no failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sockets of a session: client, both sides of the adapter, and the mail server.
const SOCKETS: usize = 4;

/// Measures with so many sessions.
///
/// # Errors
/// Something does not come up, or a session does not end.
pub async fn measure(engine: Engine, sessions: usize) -> Result<Value> {
    let open = open_files()?;
    let wanted = sessions * SOCKETS + 500;
    ensure!(open >= wanted, "{sessions} sessions need {wanted} open files: ulimit -n {wanted}");
    let world = World::builder().engine(engine).log("warn").start().await?;
    let account = world.connect(ALICE).await?;
    let (credential, password) = world.operator.credential(&account.name, |_| {}).await?;
    let clients = log_in(&world, &password, sessions).await?;
    let mut ends = JoinSet::new();
    for mut client in clients {
        ends.spawn(async move {
            let said = client.closed().await?;
            anyhow::Ok((Instant::now(), said))
        });
    }
    let begun = Instant::now();
    world.operator.revoke_credential(&credential.name).await?;
    let answered = begun.elapsed();
    let (mut lives, mut told) = (Vec::with_capacity(sessions), 0);
    while let Some(end) = ends.join_next().await {
        let (at, said) = end??;
        lives.push(at - begun);
        told += usize::from(said.contains("* BYE Access to this mailbox was withdrawn"));
    }
    lives.sort_unstable();
    let metrics = world.house.adapter("imap")?.metrics().await?;
    world.end().await?;
    ensure!(lives.len() == sessions, "{} of {sessions} ended", lives.len());
    let revoked = "sessions_ended_total{protocol=\"imap\",reason=\"revoked\"}";
    let counted = metrics.lines().find_map(|line| line.split_once(revoked)?.1.trim().parse().ok());
    ensure!(counted == Some(sessions), "the adapter counted {counted:?} of {sessions}");
    let at = |share: f64| millis(lives[rank(share, lives.len())]);
    Ok(json!({
        "sessions": sessions, "told": told, "revoke_ms": millis(answered), "p50_ms": at(0.5), "p99_ms": at(0.99),
        "p999_ms": at(0.999), "max_ms": at(1.0),
    }))
}

async fn log_in(world: &World, password: &str, sessions: usize) -> Result<Vec<Speaker>> {
    let door = world.house.adapter("imap")?.plain;
    let turns = Arc::new(Semaphore::new(LOGINS));
    let mut logins = JoinSet::new();
    for _ in 0..sessions {
        let (turns, login) = (Arc::clone(&turns), format!("a LOGIN {ALICE} {password}"));
        logins.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            let mut speaker = Speaker::connect(door).await?.patient(PATIENCE);
            speaker.expect("* OK").await?;
            speaker.send(&login).await?;
            speaker.completed("a").await?;
            anyhow::Ok(speaker)
        });
    }
    let mut clients = Vec::with_capacity(sessions);
    while let Some(client) = logins.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a small count"
)]
fn rank(share: f64, count: usize) -> usize {
    ((share * count as f64).ceil() as usize).clamp(1, count) - 1
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// How many files this process may have open; what it starts may as many.
fn open_files() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).context("no such limit")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}
