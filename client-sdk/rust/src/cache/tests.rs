//! The cache on a paused clock, with a source that answers what the test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenbroker_proto::v1::{ErrorReason, GetAccessTokenResponse};
use tokio::sync::Semaphore;
use tokio::time::advance;

use super::table::LEAST_PAUSE;
use super::*;
use crate::clock::Moment;

const DEADLINE: Duration = Duration::from_secs(10);
const HOUR: u64 = 3600;

/// Answers from a script; when it is empty, with tokens that count up and live an hour.
struct Scripted {
    script: Mutex<VecDeque<Result<AccessToken, Error>>>,
    asked: Mutex<Vec<Ask>>,
    count: AtomicUsize,
    gate: Semaphore,
}

impl Source for Arc<Scripted> {
    async fn fetch(&self, ask: Ask) -> Result<AccessToken, Error> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        lock(&self.asked).push(ask);
        self.gate.acquire().await.unwrap().forget();
        let next = lock(&self.script).pop_front();
        next.unwrap_or_else(|| Ok(token(&format!("t{number}"), HOUR, HOUR / 2)))
    }
}

struct World {
    cache: TokenCache<Arc<Scripted>>,
    source: Arc<Scripted>,
}

impl World {
    fn new(limit: usize) -> Self {
        let source = Arc::new(Scripted {
            script: Mutex::default(),
            asked: Mutex::default(),
            count: AtomicUsize::new(0),
            gate: Semaphore::new(1_000),
        });
        Self { cache: TokenCache::new(Arc::clone(&source), limit), source }
    }

    fn then(&self, outcome: Result<AccessToken, Error>) {
        lock(&self.source.script).push_back(outcome);
    }

    fn asked(&self) -> usize {
        self.source.count.load(Ordering::SeqCst)
    }

    async fn get(&self, account: &str) -> Result<AccessToken, Error> {
        self.cache.token(key(account), None, DEADLINE).await
    }

    /// Lets tasks of the cache run until they wait for time or the gate.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn key(account: &str) -> Key {
    Key { account: account.into(), ..Key::default() }
}

fn token(text: &str, lives: u64, refresh: u64) -> AccessToken {
    answer(text, lives, refresh, false)
}

fn answer(text: &str, lives: u64, refresh: u64, stale: bool) -> AccessToken {
    let now = Moment::now();
    let at = |seconds| Some((now.wall + Duration::from_secs(seconds)).into());
    let wire = GetAccessTokenResponse {
        access_token: text.into(),
        expire_time: at(lives),
        refresh_after: at(refresh),
        stale,
        ..Default::default()
    };
    AccessToken::from_wire(wire, now).unwrap()
}

fn away() -> Error {
    Error::Unavailable {
        message: "away".into(),
        reason: Some(ErrorReason::BrokerUnavailable),
        retry_after: None,
    }
}

fn dead() -> Error {
    Error::NeedsConsent { message: "dead".into(), link: None, interaction: false }
}

#[tokio::test(start_paused = true)]
async fn a_token_at_hand_costs_no_question() {
    let world = World::new(10);
    for _ in 0..5 {
        assert_eq!(world.get("ann").await.unwrap().expose(), "t0");
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.get("bob").await.unwrap().expose(), "t1");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_ask_once_and_one_that_leaves_ends_nobodys_wait() {
    let world = World::new(10);
    world.source.gate.forget_permits(1_000);
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let cache = world.cache.clone();
        callers.spawn(async move { cache.token(key("ann"), None, DEADLINE).await });
    }
    let cache = world.cache.clone();
    let leaver = callers.spawn(async move { cache.token(key("ann"), None, DEADLINE).await });
    world.settle().await;
    leaver.abort();
    world.source.gate.add_permits(1_000);
    let mut served = 0;
    while let Some(ended) = callers.join_next().await {
        served += usize::from(ended.is_ok_and(|token| token.unwrap().expose() == "t0"));
    }
    assert_eq!((served, world.asked()), (100, 1));
}

#[tokio::test(start_paused = true)]
async fn from_refresh_after_on_the_next_one_is_fetched_behind_the_callers_back() {
    let world = World::new(10);
    world.get("ann").await.unwrap();
    advance(Duration::from_secs(HOUR / 2 + 1)).await;
    world.source.gate.forget_permits(1_000);
    assert_eq!(world.get("ann").await.unwrap().expose(), "t0", "nobody waits for it");
    assert_eq!(world.get("ann").await.unwrap().expose(), "t0");
    world.source.gate.add_permits(1_000);
    world.settle().await;
    assert_eq!(world.get("ann").await.unwrap().expose(), "t1");
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_has_nothing_newer_is_not_asked_on_every_call() {
    let world = World::new(10);
    for _ in 0..3 {
        world.then(Ok(token("same", HOUR, 0)));
    }
    for _ in 0..50 {
        world.get("ann").await.unwrap();
        world.settle().await;
    }
    assert_eq!(world.asked(), 1);
    advance(LEAST_PAUSE).await;
    world.get("ann").await.unwrap();
    world.settle().await;
    world.get("ann").await.unwrap();
    world.settle().await;
    assert_eq!(world.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_not_the_callers_problem_while_the_token_lives() {
    let world = World::new(10);
    world.get("ann").await.unwrap();
    advance(Duration::from_secs(HOUR - 60)).await;
    world.then(Err(away()));
    let kept = world.get("ann").await.unwrap();
    assert_eq!(kept.expose(), "t0");
    assert!(kept.is_stale());
    assert_eq!(kept.last_error(), Some(ErrorReason::BrokerUnavailable));

    advance(Duration::from_secs(61)).await;
    world.then(Err(away()));
    assert_eq!(world.get("ann").await.unwrap_err(), away(), "a dead token is never handed out");
}

#[tokio::test(start_paused = true)]
async fn a_decision_against_the_account_is_obeyed_at_once() {
    let world = World::new(10);
    world.get("ann").await.unwrap();
    advance(Duration::from_secs(HOUR / 2 + 1)).await;
    world.then(Err(dead()));
    world.then(Err(dead()));
    world.get("ann").await.unwrap();
    world.settle().await;
    assert_eq!(world.get("ann").await.unwrap_err(), dead());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_gone_and_its_hash_goes_with_the_next_question() {
    let world = World::new(10);
    let first = world.get("ann").await.unwrap();
    world.cache.reject(&first);
    assert_eq!(world.get("ann").await.unwrap().expose(), "t1");
    let asked = lock(&world.source.asked).clone();
    assert_eq!(asked[0].rejected, None);
    assert_eq!(asked[1].rejected, Some(first.hash()));

    world.cache.reject(&first);
    assert_eq!(world.get("ann").await.unwrap().expose(), "t1", "an older token changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_does_not_come_back_when_the_broker_is_away() {
    let world = World::new(10);
    let first = world.get("ann").await.unwrap();
    world.cache.reject(&first);
    world.then(Err(away()));
    assert_eq!(world.get("ann").await.unwrap_err(), away());
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_longer_life_gets_it_also_when_another_asked_first() {
    let world = World::new(10);
    world.then(Ok(token("short", 600, 300)));
    assert_eq!(world.get("ann").await.unwrap().expose(), "short");
    let long = world.cache.token(key("ann"), Some(Duration::from_secs(1800)), DEADLINE).await;
    assert_eq!(long.unwrap().expose(), "t1");
    assert_eq!(lock(&world.source.asked)[1].min_ttl, Some(Duration::from_secs(1800)));
}

#[tokio::test(start_paused = true)]
async fn a_token_the_broker_calls_stale_is_kept_for_a_moment_only() {
    let world = World::new(10);
    world.then(Ok(answer("old", 100, 0, true)));
    assert!(world.get("ann").await.unwrap().is_stale());
    assert!(world.get("ann").await.unwrap().is_stale());
    assert_eq!(world.asked(), 1);
    advance(LEAST_PAUSE).await;
    world.get("ann").await.unwrap();
    world.settle().await;
    assert_eq!(world.get("ann").await.unwrap().expose(), "t1");
}

#[tokio::test(start_paused = true)]
async fn the_table_stays_bounded_and_drops_what_was_not_used_for_longest() {
    let world = World::new(3);
    for account in ["a", "b", "c", "a", "d"] {
        world.get(account).await.unwrap();
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(world.asked(), 4);
    assert_eq!(lock(&world.cache.table).entries.len(), 3);
    world.get("a").await.unwrap();
    assert_eq!(world.asked(), 4, "a was used lately");
    world.get("b").await.unwrap();
    assert_eq!(world.asked(), 5, "b was dropped");
}

#[tokio::test(start_paused = true)]
async fn without_room_every_call_asks_and_still_answers() {
    let world = World::new(0);
    assert_eq!(world.get("a").await.unwrap().expose(), "t0");
    assert_eq!(world.get("a").await.unwrap().expose(), "t1");
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_its_deadline() {
    let world = World::new(3);
    world.source.gate.forget_permits(1_000);
    let began = Instant::now();
    let late = world.cache.token(key("a"), None, Duration::from_secs(2)).await;
    assert_eq!(late.unwrap_err(), Error::Deadline);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_print_itself() {
    let world = World::new(3);
    world.then(Ok(token("canary", HOUR, HOUR)));
    let token = world.get("a").await.unwrap();
    assert!(!format!("{token:?} {:?}", world.cache).contains("canary"));
    assert_eq!(token.expose(), "canary");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_cache_ends_its_tasks() {
    let world = World::new(3);
    world.source.gate.forget_permits(1_000);
    let cache = world.cache.clone();
    let waiting =
        tokio::time::timeout(Duration::from_secs(1), cache.token(key("a"), None, DEADLINE));
    assert!(waiting.await.is_err());
    let source = Arc::clone(&world.source);
    drop((world, cache));
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&source), 1, "no task holds the source");
}
