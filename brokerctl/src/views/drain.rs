//! How a broker process serves, as it is shown.

use serde::Serialize;
use token_broker_client::v1;

use crate::output::{Screen, View};

/// Whether it is out of service, and what it is at.
#[derive(Debug, Serialize)]
pub(crate) struct ServingView {
    draining: bool,
    calls_in_flight: i64,
    refreshes_in_flight: i64,
}

impl From<v1::ServingState> for ServingView {
    fn from(of: v1::ServingState) -> Self {
        Self {
            draining: of.draining,
            calls_in_flight: of.calls_in_flight,
            refreshes_in_flight: of.refreshes_in_flight,
        }
    }
}

impl ServingView {
    /// In one line.
    pub(crate) fn words(&self) -> String {
        let state = if self.draining { "drained by an operator" } else { "yes" };
        match (self.calls_in_flight, self.refreshes_in_flight) {
            (0, 0) => state.to_owned(),
            (calls, refreshes) => {
                format!("{state}; {calls} calls and {refreshes} refreshes under way")
            }
        }
    }
}

impl View for ServingView {
    fn draw(&self, screen: &Screen) -> String {
        screen.record(&[("Serving", self.words())])
    }
}

/// What was reset.
#[derive(Serialize)]
pub(crate) struct ResetView {
    endpoint: Option<String>,
    pause_lifted: bool,
}

impl From<v1::ResetBreakerResponse> for ResetView {
    fn from(of: v1::ResetBreakerResponse) -> Self {
        Self { endpoint: super::some(of.endpoint), pause_lifted: of.pause_lifted }
    }
}

impl View for ResetView {
    fn draw(&self, screen: &Screen) -> String {
        let pause = if self.pause_lifted { "lifted, for all brokers" } else { "there was none" };
        let endpoint = self.endpoint.clone();
        screen.record(&[
            ("Pause of the app", pause.to_owned()),
            ("Asked again at once", endpoint.unwrap_or_else(|| "no endpoint was shut here".into())),
        ])
    }
}
