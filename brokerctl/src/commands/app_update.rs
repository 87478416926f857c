//! `brokerctl app update`: changes what the flags name.
//!
//! Invariant: what was not named is not in the update mask, so two people who change different things do not undo
//! each other.

use clap::Args;
use prost_types::FieldMask;
use token_broker_client::v1;

use super::app_fields::{AppFields, Clearable};
use crate::failure::Failure;
use crate::session::Session;
use crate::views::app::AppView;

pub(crate) const UPDATE_HELP: &str = "\
Examples:
  brokerctl app update work --display-name 'Work mail' --extra-scope openid
  brokerctl app update work --clear extra-scopes
  brokerctl app update work --disable";

/// `app update`
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Its id
    app: String,
    /// The client id the provider gave
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Starts consents and refreshes tokens again
    #[arg(long)]
    enable: bool,
    /// Starts no consent, refreshes no token and hands none out
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Empties a field; repeat for more
    #[arg(long, value_enum, value_name = "FIELD")]
    clear: Vec<Clearable>,
    /// Only if it is still this version, as `app show --json` says
    #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    fields: AppFields,
}

impl Update {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut app =
            v1::App { name: session.app(&self.app), etag: self.etag, ..Default::default() };
        let mut paths = self.fields.fill(&mut app);
        if let Some(client_id) = self.client_id {
            app.client_id = client_id;
            paths.push("client_id");
        }
        if self.enable || self.disable {
            app.disabled = self.disable;
            paths.push("disabled");
        }
        for field in self.clear {
            if paths.contains(&field.path()) {
                return Err(Failure::usage(
                    format!("{} is both set and cleared", field.path()),
                    "say one of the two",
                ));
            }
            paths.push(field.path());
        }
        if paths.is_empty() {
            return Err(Failure::usage(
                "nothing to change was named",
                "brokerctl app update --help lists what can be changed",
            ));
        }
        let mask = FieldMask { paths: paths.into_iter().map(Into::into).collect() };
        let ask = v1::UpdateAppRequest { app: Some(app), update_mask: Some(mask) };
        let app = session.admin.ask(session.admin.apps().update_app(ask)).await?;
        session.out.show(&AppView::from(app))
    }
}
