//! `brokerctl completion`: a shell's completion script.

use clap::{Args, CommandFactory, ValueEnum};

use crate::cli::Cli;
use crate::failure::Failure;

/// `brokerctl completion`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  brokerctl completion bash > ~/.local/share/bash-completion/completions/brokerctl"
)]
pub(crate) struct Completion {
    /// Whose
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// Bourne-again shell
    Bash,
    /// Z shell
    Zsh,
    /// Friendly interactive shell
    Fish,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "brokerctl", &mut script);
        std::io::Write::write_all(&mut std::io::stdout().lock(), &script).map_err(Failure::Output)
    }
}
