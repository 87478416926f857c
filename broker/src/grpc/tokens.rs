//! The data plane's door: access tokens.
//!
//! Never lists anything. Next: `service/access_token.rs`.

use std::time::Duration;

use futures_util::future::join_all;
use tokenbroker_proto::v1::token_service_server::TokenService;
use tokenbroker_proto::v1::{
    AccessTokenOutcome, BatchGetAccessTokensRequest, BatchGetAccessTokensResponse,
    GetAccessTokenRequest, GetAccessTokenResponse, GetTokenStatusRequest, GetTokenStatusResponse,
    access_token_outcome,
};
use tonic::{Request, Response, Status};

use super::authenticate::asked;
use super::convert::{bounded, span, timestamp};
use super::serve::Door;
use super::{names, status};
use crate::domain::caller::Caller;
use crate::domain::token::{self, MAX_MIN_TTL};
use crate::memory::Seen;
use crate::service::{Error, Granted, TRIES, TokenStatus, TokenWish};

/// The most accounts of one batch.
const BATCH: usize = 100;

#[tonic::async_trait]
impl TokenService for Door {
    async fn get_access_token(
        &self,
        request: Request<GetAccessTokenRequest>,
    ) -> Result<Response<GetAccessTokenResponse>, Status> {
        let mut wish = None;
        for _ in 0..TRIES {
            let caller = self.deciding_caller(&request).await?;
            let wish = match &wish {
                Some(wish) => wish,
                None => wish.insert(status::or(unpack(request.get_ref()))?),
            };
            match self.service.access_token(&caller, wish).await {
                // Rights changed under it: from the beginning.
                Err(Error::Overtaken) => {}
                granted => return status::or(granted).map(pack).map(Response::new),
            }
        }
        Err(status::of(&Error::Overtaken))
    }

    async fn batch_get_access_tokens(
        &self,
        request: Request<BatchGetAccessTokensRequest>,
    ) -> Result<Response<BatchGetAccessTokensResponse>, Status> {
        let asked = request.get_ref().requests.len();
        let mut outcomes = vec![Err(Error::Overtaken); asked];
        for _ in 0..TRIES {
            let caller = self.deciding_caller(&request).await?;
            if asked == 0 || asked > BATCH {
                return Err(status::of(&Error::invalid("requests", "use 1 to 100")));
            }
            let requests = request.get_ref().requests.iter().zip(&mut outcomes);
            let again = requests.filter(|(_, outcome)| matches!(outcome, Err(Error::Overtaken)));
            join_all(again.map(|(request, outcome)| async {
                *outcome = self.grant(&caller, request).await;
            }))
            .await;
            if !outcomes.iter().any(|outcome| matches!(outcome, Err(Error::Overtaken))) {
                break;
            }
        }
        let outcomes = outcomes.into_iter().map(outcome).collect();
        Ok(Response::new(BatchGetAccessTokensResponse { outcomes }))
    }

    async fn get_token_status(
        &self,
        request: Request<GetTokenStatusRequest>,
    ) -> Result<Response<GetTokenStatusResponse>, Status> {
        let (caller, asked) = (self.caller(&request).await?, asked(&request));
        let GetTokenStatusRequest { account, audience } = request.into_inner();
        let stands = async {
            let name = names::account("account", &account)?;
            let project = name.0.clone();
            let audience = bounded("audience", &audience, 63)?;
            let stands = self.service.token_status(&caller, name, &audience).await?;
            Ok(pack_status(project.as_str(), stands))
        };
        self.on_record(&caller, asked, stands.await).await.map(Response::new)
    }
}

impl Door {
    async fn grant(
        &self,
        caller: &Seen<Caller>,
        request: &GetAccessTokenRequest,
    ) -> Result<GetAccessTokenResponse, Error> {
        Ok(pack(self.service.access_token(caller, &unpack(request)?).await?))
    }
}

fn outcome(answer: Result<GetAccessTokenResponse, Error>) -> AccessTokenOutcome {
    let outcome = match answer {
        Ok(token) => access_token_outcome::Outcome::Token(token),
        Err(error) => access_token_outcome::Outcome::Refusal(status::refusal(&error)),
    };
    AccessTokenOutcome { outcome: Some(outcome) }
}

fn unpack(request: &GetAccessTokenRequest) -> Result<TokenWish, Error> {
    let (project, account) = names::account("account", &request.account)?;
    if !request.audience.is_empty() && !request.scopes.is_empty() {
        return Err(Error::invalid("scopes", "say either audience or scopes"));
    }
    if request.scopes.len() > 32 {
        return Err(Error::invalid("scopes", "use at most 32"));
    }
    let rejected =
        match request.reject_token_hash.as_slice() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| {
                Error::invalid("reject_token_hash", "use the 32 bytes of a SHA-256")
            })?),
        };
    let min_ttl = span("min_ttl", request.min_ttl.as_ref(), MAX_MIN_TTL)?;
    Ok(TokenWish {
        project,
        account,
        audience: bounded("audience", &request.audience, 63)?,
        scopes: request.scopes.clone(),
        min_ttl: min_ttl.filter(|ttl| *ttl > Duration::ZERO),
        rejected,
    })
}

fn pack(granted: Granted) -> GetAccessTokenResponse {
    let Granted { account, provider, secret, token, stale_because } = granted;
    GetAccessTokenResponse {
        access_token: secret.expose().to_owned(),
        expire_time: Some(timestamp(token.expires_at)),
        refresh_after: Some(timestamp(token::refresh_after(&token))),
        user: account.sasl_user().to_owned(),
        account: format!("projects/{}/accounts/{}", account.project, account.name),
        token_type: token.token_type.clone(),
        scopes: token.scopes.clone(),
        generation: token.generation,
        stale: stale_because.is_some(),
        last_error: stale_because.unwrap_or(0),
        provider,
        audience: token.audience.clone(),
    }
}

fn pack_status(project: &str, stands: TokenStatus) -> GetTokenStatusResponse {
    GetTokenStatusResponse {
        account: format!("projects/{project}/accounts/{}", stands.account),
        audience: stands.audience,
        available: stands.available,
        expire_time: stands.token.as_ref().map(|token| timestamp(token.expires_at)),
        reason: stands.reason,
        generation: stands.token.map_or(0, |token| token.generation),
    }
}
