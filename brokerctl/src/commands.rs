//! The commands: one noun, one file.
//!
//! Never print on their own; they hand a view to `output`. Invariant: a command makes its calls in the order a person
//! would expect and stops at the first that fails.

pub(crate) mod account;
pub(crate) mod app;
mod app_fields;
mod app_update;
pub(crate) mod audit;
mod audit_export;
mod audit_tail;
mod audit_verify;
pub(crate) mod caller;
mod caller_fields;
mod caller_update;
pub(crate) mod completion;
mod connect;
pub(crate) mod consent;
pub(crate) mod credential;
pub(crate) mod drain;
pub(crate) mod key;
mod revoke_all;
pub(crate) mod session;
mod status;
pub(crate) mod token;
mod words;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Does what was typed.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    if let Command::Completion(completion) = &cli.command {
        return completion.run();
    }
    if let Command::Audit(audit) = &cli.command
        && let Some(done) = audit.run_alone(&Output::new(cli.global.json))
    {
        return done;
    }
    let session = Session::open(&cli.global).await?;
    match cli.command {
        Command::App(app) => Box::pin(app.run(&session)).await,
        Command::Account(account) => Box::pin(account.run(&session)).await,
        Command::Credential(credential) => Box::pin(credential.run(&session)).await,
        Command::Session(sessions) => Box::pin(sessions.run(&session)).await,
        Command::Caller(caller) => Box::pin(caller.run(&session)).await,
        Command::Consent(consent) => Box::pin(consent.run(&session)).await,
        Command::Token(token) => Box::pin(token.run(&session)).await,
        Command::Audit(audit) => Box::pin(audit.run(&session)).await,
        Command::Key(key) => Box::pin(key.run(&session)).await,
        Command::Status => Box::pin(status::run(&session)).await,
        Command::Drain(drain) => Box::pin(drain.run(&session)).await,
        Command::Resume => Box::pin(drain::resume(&session)).await,
        Command::Completion(completion) => completion.run(),
    }
}
