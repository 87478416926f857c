//! Changing rows that grant rights: read, check, edit, sign, write, all in the writer's one transaction.
//!
//! Never edits a row whose keyed hash does not fit. Invariant: each change raises the row's version by one and, through the
//! store, the rights epoch. Next: the verbs that change accounts, apps, callers and credentials.

use crate::clock::Time;
use crate::domain::account::Account;
use crate::domain::app::App;
use crate::domain::caller::Caller;
use crate::domain::credential::Credential;
use crate::domain::guarded::{Guarded, Rights};
use crate::domain::ids::{AccountId, AppId, CallerId};
use crate::seal::{SealError, Sealer};
use crate::store::{Error, Result, Tx};

/// Checks a row inside a transaction.
pub(super) fn admit<T: Rights>(sealer: &Sealer, row: Guarded<T>) -> Result<T> {
    let id = row.unchecked().row();
    sealer.admit(row).map_err(|error| match error {
        SealError::NewerTerm(_) => Error::Busy,
        _ => Error::Corrupt {
            table: T::TABLE,
            column: "mac",
            id: uuid::Uuid::from_bytes(id).to_string(),
        },
    })
}

/// Changes an account; `expected` is the version its editor saw, if they care.
pub(super) async fn edit_account(
    tx: &mut Tx,
    sealer: &Sealer,
    (id, expected): (AccountId, Option<i64>),
    now: Time,
    edit: impl FnOnce(&mut Account) + Send,
) -> Result<Account> {
    let row = tx.account(id).await?.ok_or(Error::Stale { what: Account::TABLE })?;
    let mut account = admit(sealer, row)?;
    if expected.is_some_and(|version| version != account.version) {
        return Err(Error::Stale { what: Account::TABLE });
    }
    edit(&mut account);
    account.version += 1;
    account.updated_at = now;
    tx.update_account(&sealer.guard(account.clone())).await?;
    Ok(account)
}

/// Changes an app.
pub(super) async fn edit_app(
    tx: &mut Tx,
    sealer: &Sealer,
    (id, expected): (AppId, Option<i64>),
    now: Time,
    edit: impl FnOnce(&mut App) + Send,
) -> Result<App> {
    let row = tx.app(id).await?.ok_or(Error::Stale { what: App::TABLE })?;
    let mut app = admit(sealer, row)?;
    if expected.is_some_and(|version| version != app.version) {
        return Err(Error::Stale { what: App::TABLE });
    }
    edit(&mut app);
    app.version += 1;
    app.updated_at = now;
    tx.update_app(&sealer.guard(app.clone())).await?;
    Ok(app)
}

/// Changes a caller.
pub(super) async fn edit_caller(
    tx: &mut Tx,
    sealer: &Sealer,
    (id, expected): (CallerId, Option<i64>),
    edit: impl FnOnce(&mut Caller) + Send,
) -> Result<Caller> {
    let row = tx.caller(id).await?.ok_or(Error::Stale { what: Caller::TABLE })?;
    let mut caller = admit(sealer, row)?;
    if expected.is_some_and(|version| version != caller.version) {
        return Err(Error::Stale { what: Caller::TABLE });
    }
    edit(&mut caller);
    caller.version += 1;
    tx.update_caller(&sealer.guard(caller.clone())).await?;
    Ok(caller)
}

/// Changes a credential.
pub(super) async fn edit_credential(
    tx: &mut Tx,
    sealer: &Sealer,
    (key, expected): (String, Option<i64>),
    edit: impl FnOnce(&mut Credential) + Send,
) -> Result<Credential> {
    let row = tx.credential_by_key(&key).await?.ok_or(Error::Stale { what: Credential::TABLE })?;
    let mut credential = admit(sealer, row)?;
    if expected.is_some_and(|version| version != credential.version) {
        return Err(Error::Stale { what: Credential::TABLE });
    }
    edit(&mut credential);
    credential.version += 1;
    tx.update_credential(&sealer.guard(credential.clone())).await?;
    Ok(credential)
}
