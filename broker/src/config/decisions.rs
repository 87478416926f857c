//! How what is handed out is decided, from the file.
//!
//! Never relaxed by mistake: the word has to stand there. Next: `service/decide.rs`.

use toml::Spanned;

use super::Problem;
use super::file::Checker;
use crate::service::DecisionSettings;

impl Checker<'_> {
    pub(super) fn decisions(
        &self,
        raw: Option<Spanned<String>>,
    ) -> Result<DecisionSettings, Problem> {
        let Some(mode) = raw else { return Ok(DecisionSettings::default()) };
        match mode.get_ref().as_str() {
            "strict" => Ok(DecisionSettings { relaxed: false }),
            "relaxed" => Ok(DecisionSettings { relaxed: true }),
            _ => {
                let what = "decision.mode: use \"strict\", or \"relaxed\" if a crash may lose audit records";
                Err(self.wrong(&mode.span(), what))
            }
        }
    }
}
