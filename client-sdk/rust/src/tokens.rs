//! Access tokens for services: the front door of this crate.
//!
//! Never returns a token the resource refused. Invariant: every call ends within its deadline. Next: `cache` answers
//! what it can, `Wire` asks the broker for the rest.

use std::future::IntoFuture;
use std::time::Duration;

use tokenbroker_proto::v1::token_service_client::TokenServiceClient;
use tokenbroker_proto::v1::{
    BatchGetAccessTokensRequest, BatchGetAccessTokensResponse, GetAccessTokenRequest,
    GetTokenStatusRequest, GetTokenStatusResponse,
};
use tonic::codegen::BoxFuture;

use crate::cache::{Ask, Key, Source, TokenCache};
use crate::clock::Moment;
use crate::errors::Error;
use crate::options::Options;
use crate::retry::{request, safely};
use crate::token::AccessToken;
use crate::transport::Connection;

/// Access tokens with deadlines, retries, failover and a cache. Clones share all of it; make one for a process.
#[derive(Clone, Debug)]
pub struct TokenBroker {
    connection: Connection,
    cache: TokenCache<Wire>,
}

impl TokenBroker {
    /// Checks `options`. Nothing is dialled yet: a broker that is away now is no error here.
    ///
    /// # Errors
    /// [`Error::Options`] with what is wrong and what to do.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let connection = Connection::open(&options).await?;
        Ok(Self::over(connection, options.cache_entries))
    }

    /// Over a connection that is there, keeping at most `cache_entries` tokens.
    pub fn over(connection: Connection, cache_entries: usize) -> Self {
        let wire = Wire { connection: connection.clone() };
        Self { connection, cache: TokenCache::new(wire, cache_entries) }
    }

    /// A token for `account`: an id, a mailbox address, or `projects/{project}/accounts/{account}`. Await what is
    /// returned.
    pub fn access_token(&self, account: impl Into<String>) -> TokenCall<'_> {
        TokenCall {
            broker: self,
            key: Key { account: account.into(), ..Key::default() },
            min_ttl: None,
            deadline: self.connection.deadline(),
        }
    }

    /// Says that the resource refused `token`: it is not handed out again, and the next call for it has the broker
    /// fetch another.
    pub fn reject(&self, token: &AccessToken) {
        self.cache.reject(token);
    }

    /// How the account's token stands. Hands nothing out. An empty `audience` means `mail`.
    ///
    /// # Errors
    /// Any [`Error`] but those about the account itself, which are part of the answer.
    pub async fn token_status(
        &self,
        account: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<GetTokenStatusResponse, Error> {
        let ask = GetTokenStatusRequest { account: account.into(), audience: audience.into() };
        safely(&self.connection, self.connection.deadline(), &|door| {
            let ask = request(&ask);
            Box::pin(async move { TokenServiceClient::new(door).get_token_status(ask).await })
        })
        .await
    }

    /// Up to 100 tokens in one call, past the cache; each has its own outcome.
    ///
    /// # Errors
    /// Any [`Error`] about the call as a whole.
    pub async fn batch(
        &self,
        requests: Vec<GetAccessTokenRequest>,
    ) -> Result<BatchGetAccessTokensResponse, Error> {
        let ask = BatchGetAccessTokensRequest { requests };
        safely(&self.connection, self.connection.deadline(), &|door| {
            let ask = request(&ask);
            Box::pin(
                async move { TokenServiceClient::new(door).batch_get_access_tokens(ask).await },
            )
        })
        .await
    }
}

/// A call for a token that has not been made yet; `.await` makes it.
#[must_use = "a call is made by awaiting it"]
#[derive(Debug)]
pub struct TokenCall<'a> {
    broker: &'a TokenBroker,
    key: Key,
    min_ttl: Option<Duration>,
    deadline: Duration,
}

impl TokenCall<'_> {
    /// What the token is for, such as `mail` (the default) or `graph`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.key.audience = audience.into();
        self
    }

    /// The scopes it must carry, instead of an audience. At most 32.
    pub fn scopes<I: IntoIterator<Item = String>>(mut self, scopes: I) -> Self {
        self.key.scopes = scopes.into_iter().collect();
        self
    }

    /// How long it must live at least. Without it: five minutes, or what the provider's tokens allow.
    pub fn min_ttl(mut self, least: Duration) -> Self {
        self.min_ttl = Some(least);
        self
    }

    /// How long this call may take in all. Default: the options' deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl<'a> IntoFuture for TokenCall<'a> {
    type Output = Result<AccessToken, Error>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.broker.cache.token(self.key, self.min_ttl, self.deadline))
    }
}

/// Asks the broker.
#[derive(Debug)]
pub(crate) struct Wire {
    connection: Connection,
}

impl Source for Wire {
    async fn fetch(&self, ask: Ask) -> Result<AccessToken, Error> {
        let message = GetAccessTokenRequest {
            account: ask.key.account,
            audience: ask.key.audience,
            scopes: ask.key.scopes,
            min_ttl: ask.min_ttl.map(wire_duration),
            reject_token_hash: ask.rejected.map(Vec::from).unwrap_or_default(),
        };
        let answer = safely(&self.connection, ask.deadline, &|door| get(door, &message)).await?;
        AccessToken::from_wire(answer, Moment::now())
    }
}

fn get(
    door: crate::door::Door,
    message: &GetAccessTokenRequest,
) -> BoxFuture<tonic::Response<tokenbroker_proto::v1::GetAccessTokenResponse>, tonic::Status> {
    let message = request(message);
    Box::pin(async move { TokenServiceClient::new(door).get_access_token(message).await })
}

fn wire_duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span)
        .unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}
