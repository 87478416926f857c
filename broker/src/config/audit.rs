//! What the TOML may say of the audit.
//!
//! Never used outside `config`. Next: `service/prune_audit.rs` and `service/checkpoint_audit.rs` use it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Problem;
use super::file::Checker;
use crate::service::{AuditSettings, CheckpointSettings};

const DAY: u64 = 24 * 60 * 60;

/// The table `[audit]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    keep_days: Option<Spanned<u64>>,
    checkpoint_file: Option<PathBuf>,
    checkpoint_seconds: Option<Spanned<u64>>,
    checkpoint_records: Option<Spanned<u64>>,
}

impl Checker<'_> {
    pub(super) fn audit(&self, raw: Audit) -> Result<AuditSettings, Problem> {
        let keep = self.within("audit.keep_days", raw.keep_days.as_ref(), 36_500)?;
        let seconds = raw.checkpoint_seconds.as_ref();
        let records = raw.checkpoint_records.as_ref();
        let every = self.within("audit.checkpoint_seconds", seconds, DAY)?;
        let most = self.within("audit.checkpoint_records", records, 1_000_000_000)?;
        let Some(file) = raw.checkpoint_file else {
            let Some(given) = seconds.or(records) else {
                return Ok(AuditSettings { keep: keep.map(days), checkpoints: None });
            };
            let what = "audit.checkpoint_file: say where checkpoints are written".to_owned();
            return Err(Problem::at(self.file, self.text, &given.span(), what));
        };
        let checkpoints = CheckpointSettings {
            file: self.path(&file),
            every: Duration::from_secs(every.unwrap_or(60)),
            records: most.and_then(|most| i64::try_from(most).ok()).unwrap_or(10_000),
        };
        Ok(AuditSettings { keep: keep.map(days), checkpoints: Some(checkpoints) })
    }

    /// A number from 1 to `most`.
    fn within(
        &self,
        field: &str,
        given: Option<&Spanned<u64>>,
        most: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(given) = given else { return Ok(None) };
        if (1..=most).contains(given.get_ref()) {
            return Ok(Some(*given.get_ref()));
        }
        let what = format!("{field}: use 1 to {most}");
        Err(Problem::at(self.file, self.text, &given.span(), what))
    }
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}
