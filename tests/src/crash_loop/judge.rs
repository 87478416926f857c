//! After a kill and a new start: is everything as it was acknowledged, and does everything still work?
//!
//! The invariants, by the simulator's ground truth and what clients were told:
//! I1 no refresh token is lost, but with strict rotation one whose answer was on its way, and that is named at once;
//! I2 nothing is granted after an acknowledged revocation; I3 every token belongs to its account; I4 every grant has exactly
//! one audit record, and the chains verify; I6 one refresh of an account at a time; I7 nobody is stuck. Whoever lost consents again, so that the
//! next round begins whole. Next: [`super::report`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use token_broker::domain::chain::{Entry, Point, Walk};
use token_broker_client::v1::{AccountState, ErrorReason};
use token_broker_client::{Error, v1};
use tokio::task::JoinSet;

use super::clients::{Clients, Heard};
use super::fleet::{Facts, Member, Status};
use super::load::Actor;
use super::scene::Scene;
use crate::world::evidence::entry;

/// Two times the life of a lease.
const STUCK: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Whether brokers say that a refresh is in doubt. Until they do, a loss that was not named breaks nothing.
pub(super) const IN_DOUBT_IS_TOLD: bool = true;

/// Whether the broker says that it does not know what became of the account's last refresh.
fn in_doubt(account: &v1::Account) -> bool {
    account.refresh.as_ref().is_some_and(|refresh| refresh.in_doubt)
}

/// What became of one account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finding {
    /// The provider's newest answer was never acknowledged to a client.
    pub(super) cut: bool,
    /// The broker said at once that it is in doubt.
    pub(super) in_doubt: bool,
    /// Its refresh token is lost.
    pub(super) lost: bool,
    /// It is lost and that was told at once.
    pub(super) named: bool,
}

/// The broker died while it was judged.
#[derive(Debug)]
pub(super) struct Died;

/// Judges every account at the same time; the findings in the fleet's order.
pub(super) async fn judge(scene: &Scene, clients: &Clients) -> Result<Vec<Finding>, Died> {
    let mut judging = JoinSet::new();
    for (number, member) in scene.fleet.iter().enumerate() {
        let actor = Actor {
            member: Arc::clone(member),
            clients: clients.clone(),
            truth: scene.provider.truth(),
            verdicts: Arc::clone(&scene.verdicts),
        };
        judging.spawn(async move { (number, actor.judge().await) });
    }
    let mut findings: Vec<_> = judging.join_all().await;
    findings.sort_by_key(|(number, _)| *number);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// I4: since the last judgement every grant of an account has its one record, and no chain has a gap; what is judged then,
/// by chain. `judged` is empty before the first judgement.
pub(super) async fn judge_audit(
    scene: &Scene,
    clients: &Clients,
    judged: &HashMap<String, Point>,
) -> Result<HashMap<String, Point>, Died> {
    let records = match clients.audit_after(judged).await {
        Ok(records) => records,
        Err(error) if error.is_retryable() => return Err(Died),
        Err(error) => {
            scene.verdicts.add(format!("I4: the audit cannot be read: {error}"));
            return Ok(judged.clone());
        }
    };
    let mut chains: HashMap<&str, Vec<Entry>> = HashMap::new();
    for record in &records {
        chains.entry(&record.chain).or_default().push(entry(record.clone()));
    }
    let mut ends = judged.clone();
    for (chain, mut entries) in chains {
        entries.sort_by_key(|entry| entry.sequence);
        let mut walk = Walk::from(chain, judged.get(chain).cloned().unwrap_or_default());
        if let Some(fault) = walk.take(&entries) {
            scene.verdicts.add(format!("I4: chain {chain:?} does not verify: {}", fault.detail));
        }
        ends.extend(entries.last().map(|newest| (chain.to_owned(), newest.point())));
    }
    if judged.is_empty() {
        judge_by_broker(scene, clients).await?;
    }
    let first = judged.is_empty();
    let mut granted: HashMap<&str, u64> = HashMap::new();
    for record in records.iter().filter(|record| record.event == "token" && record.granted) {
        *granted.entry(last_part(&record.account)).or_default() += 1;
    }
    for member in &scene.fleet {
        let mut facts = member.facts();
        let written = granted.get(last_part(&member.name)).copied().unwrap_or(0);
        let (least, most) = (facts.granted, facts.granted + facts.unsure);
        // At the very first judgement the counts begin.
        if !first && !(least..=most).contains(&written) {
            let what = format!("{written} audit records for {least} to {most} grants");
            scene.verdicts.broken("I4", member, &what);
        }
        (facts.granted, facts.unsure) = (0, 0);
    }
    Ok(ends)
}

/// I4: the broker finds its own chains whole, up to their heads.
async fn judge_by_broker(scene: &Scene, clients: &Clients) -> Result<(), Died> {
    match clients.broken_chains().await {
        Ok(broken) => {
            for (chain, why) in broken {
                scene.verdicts.add(format!("I4: chain {chain:?} does not verify: {why}"));
            }
            Ok(())
        }
        Err(error) if error.is_retryable() => Err(Died),
        Err(error) => {
            scene.verdicts.add(format!("I4: the audit cannot be verified: {error}"));
            Ok(())
        }
    }
}

/// I6: no account had two refreshes in flight at one time, ever.
pub(super) fn judge_concurrency(scene: &Scene) {
    let truth = scene.provider.truth();
    for member in &scene.fleet {
        let most = truth.user(&member.mailbox).max_concurrent;
        if most > 1 {
            let what = format!("{most} refreshes were in flight at one time");
            scene.verdicts.broken("I6", member, &what);
        }
    }
}

impl Actor {
    async fn judge(&self) -> Result<Finding, Died> {
        let known = *self.member.facts();
        let account = self.final_answer(|| self.clients.account(&self.member)).await?;
        let Ok(account) = account else {
            self.broken("I7", &format!("cannot be read: {account:?}"));
            return Ok(Finding::default());
        };
        let newest = self.truth.newest_refresh(&self.member.mailbox).map_or(0, |it| it.id);
        // The refresh token of an answer stands right before its access token.
        let cut = known.status == Status::Active && newest > known.newest;
        let in_doubt = in_doubt(&account);
        let mut finding = Finding { cut, in_doubt, ..Finding::default() };
        let works = match (known.status, account.state()) {
            (Status::Revoked, _) => self.stays_revoked(&account).await?,
            (Status::Unsure, AccountState::Revoked) => false,
            (status, AccountState::Active) => {
                if status == Status::Active && account.generation < known.generation {
                    let (was, is) = (known.generation, account.generation);
                    self.broken("I1", &format!("generation {was} was acknowledged, {is} is left"));
                }
                let works = self.can_refresh().await?;
                finding.lost = !works;
                finding.named = finding.lost && in_doubt;
                works
            }
            _ => {
                (finding.lost, finding.named) = (true, known.lost.unwrap_or(true));
                false
            }
        };
        if finding.lost && known.lost.is_none() {
            self.judge_loss(&known, &finding, &account);
            self.member.facts().lost = Some(finding.named);
        }
        if !works {
            self.connect_again().await?;
        }
        self.settle().await?;
        Ok(finding)
    }

    fn judge_loss(&self, known: &Facts, finding: &Finding, account: &v1::Account) {
        let state = account.state().as_str_name();
        if self.member.mode.survives() {
            self.broken("I1", &format!("needs consent; at the start it was {state}"));
        } else if known.status == Status::Active && !finding.cut {
            self.broken("I1", "is lost though its newest answer was acknowledged");
        } else if IN_DOUBT_IS_TOLD && !finding.named {
            self.broken("I1", "is lost and was not named at the start");
        }
    }

    /// I2 over a kill: it is still revoked, and no token comes. Never works.
    async fn stays_revoked(&self, account: &v1::Account) -> Result<bool, Died> {
        if account.state() != AccountState::Revoked {
            let state = account.state().as_str_name();
            self.broken("I2", &format!("was revoked and is now {state}"));
        }
        match self.clients.token(&self.member).await {
            Heard::Answer(_) => {
                self.member.facts().granted += 1;
                self.broken("I2", "was given a token though its revocation was acknowledged");
            }
            Heard::Refusal(_) => {}
            Heard::Nothing => {
                self.member.facts().unsure += 1;
                return Err(Died);
            }
        }
        Ok(false)
    }

    /// Whether the broker can still refresh it.
    async fn can_refresh(&self) -> Result<bool, Died> {
        match self.final_answer(|| self.clients.refresh(&self.member)).await? {
            Ok(_) => Ok(true),
            Err(error) if error.reason() == Some(ErrorReason::AccountNeedsConsent) => Ok(false),
            Err(error) => {
                self.broken("I7", &format!("does not come to an end: {error}"));
                Ok(false)
            }
        }
    }

    async fn connect_again(&self) -> Result<(), Died> {
        self.member.facts().begin_epoch();
        let began = Instant::now();
        loop {
            let error = match self.clients.consent(&self.member).await {
                None => return Err(Died),
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => error,
            };
            if matches!(self.clients.account(&self.member).await, Heard::Nothing) {
                return Err(Died);
            }
            // A broker with too much in hand says so, and its owner tries again.
            if began.elapsed() > STUCK {
                self.broken("I7", &format!("cannot be connected again: {error:#}"));
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// It works: what is known now is certain, since nobody else calls.
    async fn settle(&self) -> Result<(), Died> {
        let token = self.final_answer(|| async {
            let heard = self.clients.token(&self.member).await;
            if matches!(heard, Heard::Nothing | Heard::Refusal(Error::Deadline)) {
                self.member.facts().unsure += 1;
            }
            heard
        });
        match token.await? {
            Err(error) => self.broken("I7", &format!("has no token after all: {error}")),
            Ok(token) => {
                self.member.facts().granted += 1;
                let record = self.truth.token(&token.access_token);
                if record.is_none_or(|record| record.user != self.member.mailbox) {
                    self.broken("I3", "was given a token that is not its own");
                }
                if !self.truth.is_live(&token.access_token) {
                    self.broken("I1", "was given a dead token");
                }
                let newest = self.truth.newest_refresh(&self.member.mailbox);
                self.member.facts().settle(token.generation, newest.map_or(0, |it| it.id));
            }
        }
        Ok(())
    }

    /// I7: asks until there is an answer or a refusal that is not about time.
    async fn final_answer<T, F: Future<Output = Heard<T>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, Error>, Died> {
        let began = Instant::now();
        loop {
            match ask().await {
                Heard::Answer(answer) => return Ok(Ok(answer)),
                Heard::Refusal(error) if error.is_retryable() && began.elapsed() < STUCK => {
                    tokio::time::sleep(POLL).await;
                }
                Heard::Refusal(error) => return Ok(Err(error)),
                Heard::Nothing => return Err(Died),
            }
        }
    }

    fn broken(&self, invariant: &str, what: &str) {
        self.verdicts.broken(invariant, &self.member, what);
    }
}

/// An account's id, whether it stands alone or in its full name.
fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// What the members know of one another is nothing; this is for the report.
pub(super) fn refreshes(scene: &Scene) -> Vec<u64> {
    let truth = scene.provider.truth();
    let of = |member: &Arc<Member>| truth.user(&member.mailbox).refresh_calls;
    scene.fleet.iter().map(of).collect()
}
