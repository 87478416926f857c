//! How an account's token stands, without handing anything out.
//!
//! Never calls a provider and never opens a sealed value. Invariant: whoever may have the token may see this, and whoever has a right to the status.

use crate::clock::Time;
use crate::domain::caller::{Caller, NotPermitted};
use crate::domain::grant::AccessToken;
use crate::domain::ids::ProjectId;
use crate::domain::token::{attainable, is_alive, is_fresh};
use crate::service::lookup::AccountName;
use crate::service::refresh_landing::check_switch;
use crate::service::{Error, Service};

/// How a token stands.
#[derive(Clone, Debug)]
pub struct TokenStatus {
    /// The account's id for people.
    pub account: String,
    /// The target.
    pub audience: String,
    /// The token at hand, sealed, if it lives.
    pub token: Option<AccessToken>,
    /// Whether a plain call would be answered with it.
    pub available: bool,
    /// What stands in the way, as the number of an `ErrorReason`; 0 if nothing does.
    pub reason: i32,
}

impl Service {
    /// How the token of an account stands.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without the right to it.
    pub async fn token_status(
        &self,
        caller: &Caller,
        (project, name): (ProjectId, AccountName),
        audience: &str,
    ) -> Result<TokenStatus, Error> {
        caller.may_ask_for_tokens()?;
        let found = self.find_account(&project, &name).await?;
        let account = found.ok_or(NotPermitted)?;
        let audience = if audience.is_empty() { "mail" } else { audience };
        if !caller.may_see(&account, audience) {
            return Err(NotPermitted.into());
        }
        let now = self.parts.clock.now();
        let token = self.read().await?.access_token(account.id, audience).await?;
        let app = self.app(account.app).await?;
        let stands = self.check_standing(&account).and_then(|()| check_switch(&app));
        let reason = stands.err().map_or(0, |error| error.reason_number());
        Ok(TokenStatus {
            account: account.name.to_string(),
            audience: audience.to_owned(),
            available: reason == 0 && token.as_ref().is_some_and(|it| is_enough(it, now)),
            token: token.filter(|token| is_alive(token, now)),
            reason,
        })
    }
}

/// Whether a call that asks for no particular life gets this token.
fn is_enough(token: &AccessToken, now: Time) -> bool {
    attainable(None, token.life()).is_some_and(|wanted| is_fresh(token, wanted, now))
}
