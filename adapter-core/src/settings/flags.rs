//! What may be said on the command line, and in the environment for those who cannot write files.
//!
//! Never more than the few things one changes at a start; all else is in the file. Invariant: a flag beats its environment
//! variable, and both beat the file. Next: `file` merges them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

/// The command line.
#[derive(Clone, Debug, Default, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Flags {
    /// The configuration file (TOML); --print-sample writes one.
    #[arg(long, value_name = "FILE", env = "TOKEN_BROKER_ADAPTER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check the configuration, the key and the certificates, then leave.
    #[arg(long)]
    pub check_config: bool,
    /// Print a commented configuration file, then leave.
    #[arg(long)]
    pub print_sample: bool,
    /// Listen here in plain text instead of where the file says; loopback only. May be repeated.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Vec<SocketAddr>,
    /// A broker endpoint instead of those in the file; <http://127.0.0.1:8640> if nobody says. May be repeated.
    #[arg(long, value_name = "URL", env = "TOKEN_BROKER_ENDPOINTS", value_delimiter = ',')]
    pub broker: Vec<String>,
    /// The file with this adapter's API key, mode 0600.
    #[arg(long, value_name = "FILE", env = "TOKEN_BROKER_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What to log: error, warn, info, debug, or per module as in `adapter_core=debug,warn`.
    #[arg(long, value_name = "FILTER", env = "TOKEN_BROKER_LOG")]
    pub log: Option<String>,
}

impl Flags {
    /// Reads the command line of the program, with help in the words of its protocol. Leaves the process for `--help` and for
    /// wrong flags, as clap does.
    pub fn read(protocol: &'static str) -> Self {
        let matches = command(protocol).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

fn command(protocol: &'static str) -> clap::Command {
    let upper = protocol.to_uppercase();
    let name = format!("{protocol}-adapter");
    Flags::command()
        .about(format!(
            "Lets ordinary {upper} clients into OAuth mailboxes: a login with a Token Broker credential here, XOAUTH2 or \
             OAUTHBEARER there."
        ))
        .after_help(format!(
            "First steps:\n  \
             1. Create a key for this adapter at the broker and put it into a file: chmod 600 adapter.key\n  \
             2. {name} --print-sample > {name}.toml, and change what has to be changed\n  \
             3. {name} --config {name}.toml --check-config\n  \
             4. {name} --config {name}.toml\n\n\
             Beside a broker on the same machine no file is needed:\n  \
             {name} --listen 127.0.0.1:PORT --key-file adapter.key\n\n\
             Signals: HUP reads the certificate again, TERM and INT stop without cutting an answer in two.\n\
             Exit code: 0 stopped as told, 1 could not start, 2 wrong flags."
        ))
        .display_name(name.clone())
        .bin_name(name)
}
