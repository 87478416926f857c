//! The life of an adapter process: settings, logs, signals, exit code.
//!
//! Never ends without a word: a start that fails says why on standard error, a stop says how it went. Invariant: SIGTERM and
//! SIGINT stop gracefully, a second one at once; SIGHUP never interrupts anybody. Next: `adapter`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::adapter::Adapter;
use crate::dialogue::Protocol;
use crate::settings::{Flags, LogSettings, Settings};

/// Runs until told to stop. The whole of an adapter's `main`.
pub fn run<P: Protocol>(protocol: P) -> ExitCode {
    let flags = Flags::read(P::NAME);
    match start(protocol, &flags) {
        Ok(code) => code,
        Err(error) => {
            say(&mut io::stderr(), &format!("{}-adapter: {error:#}", P::NAME));
            ExitCode::FAILURE
        }
    }
}

fn start<P: Protocol>(protocol: P, flags: &Flags) -> anyhow::Result<ExitCode> {
    if flags.print_sample {
        say(&mut io::stdout(), Settings::SAMPLE.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(flags)?;
    log_to_stderr(&settings.log)?;
    if flags.check_config {
        Adapter::check(&settings)?;
        say(&mut io::stdout(), "The configuration can be used.");
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(live(protocol, settings))
}

async fn live<P: Protocol>(protocol: P, settings: Settings) -> anyhow::Result<ExitCode> {
    let mut stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let mut reload = signal(SignalKind::hangup())?;
    let adapter = Adapter::start(protocol, settings).await?;
    loop {
        tokio::select! {
            () = any(&mut stop) => break,
            _ = reload.recv() => adapter.reload(),
        }
    }
    info!("stopping");
    tokio::select! {
        finished = adapter.stop() => {
            if !finished {
                warn!("some sessions were cut off");
            }
        }
        () = any(&mut stop) => warn!("told twice to stop"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn any([first, second]: &mut [Signal; 2]) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

fn log_to_stderr(log: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .map_err(|error| anyhow::anyhow!("log filter {:?}: {error}", log.filter))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let set = if log.json { subscriber.json().try_init() } else { subscriber.try_init() };
    set.map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))
}

/// Nobody reads it if the pipe is closed; that is no reason to fail.
fn say(to: &mut dyn Write, text: &str) {
    let _ = writeln!(to, "{text}");
}
