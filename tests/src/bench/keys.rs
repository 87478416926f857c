//! What a change of keys costs: the key-encryption key, and a term with very many sealed rows, while calls are made.
//!
//! The rows are grants of a few accounts that nobody refreshes, sealed by the broker's own code and written by its own store.
//! Baseline: the same calls a second with nothing to move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use token_broker::clock::{Clock, Time};
use token_broker::config;
use token_broker::domain::account::Account;
use token_broker::domain::grant::Grant;
use token_broker::domain::ids::{AccountId, GrantId, Mailbox, ProjectId, ResourceId};
use token_broker::domain::secret::Secret;
use token_broker::entropy::Entropy;
use token_broker::seal::{Custody, Sealer};
use token_broker::service::keyring::sealed_term;
use token_broker::service::places;
use token_broker::store::Store;
use token_broker::tasks::Tasks;
use token_broker_client::{TokenBroker, v1};
use tokio::task::JoinSet;

use super::progress::Progress;
use crate::world::{ALICE, Engine, World};

/// Grants of one account.
const GRANTS: usize = 2000;
/// Rows in one transaction.
const CHUNK: usize = 500;
/// Letters of a refresh token: about what providers hand out.
const LETTERS: usize = 400;
/// Callers who ask all the time.
const CALLERS: usize = 8;
const QUIET: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);
const STORE_END: Duration = Duration::from_secs(20);

/// Measures with `rows` sealed rows.
pub(super) async fn measure(engine: Engine, rows: usize) -> Result<Value> {
    let world = World::builder().engine(engine).without_adapters().in_earnest(50.0).log("warn");
    let mut world = world.start().await?;
    world.connect(ALICE).await?;
    world.house.broker()?.kill();
    fill(&world, rows).await?;
    world.house.open().await?;
    let service = world.service("bench").await?;

    let quiet = Calls::start(&service);
    tokio::time::sleep(QUIET).await;
    let quiet = quiet.end().await?;

    let kek = world.house.folder().join("kek.next");
    token_broker::assemble::new_kek(&kek)?;
    let admin = world.operator.admin();
    // The broker tells the others what it can read, if there are any.
    let began = Instant::now();
    admin.ask(admin.keys().rotate_key_encryption_key(v1::RotateKeyEncryptionKeyRequest {})).await?;
    let kek_ms = began.elapsed().as_secs_f64() * 1e3;

    let calls = Calls::start(&service);
    let began = Instant::now();
    admin.ask(admin.keys().create_key_term(v1::CreateKeyTermRequest {})).await?;
    let term_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    admin.ask(admin.keys().start_reseal(v1::StartResealRequest {})).await?;
    let moved = followed(&world).await?;
    let span = began.elapsed().as_secs_f64();
    let busy = calls.end().await?;
    ensure!(moved.refused == 0, "{} rows were refused", moved.refused);
    world.end().await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = moved.done as f64 / span;
    Ok(json!({
        "rows": moved.done,
        "kek_ms": kek_ms,
        "term_ms": term_ms,
        "reseal_s": span,
        "reseal_rows_per_second": rate,
        "calls_per_second": { "quiet": quiet.rate(), "during": busy.rate() },
        "calls_p99_ms": { "quiet": quiet.p99_ms(), "during": busy.p99_ms() },
        "failed_calls": quiet.failed + busy.failed,
    }))
}

/// Follows a re-seal to its end.
async fn followed(world: &World) -> Result<v1::Reseal> {
    let admin = world.operator.admin();
    let mut progress: Option<(Progress, i64)> = None;
    loop {
        let ask = v1::GetKeyStatusRequest { without_counts: true };
        let stands = admin.ask(admin.keys().get_key_status(ask)).await?;
        let reseal = stands.reseal.context("no re-seal")?;
        let total = usize::try_from(reseal.total)?;
        let (bar, last) =
            progress.get_or_insert_with(|| (Progress::of("sealed anew".to_owned(), total), 0));
        bar.step(usize::try_from(reseal.done - *last)?);
        *last = reseal.done;
        if reseal.state() == v1::ResealState::Done {
            bar.done();
            return Ok(reseal);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes grants as the broker would have.
async fn fill(world: &World, rows: usize) -> Result<()> {
    let env = |name: &str| std::env::var(name).ok();
    let config = config::load(&world.house.config(), &env);
    let config = config.map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let custody = Custody::new(config.kek.clone(), None, &|_| None);
    let tasks = Tasks::new();
    let store = Store::open(&config.store, &tasks).await?;
    let mut conn = store.read().await?;
    let instance = conn.instance().await?.context("no instance")?;
    let terms = conn.keyring().await?.into_iter().map(sealed_term).collect();
    let sealer = Sealer::new(custody.open(instance.id, terms)?, Entropy::system());
    let project = ProjectId::default_project();
    let alice = Mailbox::parse(ALICE).map_err(|bad| anyhow::anyhow!("{bad}"))?;
    let like = conn.account_by_mailbox(&project, &alice).await?.context("no account")?;
    let like = sealer.admit(like)?;
    drop(conn);
    let progress = Progress::of("rows sealed and written".to_owned(), rows);
    let (now, entropy) = (Clock::system().now(), Entropy::system());
    for (number, start) in (0..rows).step_by(GRANTS).enumerate() {
        let account = account(&like, number, (now, &entropy))?;
        let id = account.id;
        let guarded = sealer.guard(account);
        store.write(move |tx| Box::pin(async move { tx.insert_account(&guarded).await })).await?;
        let count = GRANTS.min(rows - start);
        for from in (0..count).step_by(CHUNK) {
            let some = from..(from + CHUNK).min(count);
            let grants = some.map(|at| grant(&sealer, id, at, (now, &entropy)));
            let grants = grants.collect::<Result<Vec<_>>>()?;
            progress.step(grants.len());
            let write = store.write(move |tx| {
                Box::pin(async move {
                    for grant in &grants {
                        tx.append_grant(grant).await?;
                    }
                    Ok(())
                })
            });
            write.await?;
        }
    }
    progress.done();
    drop(store);
    ensure!(tasks.drain(STORE_END).await, "the store does not end");
    Ok(())
}

fn account(like: &Account, number: usize, (now, entropy): (Time, &Entropy)) -> Result<Account> {
    let name = format!("bench-{number}");
    Ok(Account {
        id: AccountId::new(now, entropy),
        mailbox: Mailbox::parse(&format!("{name}@example.test"))
            .map_err(|bad| anyhow::anyhow!("{bad}"))?,
        name: ResourceId::parse(&name).map_err(|bad| anyhow::anyhow!("{bad}"))?,
        ..like.clone()
    })
}

fn grant(
    sealer: &Sealer,
    account: AccountId,
    at: usize,
    (now, entropy): (Time, &Entropy),
) -> Result<Grant> {
    let (id, generation) = (GrantId::new(now, entropy), i64::try_from(at)? + 1);
    let place = places::refresh_token(id, account, generation);
    Ok(Grant {
        id,
        account,
        generation,
        parent: generation - 1,
        refresh_token: Some(sealer.seal(&place, &Secret::new("r".repeat(LETTERS)))?),
        received_at: now,
        proven: false,
        ends_at: None,
        carried: false,
        refusals: 0,
    })
}

/// Callers at work.
struct Calls {
    stop: Arc<AtomicBool>,
    began: Instant,
    callers: JoinSet<(Vec<u64>, usize)>,
}

/// What they saw.
struct Seen {
    micros: Vec<u64>,
    span: Duration,
    failed: usize,
}

impl Calls {
    fn start(service: &TokenBroker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(keep_asking(service.clone(), Arc::clone(&stop)));
        }
        Self { stop, began: Instant::now(), callers }
    }

    async fn end(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Seen { micros: Vec::new(), span: self.began.elapsed(), failed: 0 };
        for (micros, failed) in self.callers.join_all().await {
            seen.micros.extend(micros);
            seen.failed += failed;
        }
        seen.micros.sort_unstable();
        Ok(seen)
    }
}

/// Without a second try: a batch of one is not repeated.
async fn keep_asking(service: TokenBroker, stop: Arc<AtomicBool>) -> (Vec<u64>, usize) {
    use v1::access_token_outcome::Outcome;
    let (mut micros, mut failed) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let ask = v1::GetAccessTokenRequest { account: ALICE.to_owned(), ..Default::default() };
        let asked = Instant::now();
        let answer = service.batch(vec![ask]).await.ok();
        let outcome = answer.and_then(|mut answer| answer.outcomes.pop()?.outcome);
        failed += usize::from(!matches!(outcome, Some(Outcome::Token(_))));
        micros.push(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    (micros, failed)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Seen {
    fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.span.as_secs_f64()
    }

    fn p99_ms(&self) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        self.micros.get(last * 99 / 100).copied().unwrap_or(0) as f64 / 1e3
    }
}
