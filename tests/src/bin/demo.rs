//! `demo`: walks through everything Token Broker does on this machine, then stays up for trying it by hand.
//!
//! Needs curl and the product's programs beside it. The steps are in `e2e::demo`.

use std::process::ExitCode;

use clap::Parser;

/// Token Broker end to end on this machine: nine steps, real programs, nothing leaves loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// End after the walk; exit code 0 if every step was ok, else 1
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    e2e::demo::run(arguments.once).await
}
