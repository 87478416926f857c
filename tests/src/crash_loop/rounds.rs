//! The loop itself: start, judge, load, kill.
//!
//! Losses are found after the next start and belong to the place of the last kill. Invariant: when a round begins, every
//! account is connected and known. Next: [`super::judge`].

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use token_broker::domain::chain;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::grip::Grip;
use super::judge::{self, Died, Finding};
use super::load::{self, Mix};
use super::plan::{Plan, Point, SPILL, Sabotage, VARIABLE};
use super::report::Report;
use super::scene::Scene;

/// How long a process that died may take to be seen dead.
const SEEN: Duration = Duration::from_secs(3);
/// So many broken invariants are enough, where none is wanted.
const ENOUGH: usize = 20;
const SIGKILL: i32 = 9;
const POLL: Duration = Duration::from_millis(2);
/// Answers that were sent before a kill are read within this time.
const LAST_WORDS: Duration = Duration::from_millis(30);

/// Runs the plan; `progress` hears of every kill.
///
/// # Errors
/// Something of the world does not come up. Broken invariants are in the report.
pub async fn run(plan: &Plan, mut progress: impl FnMut(&Report)) -> Result<Report> {
    let began = Instant::now();
    let mut run = Run {
        scene: Box::pin(Scene::build(plan)).await?,
        report: Report {
            seed: plan.seed,
            failpoints: !plan.failpoints.is_empty(),
            ..Report::default()
        },
        rolls_back: plan.sabotage == Some(Sabotage::Rollback),
        last: None,
        audited: HashMap::new(),
        refreshes: Vec::new(),
    };
    let switch = plan.sabotage.and_then(Sabotage::switch).map(str::to_owned);
    let end = plan.points().into_iter().map(Some).chain([None]);
    for (round, point) in (0..).zip(end) {
        let value = point.and_then(Point::value).or_else(|| switch.clone());
        Box::pin(run.round(plan.seed.wrapping_add(round), point, value)).await?;
        run.report.broken = run.scene.verdicts.all();
        run.report.took = began.elapsed();
        progress(&run.report);
        let enough = match plan.sabotage {
            None => ENOUGH,
            Some(Sabotage::Rollback) => usize::MAX,
            // Each round under a broken broker may leave somebody waiting to the end of his patience.
            Some(Sabotage::Intent | Sabotage::StoreFirst) => 1,
        };
        if run.report.broken.len() >= enough {
            break;
        }
    }
    let log = run.scene.house.broker()?.log();
    if log.contains("panicked at") {
        run.report.broken.push("the broker panicked".to_owned());
    }
    Ok(run.report)
}

struct Run {
    scene: Scene,
    report: Report,
    /// Whether each life of the broker is undone.
    rolls_back: bool,
    /// Where the broker was killed last.
    last: Option<Point>,
    /// The newest audit record of each chain that was judged.
    audited: HashMap<String, chain::Point>,
    /// Refresh calls of each account at the last judgement.
    refreshes: Vec<u64>,
}

impl Run {
    /// One life of the broker, up to its kill at `point`; without a point it is only judged.
    async fn round(
        &mut self,
        seed: u64,
        point: Option<Point>,
        value: Option<String>,
    ) -> Result<()> {
        let environment = value.map(|value| (VARIABLE, value)).into_iter().collect();
        self.scene.set_slow(false);
        if let Some(Point::Moment { again: Some(after), .. }) = self.last {
            self.die_at_start(after).await?;
        }
        self.scene.house.broker()?.kill();
        if self.rolls_back {
            self.roll_back()?;
        }
        self.scene.house.set_environment(environment);
        if self.start().await?.is_err() {
            return self.count_kill(point);
        }
        let clients = Clients::open(&self.scene.house, &self.scene.key).await?;
        if self.judge(&clients).await.is_err() {
            self.expect_death().await?;
            return self.count_kill(point);
        }
        let Some(point) = point else { return Ok(()) };
        self.scene.set_slow(true);
        let stop = CancellationToken::new();
        let mix = if self.rolls_back { Mix::revoking() } else { Mix::towards(point.label()) };
        let mut running = load::start(&self.scene, &clients, (seed, mix), &stop);
        let grip = match point.label() {
            SPILL => Some(Grip::take(&self.scene).await?),
            _ => None,
        };
        self.wait_for_death(point).await?;
        if let Some(grip) = grip {
            grip.release().await;
        }
        stop.cancel();
        tokio::time::sleep(LAST_WORDS).await;
        clients.bury();
        while let Some(ended) = running.join_next().await {
            ended?;
        }
        self.count_kill(Some(point))
    }

    /// Starts the broker; it may die of a failpoint before it is ready.
    async fn start(&mut self) -> Result<Result<(), Died>> {
        self.let_calls_end().await?;
        let began = Instant::now();
        let opened = self.scene.house.open().await;
        self.report.slowest_start = self.report.slowest_start.max(began.elapsed());
        match opened {
            Ok(()) => Ok(Ok(())),
            Err(error) if self.was_killed()? => {
                drop(error);
                Ok(Err(Died))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the store back to what it was before the last life; keeps what there is if that was the first.
    fn roll_back(&self) -> Result<()> {
        let folder = self.scene.house.folder();
        for name in ["broker.db", "broker.db-wal"] {
            let (file, copy) = (folder.join(name), folder.join(format!("{name}.before")));
            let (from, to) = if self.last.is_some() { (&copy, &file) } else { (&file, &copy) };
            if from.exists() {
                std::fs::copy(from, to)?;
            }
        }
        // It belongs to the log that was put away and is built anew.
        let index = folder.join("broker.db-shm");
        if index.exists() {
            std::fs::remove_file(index)?;
        }
        Ok(())
    }

    /// Starts it and kills it while it starts.
    async fn die_at_start(&mut self, after: Duration) -> Result<()> {
        self.let_calls_end().await?;
        self.scene.house.set_environment(Vec::new());
        let mut process = self.scene.house.serve()?;
        tokio::time::sleep(after).await;
        process.kill();
        self.report.kills += 1;
        Ok(())
    }

    async fn wait_for_death(&mut self, point: Point) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < point.patience() {
            if self.scene.house.broker()?.ended().is_some() {
                let tail = self.scene.house.tails();
                ensure!(self.was_killed()?, "the broker ended by itself\n{tail}");
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        self.report.missed += u64::from(matches!(point, Point::Failpoint { .. }));
        self.scene.house.broker()?.kill();
        Ok(())
    }

    /// It ended a call without an answer, so it must be dead.
    async fn expect_death(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.was_killed()? {
            let tail = self.scene.house.tails();
            ensure!(began.elapsed() < SEEN, "the broker lives and does not answer\n{tail}");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn was_killed(&mut self) -> Result<bool> {
        let ended = self.scene.house.broker()?.ended();
        Ok(ended.is_some_and(|status| status.signal() == Some(SIGKILL)))
    }

    /// The simulator notices that a client is gone a moment later; a new one must not be mistaken for a second one.
    async fn let_calls_end(&self) -> Result<()> {
        let (truth, began) = (self.scene.provider.truth(), Instant::now());
        while truth.stats().in_flight > 0 {
            ensure!(began.elapsed() < Duration::from_secs(10), "calls of a dead broker do not end");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn judge(&mut self, clients: &Clients) -> Result<(), Died> {
        let findings = judge::judge(&self.scene, clients).await?;
        self.audited = judge::judge_audit(&self.scene, clients, &self.audited).await?;
        judge::judge_concurrency(&self.scene);
        self.count_findings(&findings);
        Ok(())
    }

    fn count_findings(&mut self, findings: &[Finding]) {
        let calls = judge::refreshes(&self.scene);
        let before = std::mem::replace(&mut self.refreshes, calls);
        let Some(point) = self.last else { return };
        for (number, member) in self.scene.fleet.iter().enumerate() {
            let finding = &findings[number];
            let row = self.report.row(member.mode, point.label());
            row.refreshes += self.refreshes[number] - before.get(number).copied().unwrap_or(0);
            row.cut += u64::from(finding.cut);
            row.in_doubt += u64::from(finding.in_doubt);
            row.lost += u64::from(finding.lost);
            row.named += u64::from(finding.named);
            row.unnamed += u64::from(finding.lost && !finding.named);
        }
    }

    fn count_kill(&mut self, point: Option<Point>) -> Result<()> {
        ensure!(point.is_some() || self.last.is_some(), "the broker dies by itself");
        let mut modes: Vec<_> = self.scene.fleet.iter().map(|member| member.mode).collect();
        modes.dedup();
        for mode in modes {
            if let Some(point) = point {
                self.report.row(mode, point.label()).kills += 1;
            }
        }
        self.report.kills += u64::from(point.is_some());
        self.last = point.or(self.last);
        Ok(())
    }
}
