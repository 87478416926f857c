//! What may be typed.
//!
//! Never acts. Invariant: each command's words stand beside its code in `commands`; here are only the tree and what
//! all share. Next: `commands::run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    account, app, audit, caller, completion, consent, credential, drain, key, session, token,
};
use crate::when;

const EXAMPLES: &str = "\
Start here:
  brokerctl status
  brokerctl app create work --preset google --client-id ID --client-secret-file secret.txt
  brokerctl account connect --app work
  brokerctl credential create ann@example.com --description 'scanner, 2nd floor'

Where the broker is and who you are, first match wins:
  --server,   BROKERCTL_SERVER,                   `server` in the config file, http://127.0.0.1:8641
  --key-file, BROKERCTL_KEY, BROKERCTL_KEY_FILE,  `key_file` in the config file
  --ca-file,  BROKERCTL_CA_FILE,                  `ca_file` in the config file
The config file is --config, BROKERCTL_CONFIG or ~/.config/token-broker/brokerctl.toml.

Exit codes:
  0  done
  1  the broker, the provider or the owner refused, or `audit verify` found a bad record
  2  wrong usage or set-up
  3  no such thing, no right to it, or a key that is not valid
  4  the mailbox owner has to consent, or did not in time
  5  temporarily not possible; try again
  6  the broker cannot be reached
  7  `account doctor`, `account revoke-all` or `key reseal` found something that somebody has to mend";

/// Operates a Token Broker: OAuth apps, mail accounts, proxy credentials, callers.
#[derive(Debug, Parser)]
#[command(name = "brokerctl", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// The broker's admin listener
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File with the API key, mode 0600
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Trust only the authorities in this PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Send key and answers in clear to a broker that is not on this machine
    #[arg(long, global = true)]
    pub(crate) allow_plaintext: bool,
    /// Settings instead of ~/.config/token-broker/brokerctl.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The project whose things short names mean
    #[arg(long, global = true, value_name = "ID", default_value = "default")]
    pub(crate) project: String,
    /// How long one call may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = when::span)]
    pub(crate) deadline: Duration,
    /// Print one JSON object on stdout, errors as one on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The tree.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// OAuth apps registered at providers
    #[command(subcommand)]
    App(app::App),
    /// Mail accounts
    #[command(subcommand)]
    Account(account::Account),
    /// Passwords for mail clients, scanners and scripts
    #[command(subcommand)]
    Credential(credential::Credential),
    /// Logins at the mail adapters, and ending them
    #[command(subcommand)]
    Session(session::Sessions),
    /// Programs and people that may call the broker
    #[command(subcommand)]
    Caller(caller::Caller),
    /// Consents on their way
    #[command(subcommand)]
    Consent(consent::Consent),
    /// Access tokens
    #[command(subcommand)]
    Token(token::Token),
    /// What was handed out, changed and refused
    #[command(subcommand)]
    Audit(audit::Audit),
    /// The keys that everything secret is sealed with
    #[command(subcommand, after_help = key::KEY_HELP)]
    Key(key::Key),
    /// How the broker stands
    Status,
    /// Takes the broker out of service: new calls are refused, what runs comes to its end
    #[command(after_help = drain::DRAIN_HELP)]
    Drain(drain::Drain),
    /// Takes the broker back into service
    Resume,
    /// Writes the completion script of a shell to stdout
    Completion(completion::Completion),
}
