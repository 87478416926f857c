//! `brokerctl`, the operator's tool: a pure client of the broker's API.
//!
//! Never touches the store, never takes a secret as an argument, never prints one twice. Invariant: data goes to
//! stdout, everything else to stderr, and the exit code says who has to act (`failure`). The walk: `cli` says what
//! may be typed, `settings` finds broker and key, `commands` call, `views` fix what scripts see, `output` prints.

mod browser;
mod cli;
mod commands;
mod failure;
mod loopback;
mod names;
mod output;
mod proof;
mod secrets;
mod session;
mod settings;
mod views;
mod when;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What clap has to say: help, the version, or what was typed wrong.
fn misused(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if !(json && error.use_stderr()) {
        error.exit()
    }
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let failure = Failure::usage(what, "add --help to the command for what it takes");
    failure.print(true);
    ExitCode::from(failure.exit_code())
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::local)?;
    let done = runtime.block_on(commands::run(cli));
    // A name look-up may still be stuck in the system's resolver; nobody waits for it.
    runtime.shutdown_background();
    done
}
