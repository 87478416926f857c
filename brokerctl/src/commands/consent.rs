//! `brokerctl consent`: consents on their way.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use token_broker_client::v1;

use crate::failure::Failure;
use crate::secrets;
use crate::session::{Session, all_pages};
use crate::views::consent::{ConsentView, ConsentsView};

const CODE_ENV: &str = "TOKEN_BROKER_CONSENT_CODE";

/// `brokerctl consent ..`
#[derive(Debug, Subcommand)]
pub(crate) enum Consent {
    /// Lists the open ones
    List,
    /// Shows how far one is
    Show(Which),
    /// Ends one: its link works no more
    Cancel(Which),
    /// Finishes an application's consent with the one-time code the browser brought back
    #[command(after_help = FINISH_HELP)]
    Finish(Finish),
}

const FINISH_HELP: &str = "\
The code is never an argument: --code-file FILE, `-` for stdin, the environment variable
TOKEN_BROKER_CONSENT_CODE, or the prompt.
Finishing says: the one who is logged in at the application is the one who consented.";

/// One consent.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its id
    consent: String,
}

/// `consent finish`
#[derive(Args, Debug)]
pub(crate) struct Finish {
    /// Its id
    consent: String,
    /// File with the one-time code, `-` for stdin
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
}

impl Consent {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut consents = session.admin.consents();
        let consent = match self {
            Self::List => return list(session).await,
            Self::Show(which) => {
                let ask = v1::GetConsentRequest { name: session.consent(&which.consent) };
                session.admin.ask(consents.get_consent(ask)).await?
            }
            Self::Cancel(which) => {
                let ask = v1::CancelConsentRequest { name: session.consent(&which.consent) };
                session.admin.ask(consents.cancel_consent(ask)).await?
            }
            Self::Finish(finish) => {
                let code = finish.code()?;
                let name = session.consent(&finish.consent);
                let ask = v1::FinishConsentRequest { name, code };
                session.admin.ask(consents.finish_consent(ask)).await?
            }
        };
        session.out.show(&ConsentView::from(consent))
    }
}

impl Finish {
    fn code(&self) -> Result<String, Failure> {
        let code = secrets::read(self.code_file.as_deref(), CODE_ENV, "One-time code: ")?;
        let code = code.map(|code| code.expose().trim().to_owned()).unwrap_or_default();
        if code.is_empty() {
            return Err(Failure::usage(
                "no one-time code was given",
                format!("--code-file FILE (`-` is stdin) or {CODE_ENV}"),
            ));
        }
        Ok(code)
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let consents = all_pages(usize::MAX, async |page_size, page_token| {
        let ask = v1::ListConsentsRequest { parent: session.parent(), page_size, page_token };
        let page = session.admin.ask(session.admin.consents().list_consents(ask)).await?;
        Ok((page.consents, page.next_page_token))
    })
    .await?;
    session.out.show(&ConsentsView::from(consents))
}
