//! What is to be said about an account, as it is shown.

use serde::Serialize;
use token_broker_client::v1;

use super::account::AccountView;
use super::{some, word};
use crate::output::{Screen, View};
use crate::when::iso;

/// An account and what was found about it.
#[derive(Serialize)]
pub(crate) struct DiagnosisView {
    account: AccountView,
    /// The worst of the findings: `ok`, `notice`, `warning`, `error`.
    severity: Option<String>,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FindingView {
    /// `ok`, `notice`, `warning`, `error`.
    severity: Option<String>,
    text: String,
    remedy: Option<String>,
    next_time: Option<String>,
}

impl From<v1::DiagnoseAccountResponse> for DiagnosisView {
    fn from(answer: v1::DiagnoseAccountResponse) -> Self {
        let worst = answer.findings.iter().map(|finding| finding.severity()).max();
        Self {
            account: answer.account.unwrap_or_default().into(),
            severity: worst.and_then(severity),
            findings: answer.findings.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::Finding> for FindingView {
    fn from(finding: v1::Finding) -> Self {
        Self {
            severity: severity(finding.severity()),
            text: finding.text,
            remedy: some(finding.remedy),
            next_time: iso(finding.next_time),
        }
    }
}

fn severity(of: v1::FindingSeverity) -> Option<String> {
    word(of.as_str_name(), "FINDING_SEVERITY_")
}

impl DiagnosisView {
    /// What has to be mended before there are new tokens, and how, if anything has.
    pub(crate) fn error(&self) -> Option<(String, String)> {
        let is_error = |finding: &&FindingView| finding.severity.as_deref() == Some("error");
        let first = self.findings.iter().find(is_error)?;
        let remedy = first.remedy.clone().unwrap_or_default();
        Some((format!("{} gets no new token: {}", self.account.mailbox, first.text), remedy))
    }
}

impl View for DiagnosisView {
    fn draw(&self, screen: &Screen) -> String {
        let rows = self.findings.iter().map(|finding| {
            let mut lines = vec![finding.text.clone()];
            if finding.next_time.is_some() {
                lines.push(format!("  next: {}", screen.time(&finding.next_time)));
            }
            lines.extend(finding.remedy.as_ref().map(|remedy| format!("  try: {remedy}")));
            vec![finding.severity.clone().unwrap_or_default(), lines.join("\n")]
        });
        let findings = screen.table(&["", "FINDING"], rows.collect(), "Nothing was found.");
        format!("{}\n\n{findings}", self.account.title())
    }
}
