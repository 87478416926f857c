//! A web application that sends its own users to consent and finishes what they bring back.
//!
//! It only remembers how browsers came back. Loopback only. Next: the consent tests, which finish with its key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::cast::background::Background;

type Visits = Arc<Mutex<Vec<HashMap<String, String>>>>;

/// A running application; dropping it ends it.
#[derive(Debug)]
pub struct Application {
    address: SocketAddr,
    visits: Visits,
    _background: Background,
}

impl Application {
    /// Starts one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let visits = Visits::default();
        let router = Router::new().route("/connected", get(connected)).with_state(visits.clone());
        let background = Background::default();
        background.spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, visits, _background: background })
    }

    /// Where browsers come back to.
    pub fn return_uri(&self) -> String {
        format!("http://localhost:{}/connected", self.address.port())
    }

    /// What the last browser brought back, by name.
    ///
    /// # Errors
    /// None has come.
    pub fn last_visit(&self) -> Result<HashMap<String, String>> {
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.last().cloned().context("no browser came back")
    }

    /// How many browsers came back.
    pub fn visits(&self) -> usize {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn connected(
    State(visits): State<Visits>,
    Query(query): Query<HashMap<String, String>>,
) -> &'static str {
    visits.lock().unwrap_or_else(PoisonError::into_inner).push(query);
    "back at the application"
}
