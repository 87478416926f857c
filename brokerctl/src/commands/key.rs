//! `brokerctl key`: the keys that everything secret is sealed with.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use token_broker_client::v1;

use crate::failure::Failure;
use crate::session::Session;
use crate::views::key::KeysView;

/// Between two looks at a re-seal.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) const KEY_HELP: &str = "\
Two layers. The key-encryption key is a file (or a systemd credential) that only the
broker reads; it seals the keyring. The keyring has a key for each term; tokens, client
secrets and the checks of rights are under it.

To change everything, in this order; calls are served all the time:
  1. token-broker new-key /srv/token-broker/kek.next      on every broker's host, the same key;
     `[keys] next_kek = { file = \"kek.next\" }`            in its configuration says where
  2. brokerctl key rotate-kek      seals the keyring with it: takes no time
     mv kek.next kek               then keep a copy apart from the backups, and destroy the old
  3. brokerctl key rotate          a new term for what is sealed from now on
  4. brokerctl key reseal          moves what is under older terms; may take minutes
  5. brokerctl key status          what still needs an old term, and what to do about it
  6. brokerctl key remove TERM     refused while anything needs it

Changing the key-encryption key alone is 1 and 2; it does not help if somebody has the old
key together with an old copy of the database: then go through all six, and withdraw the
grants at the providers (SECURITY.md). Only administrators may do this.";

const RESEAL_HELP: &str = "\
Exit code 7 if something could not be moved because it was changed behind the broker's back
or is damaged: it is named, stays refused, and is never signed anew.
A re-seal goes on by itself if this command is interrupted or the broker dies.";

const REMOVE_HELP: &str = "\
What is still under the term could never be opened again, so the broker refuses while it finds
anything. Passwords and API keys move when they are used next, because only then is the secret
at hand; rotate or revoke those that are not used. Old backups need the term: keep a copy of the
database with its key-encryption key for as long as you keep them.";

/// `brokerctl key ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Shows the terms, what is under each and what still needs it
    Status,
    /// Seals the keyring with the next key-encryption key
    RotateKek,
    /// Adds a term and puts it in use
    Rotate,
    /// Moves everything to the active term, while calls are served
    #[command(after_help = RESEAL_HELP)]
    Reseal(Reseal),
    /// Removes a term that nothing needs any more
    #[command(after_help = REMOVE_HELP)]
    Remove(Remove),
}

/// `key reseal`
#[derive(Args, Debug)]
pub(crate) struct Reseal {
    /// Start it and leave; `key status` tells how far it is
    #[arg(long)]
    no_wait: bool,
}

/// `key remove`
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The term's number
    term: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Key {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let admin = &session.admin;
        let (stands, hint) = match self {
            Self::Status => (status(session, false).await?, String::new()),
            Self::RotateKek => {
                let ask = v1::RotateKeyEncryptionKeyRequest {};
                let stands = admin.ask(admin.keys().rotate_key_encryption_key(ask)).await?;
                let hint = "Now move the next key to where `[keys] kek` says, on every broker's host: \
                            the old one opens nothing any more but old backups.";
                (stands, hint.to_owned())
            }
            Self::Rotate => {
                let ask = v1::CreateKeyTermRequest {};
                let stands = admin.ask(admin.keys().create_key_term(ask)).await?;
                (stands, "Next: brokerctl key reseal".to_owned())
            }
            Self::Reseal(reseal) => return reseal.run(session).await,
            Self::Remove(Remove { term, yes }) => {
                session.confirm(&format!("Key term {term} will be removed for ever."), yes)?;
                let ask = v1::RemoveKeyTermRequest { term };
                (admin.ask(admin.keys().remove_key_term(ask)).await?, String::new())
            }
        };
        session.out.show(&KeysView::from(stands))?;
        if !hint.is_empty() {
            session.out.hint(&hint);
        }
        Ok(())
    }
}

impl Reseal {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let admin = &session.admin;
        let mut stands = admin.ask(admin.keys().start_reseal(v1::StartResealRequest {})).await?;
        if !self.no_wait {
            let bar = bar(session);
            while let Some(reseal) = running(&stands) {
                bar.set_length(u64::try_from(reseal.total.max(reseal.done)).unwrap_or_default());
                bar.set_position(u64::try_from(reseal.done).unwrap_or_default());
                tokio::time::sleep(LOOK).await;
                stands = status(session, true).await?;
            }
            bar.finish_and_clear();
            stands = status(session, false).await?;
        }
        let refused = stands.reseal.as_ref().map_or(0, |reseal| reseal.refused);
        session.out.show(&KeysView::from(stands))?;
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::Found {
            what: format!("{refused} rows were changed behind the broker's back or are damaged"),
            remedy:
                "restore them from a backup, or make anew what they were; `key status` names them"
                    .into(),
        })
    }
}

async fn status(session: &Session, without_counts: bool) -> Result<v1::KeyStatus, Failure> {
    let ask = v1::GetKeyStatusRequest { without_counts };
    Ok(session.admin.ask(session.admin.keys().get_key_status(ask)).await?)
}

fn running(stands: &v1::KeyStatus) -> Option<&v1::Reseal> {
    stands.reseal.as_ref().filter(|it| it.state() == v1::ResealState::Running)
}

/// On a terminal, for people; on stderr.
fn bar(session: &Session) -> ProgressBar {
    if session.out.is_json() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0).with_message("sealed anew");
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
    bar
}
