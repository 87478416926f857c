//! What the time of a refusal tells: logins that are wrong in unlike ways, in random order, and whether a stranger with a
//! clock could tell them apart.
//!
//! Never measures the wait that an adapter is told: that is the same for all of them anyway. What is taken is the time from
//! the call into the broker's service to its verdict, in this process, over a real store. The judgement is that of dudect
//! (Reparaz, Balasch, Verbauwhede 2017): Welch's t between each two classes, over all samples and without the slowest. Next:
//! [`welch`] has the figures, `service/refusal_grid.rs` what makes them small.

pub mod welch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use token_broker::callers::Shown;
use token_broker::domain::caller::Caller;
use token_broker::domain::mail::MailProtocol;
use token_broker::domain::secret::Secret;
use token_broker::entropy::Entropy;
use token_broker::failpoint;
use token_broker::memory::Seen;
use token_broker::seal::credential::{Generated, Kind, parse};
use token_broker::service::{
    DenialKind, Error, LoginAttempt, REFUSAL_STEP, Service, SessionAnswer,
};
use token_broker_client::v1;
use tokio::task::JoinSet;

use self::welch::Sample;
use crate::world::{Engine, Timelapse};

/// Credentials of each class that has some, and unknown ids.
const CREDENTIALS: u64 = 16;
/// Wrong secrets of each.
const SECRETS: u64 = 4;
/// Samples that are thrown away, so that memory and files are warm and the first refusals have their records.
const WARM_UP: u64 = 500;
/// Calls in the rate of the app, which nobody makes.
const RATE: f64 = 10.0;

/// What is wrong with a login.
pub const CLASSES: [&str; 3] = ["unknown id", "wrong secret", "right secret, wrong protocol"];

/// A step that is left out, to see the difference found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Break {
    /// Refusals are answered as soon as they are known: not at the end of a step, and without the look at the rights that
    /// all of them share.
    Bare,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Samples of all classes together.
    pub samples: u64,
    /// Logins under way at one time.
    pub at_once: usize,
    /// What is left out.
    pub broken: Option<Break>,
    /// Where the order comes from.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// By class, in the order of [`CLASSES`].
    pub classes: Vec<Vec<u64>>,
    plan: Plan,
}

/// Measures; `progress` is told how many samples there are.
///
/// # Errors
/// The broker does not come up, lets a wrong login in or refuses it in another way.
pub async fn measure(
    plan: &Plan,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Report> {
    if plan.broken == Some(Break::Bare) {
        failpoint::arm("refusal.step=skip,refusal.look=skip")
            .context("the failpoints are armed already")?;
    }
    let lapse = Timelapse::start(Engine::Sqlite, 1, RATE).await?;
    let logins = Arc::new(logins(&lapse).await?);
    let core = lapse.core()?;
    let imap = |it: &mut v1::Caller| it.protocols = vec![v1::MailProtocol::Imap.into()];
    let (_, key) = lapse.operator.caller("door", v1::CallerRole::Adapter, imap).await?;
    let shown = Shown { bearer: Some(&key), certificate: None, address: [127, 0, 0, 1].into() };
    core.callers.catch_up().await?;
    let caller = core.callers.recognise(shown).await?;
    let (taken, progress) = (Arc::new(AtomicU64::new(0)), Arc::new(progress));
    let mut workers = JoinSet::new();
    for number in 0..plan.at_once {
        let worker = Worker {
            service: core.service.clone(),
            caller: caller.clone(),
            logins: Arc::clone(&logins),
            taken: Arc::clone(&taken),
            dice: StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
        };
        workers.spawn(worker.work(plan.samples, Arc::clone(&progress)));
    }
    let mut classes = vec![Vec::new(); CLASSES.len()];
    while let Some(of_one) = workers.join_next().await {
        for (class, micros) in of_one?? {
            classes[class].push(micros);
        }
    }
    drop(caller);
    lapse.end().await?;
    Ok(Report { classes, plan: plan.clone() })
}

struct Worker {
    service: Service,
    caller: Seen<Caller>,
    logins: Arc<[Vec<LoginAttempt>; 3]>,
    taken: Arc<AtomicU64>,
    dice: StdRng,
}

impl Worker {
    /// Class and nanoseconds of each sample it took.
    async fn work(
        mut self,
        samples: u64,
        progress: Arc<impl Fn(u64)>,
    ) -> Result<Vec<(usize, u64)>> {
        let mut seen = Vec::new();
        loop {
            // Answers that go out together would bring the next logins together.
            let pause = self.dice.random_range(0..=REFUSAL_STEP.as_micros());
            tokio::time::sleep(Duration::from_micros(u64::try_from(pause)?)).await;
            let number = self.taken.fetch_add(1, Ordering::Relaxed);
            if number >= samples + WARM_UP {
                return Ok(seen);
            }
            let class = self.dice.random_range(0..CLASSES.len());
            let of_class = &self.logins[class];
            let attempt = &of_class[self.dice.random_range(0..of_class.len())];
            let asked = Instant::now();
            let answer = self.service.open_session(&self.caller, attempt).await;
            let took = asked.elapsed();
            // A credential that was read before the broker knew of its making: a door would ask again.
            let answer = match answer {
                Err(Error::Overtaken) if number < WARM_UP => continue,
                answer => answer?,
            };
            let SessionAnswer::Denied(denial) = answer else { bail!("a wrong login was let in") };
            ensure!(denial.kind == DenialKind::BadCredential, "refused as {:?}", denial.kind);
            if number >= WARM_UP {
                seen.push((class, u64::try_from(took.as_nanos())?));
                progress(number - WARM_UP + 1);
            }
        }
    }
}

/// Logins of each class.
async fn logins(lapse: &Timelapse) -> Result<[Vec<LoginAttempt>; 3]> {
    let mailbox = lapse.mailboxes.first().context("no mailbox")?;
    let account = lapse.operator.account(mailbox).await?.name;
    let mut texts = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..CREDENTIALS {
        let unknown = Generated::new(Kind::Proxy, &Entropy::seeded(number + 1));
        let (_, right) = lapse.operator.credential(&account, |_| {}).await?;
        for secret in 0..SECRETS {
            let seed = (number + 1) * 1_000 + secret;
            texts[0].push(with_other_secret(unknown.shown.expose(), seed)?);
            texts[1].push(with_other_secret(&right, seed)?);
        }
        let smtp = |it: &mut v1::Credential| it.protocols = vec![v1::MailProtocol::Smtp.into()];
        texts[2].push(lapse.operator.credential(&account, smtp).await?.1);
    }
    let login = |(number, secret): (u32, String)| LoginAttempt {
        protocol: MailProtocol::Imap,
        login_name: mailbox.clone(),
        secret: Secret::new(secret),
        address: std::net::Ipv4Addr::from_bits(0xC633_6400 + number % 256).into(),
    };
    Ok(texts.map(|texts| (0..).zip(texts).map(login).collect()))
}

/// A credential of the same id with a secret that is not its own.
///
/// # Errors
/// `text` is none.
pub fn with_other_secret(text: &str, seed: u64) -> Result<String> {
    const SYMBOLS: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    let id = text.split('_').nth(1).context("no id")?;
    let other = Generated::new(Kind::Proxy, &Entropy::seeded(seed));
    let secret = other.shown.expose().split('_').nth(2).context("no secret")?.to_owned();
    let pairs = SYMBOLS.chars().flat_map(|a| SYMBOLS.chars().map(move |b| (a, b)));
    let mut all = pairs.map(|(a, b)| format!("tb_{id}_{secret}_{a}{b}"));
    all.find(|text| parse(text).is_ok()).context("no check fits")
}

impl Report {
    /// Whether the classes cannot be told apart.
    pub fn is_good(&self) -> bool {
        self.worst() < welch::LIMIT
    }

    /// The largest |t| of any two classes under any cut.
    pub fn worst(&self) -> f64 {
        self.pairs().into_iter().flat_map(|(_, ts)| ts).fold(0.0, |worst, t| worst.max(t.abs()))
    }

    /// Each two classes, and t under each of [`welch::CUTS`].
    fn pairs(&self) -> Vec<((usize, usize), Vec<f64>)> {
        let limits = welch::limits(&self.classes);
        let t = |one: usize, other: usize, limit: u64| {
            let of = |class: usize| Sample::below(&self.classes[class], limit);
            welch::t(of(one), of(other))
        };
        [(0, 1), (0, 2), (1, 2)]
            .into_iter()
            .map(|(one, other)| {
                let ts = limits.iter().map(|limit| t(one, other, *limit)).collect();
                ((one, other), ts)
            })
            .collect()
    }

    /// All of it as data.
    pub fn figures(&self) -> Value {
        let limits = welch::limits(&self.classes);
        let class = |(name, times): (&&str, &Vec<u64>)| {
            let (whole, cut) = (Sample::below(times, u64::MAX), Sample::below(times, limits[1]));
            json!({
                "class": name,
                "n": times.len(),
                "mean_us": whole.mean() / 1000.0,
                "sd_us": whole.deviation() / 1000.0,
                "mean_us_99": cut.mean() / 1000.0,
                "sd_us_99": cut.deviation() / 1000.0,
                "least_us": times.iter().min().map(|least| least / 1000),
                "beyond_a_step": times.iter().filter(|time| **time >= steps(2)).count(),
            })
        };
        let pair = |((one, other), ts): ((usize, usize), Vec<f64>)| {
            let t: serde_json::Map<String, Value> =
                welch::CUTS.iter().zip(ts).map(|(cut, t)| (cut.to_string(), json!(t))).collect();
            json!({ "one": CLASSES[one], "other": CLASSES[other], "t_by_percent_kept": t })
        };
        json!({
            "samples": self.plan.samples,
            "at_once": self.plan.at_once,
            "step_ms": REFUSAL_STEP.as_millis(),
            "bare": self.plan.broken == Some(Break::Bare),
            "classes": CLASSES.iter().zip(&self.classes).map(class).collect::<Vec<_>>(),
            "pairs": self.pairs().into_iter().map(pair).collect::<Vec<_>>(),
            "worst_t": self.worst(),
            "limit": welch::LIMIT,
        })
    }
}

/// So many steps, in nanoseconds.
fn steps(count: u32) -> u64 {
    u64::try_from((REFUSAL_STEP * count).as_nanos()).unwrap_or(u64::MAX)
}
