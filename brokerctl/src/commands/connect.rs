//! `brokerctl account connect` and `invite`: how a mailbox comes in.
//!
//! Never sees a token: the broker makes the link, the browser brings back a code, the broker exchanges it. Invariant:
//! a callback counts only if its `state` is the one the broker named; whatever ends the wait, the consent is ended
//! too. Next: `loopback` listens.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use token_broker_client::{Error, v1};

use super::words::label;
use crate::browser;
use crate::failure::Failure;
use crate::loopback::{Callback, Listener, Page, Waiting};
use crate::session::Session;
use crate::views::account::AccountView;
use crate::views::consent::ConsentView;
use crate::{names, when};

/// The broker exchanges the code at the provider and may try one real mail login.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const CONNECT_HELP: &str = "\
Examples:
  brokerctl account connect --app work
  brokerctl account connect --app work --mailbox ann@example.com --no-browser

The provider's page opens in your browser and comes back to this machine. Over SSH, forward the
port (ssh -L PORT:localhost:PORT HOST) and open the printed link on your own machine.
With --json the account is printed on stdout at the end; the link is a line on stderr,
`Open this link: URL`.";
pub(crate) const INVITE_HELP: &str = "\
Example:
  brokerctl account invite --app work --mailbox ann@example.com --requester 'IT, Ms Miller' --ttl 3d

Send the link to the owner of that mailbox. Whoever opens it, only that mailbox is taken.";

/// `account connect`
#[derive(Args, Debug)]
pub(crate) struct Connect {
    /// The app that asks
    #[arg(long)]
    app: String,
    /// The mailbox it has to be [default: whichever is consented to]
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    mailbox: String,
    /// Only print the link
    #[arg(long)]
    no_browser: bool,
    /// How long to wait for the owner
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = when::span)]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// `account invite`
#[derive(Args, Debug)]
pub(crate) struct Invite {
    /// The app that asks
    #[arg(long)]
    app: String,
    /// The mailbox it has to be
    #[arg(long, value_name = "ADDRESS")]
    mailbox: String,
    /// How long the link works, at most 30d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = when::span)]
    ttl: Duration,
    /// Who asks, as the owner's page names it [default: the name of your key's caller]
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    requester: String,
    #[command(flatten)]
    target: Target,
}

/// Which account the consent is for.
#[derive(Args, Debug)]
struct Target {
    /// Renew this account
    #[arg(long, value_name = "ACCOUNT", conflicts_with = "id")]
    account: Option<String>,
    /// The id of the new account [default: made up]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A label for the new account; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

impl Target {
    fn request(self, session: &Session, app: &str) -> v1::CreateConsentRequest {
        v1::CreateConsentRequest {
            parent: session.parent(),
            app: session.app(app),
            account: self.account.map(|id| session.account(&id)).unwrap_or_default(),
            account_id: self.id.unwrap_or_default(),
            labels: self.labels.into_iter().collect::<HashMap<_, _>>(),
            ..Default::default()
        }
    }
}

impl Invite {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let ask = v1::CreateConsentRequest {
            mode: v1::ConsentMode::Invitation.into(),
            expected_mailbox: self.mailbox.clone(),
            ttl: Some(when::wire(self.ttl)),
            requester: self.requester,
            ..self.target.request(session, &self.app)
        };
        let consent = session.admin.ask(session.admin.consents().create_consent(ask)).await?;
        let id = names::id(&consent.name).to_owned();
        session.out.show(&ConsentView::from(consent))?;
        session.out.hint(&format!(
            "\nSend this link to the owner of {}. How far it is: brokerctl consent show {id}",
            self.mailbox
        ));
        Ok(())
    }
}

impl Connect {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let listener = Listener::bind().await?;
        let ask = v1::CreateConsentRequest {
            mode: v1::ConsentMode::Loopback.into(),
            expected_mailbox: self.mailbox.clone(),
            loopback_uri: listener.uri().to_owned(),
            ttl: Some(when::wire(self.timeout)),
            ..self.target.request(session, &self.app)
        };
        let consent = session.admin.ask(session.admin.consents().create_consent(ask)).await?;
        session.out.note(&format!("Open this link: {}", crate::output::plain(&consent.uri)));
        if !self.no_browser && browser::open(&consent.uri) {
            session.out.hint("Your browser should show it by now.");
        }
        let mut listener = listener.expecting(consent.loopback_state.clone());
        let outcome = wait(session, &mut listener, &consent.name, self.timeout).await;
        listener.close().await;
        let account = outcome?;
        let mailbox = account.mailbox.clone();
        session.out.show(&AccountView::from(account))?;
        session.out.hint(&format!(
            "\nNext: a password for a mail client or script\n  brokerctl credential create {mailbox} \
             --description 'what uses it'"
        ));
        Ok(())
    }
}

/// Waits for the owner; ends the consent if it comes to nothing.
async fn wait(
    session: &Session,
    listener: &mut Waiting,
    consent: &str,
    timeout: Duration,
) -> Result<v1::Account, Failure> {
    let spinner = spinner(session);
    let interrupted = Failure::NoConsent {
        what: "interrupted before the owner consented".into(),
        remedy: "run the command again when you are ready".into(),
    };
    let ended = tokio::select! {
        callback = listener.next() => Ok(callback),
        _ = tokio::signal::ctrl_c() => Err(interrupted),
        () = tokio::time::sleep(timeout) => Err(Failure::NoConsent {
            what: format!("nobody consented within {} s", timeout.as_secs()),
            remedy: "run the command again, with a longer --timeout if need be".into(),
        }),
    };
    spinner.finish_and_clear();
    match ended {
        Ok(callback) => exchange(session, consent, callback).await,
        Err(failure) => {
            let ask = v1::CancelConsentRequest { name: consent.into() };
            // It ends by itself soon; a broker that is away now changes nothing.
            let _ = session.admin.ask(session.admin.consents().cancel_consent(ask)).await;
            Err(failure)
        }
    }
}

/// Hands the callback to the broker and tells the browser how it went.
async fn exchange(
    session: &Session,
    consent: &str,
    callback: Callback,
) -> Result<v1::Account, Failure> {
    let ask = v1::ExchangeConsentRequest {
        name: consent.into(),
        state: callback.state.clone(),
        code: callback.code.expose().to_owned(),
        iss: callback.iss.clone(),
        error: callback.error.clone(),
    };
    let denied = !callback.error.is_empty();
    let patient = session.admin.within(EXCHANGE_DEADLINE);
    let answer = patient.ask(patient.consents().exchange_consent(ask)).await;
    let outcome = verdict(answer, denied);
    callback.answer(match &outcome {
        Ok(account) => Page::connected(&account.mailbox),
        Err(_) if denied => Page::denied(),
        Err(failure) => Page::failed(&failure.words()),
    });
    outcome
}

fn verdict(answer: Result<v1::Consent, Error>, denied: bool) -> Result<v1::Account, Failure> {
    let remedy = || "run the command again; to connect another mailbox, give --mailbox".into();
    if denied {
        let said = answer.map_or_else(|error| error.to_string(), |consent| consent.failure);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let what = format!("the provider or the owner said no{said}");
        return Err(Failure::Refused { what, remedy: remedy() });
    }
    let consent = answer?;
    match (consent.state(), consent.result) {
        (v1::ConsentState::Finished, Some(account)) => Ok(account),
        (state, _) => {
            let state = state.as_str_name().trim_start_matches("CONSENT_STATE_");
            let why = if consent.failure.is_empty() { state } else { &consent.failure };
            Err(Failure::Refused { what: format!("not connected: {why}"), remedy: remedy() })
        }
    }
}

fn spinner(session: &Session) -> ProgressBar {
    // It draws on stderr, and only if that is a terminal.
    let spinner =
        if session.out.is_json() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    spinner.set_message("waiting for you in the browser; Ctrl-C ends it");
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
