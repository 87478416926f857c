//! Refreshes a second that the broker keeps up, both tokens stored and recorded, in a world whose tokens live for seconds.
//!
//! Every account is warm, so the schedule alone keeps the broker busy. Counted three ways, which must agree in the end: by
//! the provider's own book, by audit records, by generations. The provider spends each refresh token once only, which
//! forgives nothing. Baselines: the same provider asked by as many callers with no broker between, and the database's own
//! commits. Next: [`super::schedule`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use rustls::RootCertStore;
use serde_json::{Value, json};
use token_broker::service::SLOTS;
use token_broker_client::{TokenBroker, v1};
use tokio::task::JoinSet;

use super::database::{Database, commits_a_second};
use super::machine;
use super::progress::Progress;
use crate::cast::ca;
use crate::cast::provider::Provider;
use crate::cast::provider::settings::{ProviderSettings, Rotation};
use crate::world::{APP, Engine, Operator, World};

/// More calls a second than any of this makes.
const RATE: f64 = 10_000.0;
/// Life of an access token: each account is due about once in half of it.
const LIFE_S: i64 = 2;
/// Owners who consent at a time, and callers who warm accounts.
const CROWD: usize = 16;
const WARM_UP: Duration = Duration::from_secs(3);
const BASELINE: Duration = Duration::from_secs(3);
/// How long refreshes that are under way may take to come to their end.
const CALM: Duration = Duration::from_secs(60);

/// Refreshes that were recorded as done.
const RECORDED: &str = "select count(*) from audit where what = 'refresh' and granted = 1";
/// Generations that refreshes brought: the first of each account came with its consent.
const GENERATIONS: &str = "select cast(coalesce(sum(newest - 1), 0) as bigint) from
    (select max(generation) as newest from grants group by account) as each_account";

/// Measures for `seconds` with so many accounts.
pub(super) async fn measure(engine: Engine, accounts: usize, seconds: u64) -> Result<Value> {
    let settings = || ProviderSettings {
        rotation: Rotation::Strict,
        access_life_s: LIFE_S,
        ..Default::default()
    };
    let bare = bare_calls_a_second(settings(), BASELINE).await?;
    let world = World::builder()
        .engine(engine)
        .without_adapters()
        .in_earnest(RATE)
        .log("warn")
        .provider(|provider| *provider = settings())
        .without_app()
        .start()
        .await?;
    world.register(APP, app(&world)).await?;
    let names: Vec<String> = (0..accounts).map(|at| format!("user-{at:06}@example.test")).collect();
    connect(&world.operator, engine, &names).await?;
    let commits = commits_a_second(&world.house, BASELINE).await?;
    warm(&world.service("warm").await?, &names).await?;
    let mut figures = watch(&world, engine, Duration::from_secs(seconds)).await?;
    let rate = figures["per_second"].as_f64().context("no rate")?;
    agree(&world).await?;
    figures["accounts"] = accounts.into();
    figures["bare_provider_per_second"] = bare.into();
    figures["ratio_to_bare_provider"] = (rate / bare).into();
    figures["commits_per_second"] = commits.into();
    figures["ratio_to_commits"] = (rate / commits).into();
    world.end().await?;
    Ok(figures)
}

/// Single-use refresh tokens, and mail servers in clear: connecting is not what is measured.
fn app(world: &World) -> v1::App {
    let host = v1::MailHost {
        protocol: v1::MailProtocol::Imap.into(),
        host: "localhost".to_owned(),
        port: world.mailbox.addresses().imap.port().into(),
        tls: v1::TlsMode::PlainLoopback.into(),
    };
    let rotation = v1::Rotation::Strict.into();
    v1::App { mail_hosts: vec![host], rotation, ..Default::default() }
}

/// Every owner consents on our pages and the provider's, as in earnest.
async fn connect(operator: &Operator, engine: Engine, names: &[String]) -> Result<()> {
    let what = format!("mailboxes connected, {}", super::name(engine));
    let progress = Progress::of(what, names.len());
    let operator = operator.clone();
    by_crowd(names, &progress, move |name| {
        let operator = operator.clone();
        async move { operator.connect(APP, &name).await.map(drop) }
    })
    .await
}

/// Every token is asked for once, which makes the schedule keep it fresh from then on.
async fn warm(service: &TokenBroker, names: &[String]) -> Result<()> {
    let progress = Progress::of("tokens asked for".to_owned(), names.len());
    let service = service.clone();
    by_crowd(names, &progress, move |name| {
        let service = service.clone();
        async move { Ok(service.access_token(&name).await.map(drop)?) }
    })
    .await
}

/// Does `work` with each of `names`, a few at a time.
async fn by_crowd<F, W>(names: &[String], progress: &Progress, work: F) -> Result<()>
where
    F: Fn(String) -> W + Clone + Send + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let left = Arc::new(Mutex::new(names.iter().cloned().collect::<VecDeque<_>>()));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (left, work, progress) = (Arc::clone(&left), work.clone(), progress.clone());
        crowd.spawn(async move {
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(name) = next else { return anyhow::Ok(()) };
                work(name.clone()).await.context(name)?;
                progress.step(1);
            }
        });
    }
    while let Some(one) = crowd.join_next().await {
        one??;
    }
    progress.done();
    Ok(())
}

/// What was counted until now.
struct Counts {
    at: Instant,
    provider: u64,
    recorded: i64,
    broker: f64,
    ours: f64,
    machine: f64,
}

impl Counts {
    async fn take(world: &World, database: &mut Database, broker: u32) -> Result<Self> {
        Ok(Self {
            recorded: database.number(RECORDED).await?,
            at: Instant::now(),
            provider: world.refreshes(),
            broker: machine::processor_seconds(broker)?,
            ours: machine::processor_seconds(std::process::id())?,
            machine: machine::busy_seconds()?,
        })
    }
}

/// Looks on for `span`.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn watch(world: &World, engine: Engine, span: Duration) -> Result<Value> {
    let progress = Progress::spin(format!("counting refreshes, {}", super::name(engine)));
    let broker = *world.house.process_ids().first().context("no broker")?;
    let mut database = Database::of(&world.house).await?;
    tokio::time::sleep(WARM_UP).await;
    let from = Counts::take(world, &mut database, broker).await?;
    tokio::time::sleep(span).await;
    let to = Counts::take(world, &mut database, broker).await?;
    progress.done();
    database.close().await?;
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    let recorded = (to.recorded - from.recorded) as f64;
    Ok(json!({
        "per_second": recorded / seconds,
        "provider_calls_per_second": (to.provider - from.provider) as f64 / seconds,
        "broker_cores": (to.broker - from.broker) / seconds,
        "broker_ms_each": (to.broker - from.broker) * 1000.0 / recorded,
        "provider_cores": (to.ours - from.ours) / seconds,
        "machine_cores": (to.machine - from.machine) / seconds,
        "load": machine::load(),
    }))
}

/// Lets it come to rest; then all who count must have the same number, and no token may have been spent twice.
async fn agree(world: &World) -> Result<()> {
    world.provider.change(|settings| settings.access_life_s = 3600);
    let began = Instant::now();
    let mut database = Database::of(&world.house).await?;
    let mut before = 0;
    loop {
        let (asked, flying) = (world.refreshes(), world.provider.truth().stats().in_flight);
        let recorded = database.number(RECORDED).await?;
        let generations = database.number(GENERATIONS).await?;
        let same = i64::try_from(asked)? == recorded && recorded == generations;
        if same && flying == 0 && asked == before {
            break;
        }
        ensure!(
            began.elapsed() < CALM,
            "the provider was asked {asked} times, {recorded} are recorded, {generations} stored"
        );
        before = asked;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    database.close().await?;
    let reuse = world.provider.truth().stats().reuse;
    ensure!(reuse == 0, "{reuse} tokens were spent twice");
    Ok(())
}

/// Refreshes a second of a provider that is asked by as many callers as the broker may have, with nothing between.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
async fn bare_calls_a_second(settings: ProviderSettings, span: Duration) -> Result<f64> {
    let provider = Provider::start(settings).await?;
    let client = client()?;
    let url = format!("{}/token", provider.issuer());
    let (id, secret) = (provider.client_id(), provider.client_secret());
    let end = Instant::now() + span;
    let mut callers = JoinSet::new();
    for first in provider.issue_many(SLOTS, "mail").into_values() {
        let (client, url) = (client.clone(), url.clone());
        let (id, secret) = (id.clone(), secret.clone());
        callers
            .spawn(async move { keep_refreshing(&client, &url, (&id, &secret), first, end).await });
    }
    let mut calls = 0;
    while let Some(one) = callers.join_next().await {
        calls += one??;
    }
    provider.stop().await;
    Ok(calls as f64 / span.as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "this is measured without the product")]
fn client() -> Result<Client> {
    let tls = ca::client_config(RootCertStore::empty())?;
    Ok(Client::builder().tls_backend_preconfigured(tls).no_proxy().build()?)
}

async fn keep_refreshing(
    client: &Client,
    url: &str,
    (id, secret): (&str, &str),
    mut token: String,
    end: Instant,
) -> Result<u64> {
    let mut calls = 0;
    while Instant::now() < end {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &token)];
        let ask = client.post(url).basic_auth(id, Some(secret)).form(&form);
        let answer: Value = ask.send().await?.error_for_status()?.json().await?;
        answer["refresh_token"].as_str().context("no refresh token")?.clone_into(&mut token);
        calls += 1;
    }
    Ok(calls)
}
