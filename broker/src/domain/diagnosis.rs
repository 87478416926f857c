//! An account explains itself: what is so, what comes next, and what somebody can do about it.
//!
//! Never asks anybody and never changes anything; a secret cannot get in, for there is none in what it is told. Invariant:
//! an error means that no new token comes until somebody acts, and such a finding says how. Next: `diagnosis/refreshes.rs` looks at
//! grant, tries, tokens and schedule.

mod refreshes;

use std::cmp::Reverse;
use std::time::Duration;

use crate::clock::Time;
use crate::domain::account::{Account, Standing};
use crate::domain::app::{App, AppHealth, AppSecret};
use crate::domain::chart::Chart;
use crate::domain::ids::ProjectId;
use crate::domain::refresh::AppGate;
use crate::domain::refresh::gate::EndpointState;

/// A client secret that ends within this is told of.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Notice,
    /// It may pass by itself, or there is time to act.
    Warning,
    /// No new token until somebody acts.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is so.
    pub text: String,
    /// What to do; empty if nothing.
    pub remedy: String,
    /// When something changes by itself, if it does.
    pub next: Option<Time>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'c> {
    /// The account.
    pub account: &'c Account,
    /// Its app.
    pub app: &'c App,
    /// The app's client secrets, sealed.
    pub secrets: &'c [AppSecret],
    /// How its token endpoint answers this process, if it was asked.
    pub endpoint: Option<&'c EndpointState>,
    /// How its refreshes go.
    pub chart: &'c Chart,
}

/// Finds what there is to say, the worst first; never nothing.
pub fn diagnose(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    case.account(&mut findings);
    case.app(&mut findings);
    case.secret(&mut findings);
    case.endpoint(&mut findings);
    if case.account.is_usable() {
        case.grant(&mut findings);
        case.tries(&mut findings);
        case.tokens(&mut findings);
        case.schedule(&mut findings);
    }
    findings.sort_by_key(|finding| Reverse(finding.severity));
    findings
}

impl Case<'_> {
    /// Whether the account may have tokens at all.
    fn account(&self, found: &mut Vec<Finding>) {
        let Account { name, mailbox, .. } = self.account;
        if self.account.disabled {
            let words = "the account is switched off here: nobody is given its tokens, and it is not refreshed";
            found.push(error(words).remedy(self.ctl(&format!("account enable {name}"))));
        }
        let said = self.said();
        let invite = self.ctl(&format!(
            "account invite --app {} --account {name} --mailbox {mailbox}",
            self.app.name
        ));
        let looks = format!(
            "; the broker looks {} whether that was done",
            self.when(Some(self.chart.ledger.not_before))
        );
        let next = self.chart.not_before();
        found.push(match self.account.standing {
            Standing::Active if self.account.disabled => return,
            Standing::Active => ok("the account is active: its owner's consent is in force"),
            Standing::Pending => error("the account waits for its first consent").remedy(invite),
            Standing::Revoked if self.chart.ledger.newest().is_some() => {
                let words = "the account was revoked; its provider has not confirmed yet that it forgot the grant, \
                    and is asked every minute for 7 days";
                error(words).remedy(invite)
            }
            Standing::Revoked => error("the grant was given back to the provider").remedy(invite),
            Standing::NeedsConsent => {
                error(format!("its owner has to consent again{said}")).remedy(invite)
            }
            Standing::NeedsInteraction => {
                error(format!("the provider wants its owner in a browser{said}{looks}"))
                    .remedy(format!("have the owner sign in at the provider, or {invite}"))
                    .next(next)
            }
            Standing::BlockedByPolicy => {
                error(format!("a policy at the provider forbids it{said}{looks}"))
                    .remedy("the administrator of the mailbox's domain has to allow the app")
                    .next(next)
            }
        });
    }

    /// Whether the app may be used.
    fn app(&self, found: &mut Vec<Finding>) {
        let name = &self.app.name;
        if self.app.disabled {
            let words =
                format!("the app {name} is switched off here: none of its accounts gets a token");
            found.push(error(words).remedy(self.ctl(&format!("app update {name} --enable"))));
        }
        if self.chart.rules.is_none() {
            let words = format!("the settings of the app {name} do not fit together any more");
            found.push(error(words).remedy(self.ctl(&format!("app verify {name}"))));
        }
        match (&self.chart.ledger.app, &self.app.health) {
            (AppGate::Rejected { until, refusals }, health) => {
                let (since, code) = match health {
                    AppHealth::Rejected { since, code } => {
                        (format!(" since {since}"), in_brackets(code))
                    }
                    _ => (String::new(), String::new()),
                };
                let when = self.when(Some(*until));
                let words = format!(
                    "the provider refuses the app {name}{since}{code}, {refusals} times in a row; all its accounts wait \
                     unharmed, and one of them asks again {when}"
                );
                let remedy = self.ctl(&format!("app verify {name}"));
                let remedy = format!("{remedy}; a new client secret: {}", self.new_secret());
                found.push(error(words).remedy(remedy).next(Some(*until)));
            }
            (AppGate::Throttled { until }, _) if *until > self.chart.at => {
                let words = format!("the provider asked the app {name} for silence until {until}");
                found.push(warning(words).next(Some(*until)));
            }
            _ => {}
        }
    }

    /// Whether the app's client secret lasts.
    fn secret(&self, found: &mut Vec<Finding>) {
        let now = self.chart.at;
        let in_use = self.secrets.iter().find(|secret| secret.active);
        let Some(end) = in_use.and_then(|secret| secret.expires_at) else { return };
        let left = now.until(end);
        if left > SOON {
            return;
        }
        let words = if left.is_zero() { "ended at" } else { "ends at" };
        let words = format!("the client secret of the app {} {words} {end}", self.app.name);
        let refused = matches!(self.chart.ledger.app, AppGate::Rejected { .. });
        let finding = if refused && left.is_zero() { error(words) } else { warning(words) };
        let lasts =
            |secret: &&AppSecret| !secret.active && secret.expires_at.is_none_or(|end| end > now);
        let remedy = match self.secrets.iter().rfind(lasts) {
            Some(kept) => self.ctl(&format!("app activate-secret {} {}", self.app.name, kept.id)),
            None => format!("make a new one at the provider, then {}", self.new_secret()),
        };
        found.push(finding.remedy(remedy));
    }

    /// Whether the provider's token endpoint answers.
    fn endpoint(&self, found: &mut Vec<Finding>) {
        let Some(EndpointState { endpoint, failures, shut_until }) = self.endpoint else { return };
        if let Some(until) = shut_until {
            let when = self.when(Some(*until));
            let words = format!(
                "the token endpoint {endpoint} does not answer, {failures} times in a row; it is tried again {when}, \
                 for all accounts at once"
            );
            found.push(warning(words).next(Some(*until)));
        } else if *failures > 0 {
            found.push(notice(format!(
                "the token endpoint {endpoint} failed {failures} times in a row"
            )));
        }
    }

    /// What the provider said, for people.
    fn said(&self) -> String {
        let Account { provider_code, provider_message, .. } = self.account;
        match (provider_code.is_empty(), provider_message.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!("; the provider says {provider_code}"),
            (true, false) => format!("; the provider says: {provider_message}"),
            (false, false) => format!("; the provider says {provider_code}: {provider_message}"),
        }
    }

    fn new_secret(&self) -> String {
        self.ctl(&format!("app add-secret {} --client-secret-file FILE", self.app.name))
    }

    /// A command of the operator's tool, in the account's project.
    fn ctl(&self, words: &str) -> String {
        let project = &self.account.project;
        if *project == ProjectId::default_project() {
            return format!("brokerctl {words}");
        }
        format!("brokerctl {words} --project {project}")
    }

    fn when(&self, next: Option<Time>) -> String {
        match next.filter(|next| *next > self.chart.at) {
            Some(next) => format!("at {next}"),
            None => "with the next request".to_owned(),
        }
    }
}

impl Finding {
    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { severity, text: text.into(), remedy: String::new(), next: None }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    fn next(self, next: Option<Time>) -> Self {
        Self { next, ..self }
    }
}

fn ok(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Ok, text)
}

fn notice(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Notice, text)
}

fn warning(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, text)
}

fn error(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, text)
}

fn in_brackets(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
