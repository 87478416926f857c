//! Projects: the spaces names live in. `default` is there from the start.
//!
//! Never removed while anything is in it. Next: `apps.rs`, `accounts.rs`, `callers.rs` belong to one.

use super::engine::{Conn, Tx, all, maybe, run, statements};
use super::error::Result;
use super::row::Cells;
use crate::clock::Time;
use crate::domain::ids::ProjectId;

statements! {
    PROJECT = "select name from projects where name = $1";
    PROJECTS = "select name from projects order by name limit 1000";
    INSERT_PROJECT = "insert into projects (name, created_at) values ($1, $2)";
}

impl Conn {
    /// Whether it is there.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_project(&mut self, project: &ProjectId) -> Result<bool> {
        Ok(maybe!(self, PROJECT => (String,); project.as_str())?.is_some())
    }

    /// The first 1000, by name.
    ///
    /// # Errors
    /// As every read.
    pub async fn projects(&mut self) -> Result<Vec<ProjectId>> {
        let read = |(name,): (String,)| {
            let parse = |text: &str| ProjectId::parse(text).ok();
            Cells::of("projects", name.as_bytes()).text("name", &name, parse)
        };
        all!(self, PROJECTS => (String,))?.into_iter().map(read).collect()
    }
}

impl Tx {
    /// Makes one.
    ///
    /// # Errors
    /// [`Error::Conflict`](super::Error::Conflict) if it is there.
    pub async fn insert_project(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        run!(self, INSERT_PROJECT; project.as_str(); now.millis()).map(drop)
    }
}
