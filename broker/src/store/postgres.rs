//! Opens the server engine.
//!
//! Never waits without a bound: connecting, statements, locks and idle transactions all have one, so a slow or stuck
//! database sheds load instead of gathering it. Invariants: readers cannot write; two connections write (`writer.rs`, `lane.rs`); a server off
//! loopback is spoken to over verified TLS unless the URL says otherwise. Next: `migrations.rs`.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Executor, PgPool};

use super::engine::Pool;
use super::error::{Error, Result};
use super::sqlite::Opened;
use crate::domain::secret::Secret;

/// How long a connection may take to come; readers wait less (`store.rs`).
const WAIT: Duration = Duration::from_secs(3);

/// A reader gives up after 5 s; nothing it sends can change a row.
const READING: &str =
    "set session characteristics as transaction read only; set statement_timeout = '5s'";
/// The writer waits at most 5 s for another broker's turn, and a broker that stops in the middle of one loses it after
/// 5 s. Its commits wait for the disk whatever the server's default is.
const WRITING: &str = "set statement_timeout = '5s'; set lock_timeout = '5s'; \
    set idle_in_transaction_session_timeout = '5s'; set synchronous_commit = 'on'";

/// Connects.
pub(super) async fn open(url: &Secret, max_connections: u32) -> Result<Opened> {
    if max_connections < 4 {
        return Err(Error::Settings {
            why: "max_connections must be at least 4: two write, one listens, the others read"
                .into(),
        });
    }
    let options = options(url)?;
    let writer: PgPool =
        pool(2, WRITING).connect_with(options.clone()).await.map_err(|error| match Error::from(
            error,
        ) {
            Error::Busy => Error::Unreachable { why: "no connection in time".into() },
            other => other,
        })?;
    let readers = pool(max_connections - 2, READING).connect_lazy_with(options);
    Ok(Opened { readers: Pool::Postgres(readers), writer: Pool::Postgres(writer), lock: None })
}

fn pool(most: u32, first: &'static str) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(WAIT)
        .after_connect(move |conn, _| Box::pin(async move { conn.execute(first).await.map(drop) }))
}

fn options(url: &Secret) -> Result<PgConnectOptions> {
    let unreadable = || Error::Settings {
        why: "the PostgreSQL URL must look like postgres://user:password@host:port/database".into(),
    };
    let parsed = url::Url::parse(url.expose()).map_err(|_| unreadable())?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(unreadable());
    }
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| unreadable())?;
    let said = parsed.query_pairs().any(|(key, _)| matches!(&*key, "sslmode" | "ssl-mode"));
    let options =
        if said || is_local(&options) { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
    Ok(options.application_name("token-broker"))
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> PgSslMode {
        options(&Secret::from(url)).unwrap().get_ssl_mode()
    }

    #[test]
    fn a_server_off_loopback_is_verified_unless_the_url_says_otherwise() {
        assert!(matches!(mode("postgres://u:p@db.example/tb"), PgSslMode::VerifyFull));
        assert!(matches!(mode("postgres://u:p@db.example/tb?sslmode=disable"), PgSslMode::Disable));
        assert!(matches!(mode("postgres://u:p@127.0.0.1/tb"), PgSslMode::Prefer));
    }

    #[test]
    fn a_bad_url_is_refused_without_being_quoted() {
        for bad in ["postgres://u:canary@[/tb", "mysql://u:canary@h/tb", "canary"] {
            let error = options(&Secret::from(bad)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}
