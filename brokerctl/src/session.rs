//! What every command works with: the broker, the printer, the project.
//!
//! Never decides. Next: `commands`.

use std::io::IsTerminal;

use token_broker_client::{Admin, Connection, Error, TokenBroker};

use crate::cli::Global;
use crate::failure::Failure;
use crate::names;
use crate::output::Output;
use crate::settings;

/// How many things one call asks for: some hundred bytes each, well within a message.
const PAGE: usize = 100;

/// One run of the tool.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) admin: Admin,
    pub(crate) tokens: TokenBroker,
    pub(crate) out: Output,
    project: String,
}

impl Session {
    /// Checks the set-up. Nothing is dialled yet.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        let connection = Connection::open(&settings::options(global)?).await?;
        Ok(Self {
            admin: Admin::over(connection.clone()),
            tokens: TokenBroker::over(connection, 0),
            out: Output::new(global.json),
            project: global.project.clone(),
        })
    }

    /// The project's own name.
    pub(crate) fn parent(&self) -> String {
        names::project(&self.project)
    }

    /// The full name of an app.
    pub(crate) fn app(&self, id: &str) -> String {
        names::full(&self.project, "apps", id)
    }

    /// The full name of a caller.
    pub(crate) fn caller(&self, id: &str) -> String {
        names::full(&self.project, "callers", id)
    }

    /// The full name of a consent.
    pub(crate) fn consent(&self, id: &str) -> String {
        names::full(&self.project, "consents", id)
    }

    /// The full name or mailbox of an account.
    pub(crate) fn account(&self, id: &str) -> String {
        names::account(&self.project, id)
    }

    /// Asks a person at a terminal before something is gone; scripts have decided already.
    pub(crate) fn confirm(&self, what: &str, yes: bool) -> Result<(), Failure> {
        let person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if yes || self.out.is_json() || !person {
            return Ok(());
        }
        let term = console::Term::stderr();
        let answer = term
            .write_str(&format!("{what} This cannot be undone. Type yes to go on: "))
            .and_then(|()| term.read_line())
            .map_err(Failure::local)?;
        if answer.trim() == "yes" {
            return Ok(());
        }
        Err(Failure::usage("nothing was done", "type yes, or give --yes"))
    }
}

/// Fetches pages until there are no more or `limit` things are there.
pub(crate) async fn all_pages<T>(
    limit: usize,
    mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Error>,
) -> Result<Vec<T>, Error> {
    let mut things = Vec::new();
    let mut token = String::new();
    loop {
        let size = i32::try_from((limit - things.len()).min(PAGE)).unwrap_or(100);
        let (more, next) = page(size, token).await?;
        things.extend(more);
        if next.is_empty() || things.len() >= limit {
            things.truncate(limit);
            return Ok(things);
        }
        token = next;
    }
}
