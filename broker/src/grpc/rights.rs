//! What a request says an app or a caller shall be, checked field by field.
//!
//! Never decides whether that is allowed. Invariant: an `update_mask` changes the fields it names and no other; one it does
//! not know is an error, not ignored.

use tokenbroker_proto::v1::{self, CallerRole};

use super::caller_rights::{caller_protocols, identities, min_interval, rights};
use super::convert::{bounded, ip_ranges, mail_host};
use crate::clock::Time;
use crate::domain::app::{ClientAuthMethod, Endpoints, Rotation};
use crate::domain::caller::Role;
use crate::domain::ids::ResourceId;
use crate::domain::mail::{MailHost, MailProtocol};
use crate::service::{AppChange, AppDraft, CallerChange, CallerDraft, Error};

/// What a new app shall be.
pub(super) fn app_draft(id: &str, app: v1::App) -> Result<AppDraft, Error> {
    let client_auth = client_auth(app.client_auth_method());
    let rotation = rotation(app.rotation());
    Ok(AppDraft {
        id: (!id.is_empty()).then(|| resource_id("app_id", id)).transpose()?,
        display_name: bounded("app.display_name", &app.display_name, 100)?,
        preset: app.preset,
        authority: bounded("app.authority", &app.authority, 512)?,
        client_id: bounded("app.client_id", &app.client_id, 512)?,
        client_auth,
        endpoints: app.endpoints.map(endpoints).unwrap_or_default(),
        base_scopes: scopes("app.base_scopes", app.base_scopes)?,
        extra_scopes: scopes("app.extra_scopes", app.extra_scopes)?,
        skip_scopes: scopes("app.skip_scopes", app.skip_scopes)?,
        mail_hosts: mail_hosts(&app.mail_hosts)?,
        return_uris: app.return_uris,
        rotation,
        disabled: app.disabled,
    })
}

/// What shall be different about an app.
pub(super) fn app_change(app: v1::App, mask: &[String]) -> Result<AppChange, Error> {
    let mut change = AppChange::default();
    let draft = app_draft("", app)?;
    for path in mask {
        match path.as_str() {
            "display_name" => change.display_name = Some(draft.display_name.clone()),
            "client_id" => change.client_id = Some(draft.client_id.clone()),
            "client_auth_method" => change.client_auth = Some(draft.client_auth),
            "endpoints" => change.endpoints = Some(draft.endpoints.clone()),
            "base_scopes" => change.base_scopes = Some(draft.base_scopes.clone()),
            "extra_scopes" => change.extra_scopes = Some(draft.extra_scopes.clone()),
            "skip_scopes" => change.skip_scopes = Some(draft.skip_scopes.clone()),
            "mail_hosts" => change.mail_hosts = Some(draft.mail_hosts.clone()),
            "return_uris" => change.return_uris = Some(draft.return_uris.clone()),
            "rotation" => change.rotation = Some(draft.rotation),
            "disabled" => change.disabled = Some(draft.disabled),
            other => return Err(unknown_path(other)),
        }
    }
    Ok(change)
}

/// What a new caller shall be.
pub(super) fn caller_draft(
    id: &str,
    caller: v1::Caller,
    (with_key, key_expires_at): (bool, Option<Time>),
) -> Result<CallerDraft, Error> {
    let role = match caller.role() {
        CallerRole::Admin => Role::Admin,
        CallerRole::Operator => Role::Operator,
        CallerRole::Service => Role::Service,
        CallerRole::Adapter => Role::Adapter,
        CallerRole::Unspecified => {
            return Err(Error::invalid("caller.role", "use ADMIN, OPERATOR, SERVICE or ADAPTER"));
        }
    };
    Ok(CallerDraft {
        id: resource_id("caller_id", id)?,
        display_name: bounded("caller.display_name", &caller.display_name, 100)?,
        role,
        rights: rights(&caller.rights)?,
        protocols: caller_protocols(&caller.protocols)?,
        ip_ranges: ip_ranges("caller.ip_ranges", &caller.ip_ranges)?,
        identities: identities(&caller.identities)?,
        min_interval: min_interval(&caller)?,
        with_key,
        key_expires_at,
    })
}

/// What shall be different about a caller.
pub(super) fn caller_change(caller: &v1::Caller, mask: &[String]) -> Result<CallerChange, Error> {
    let mut change = CallerChange::default();
    for path in mask {
        match path.as_str() {
            "identities" => change.identities = Some(identities(&caller.identities)?),
            "min_interval" => change.min_interval = Some(min_interval(caller)?),
            "display_name" => {
                let name = bounded("caller.display_name", &caller.display_name, 100)?;
                change.display_name = Some(name);
            }
            "rights" => change.rights = Some(rights(&caller.rights)?),
            "protocols" => change.protocols = Some(caller_protocols(&caller.protocols)?),
            "ip_ranges" => {
                change.ip_ranges = Some(ip_ranges("caller.ip_ranges", &caller.ip_ranges)?);
            }
            other => return Err(unknown_path(other)),
        }
    }
    Ok(change)
}

/// A mask's path that names no field which can be changed.
pub(super) fn unknown_path(path: &str) -> Error {
    Error::invalid("update_mask", format!("{path:?} is no field that can be changed"))
}

/// An id that people chose.
pub(super) fn resource_id(field: &'static str, text: &str) -> Result<ResourceId, Error> {
    ResourceId::parse(text).map_err(|bad| Error::invalid(field, bad.to_string()))
}

const fn client_auth(method: v1::ClientAuthMethod) -> Option<ClientAuthMethod> {
    match method {
        v1::ClientAuthMethod::Unspecified => None,
        v1::ClientAuthMethod::Basic => Some(ClientAuthMethod::Basic),
        v1::ClientAuthMethod::Post => Some(ClientAuthMethod::Post),
        v1::ClientAuthMethod::None => Some(ClientAuthMethod::None),
    }
}

const fn rotation(rotation: v1::Rotation) -> Option<Rotation> {
    match rotation {
        v1::Rotation::Unspecified => None,
        v1::Rotation::None => Some(Rotation::None),
        v1::Rotation::Replace => Some(Rotation::Replace),
        v1::Rotation::Grace => Some(Rotation::Grace),
        v1::Rotation::Strict => Some(Rotation::Strict),
    }
}

fn endpoints(given: v1::AppEndpoints) -> Endpoints {
    Endpoints {
        issuer: given.issuer,
        authorization: given.authorization,
        token: given.token,
        revocation: given.revocation,
        userinfo: given.userinfo,
        jwks: given.jwks,
        iss_advertised: false,
    }
}

fn scopes(field: &'static str, given: Vec<String>) -> Result<Vec<String>, Error> {
    let plain = |scope: &String| {
        (1..=512).contains(&scope.len())
            && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    if given.len() <= 64 && given.iter().all(plain) {
        return Ok(given);
    }
    Err(Error::invalid(
        field,
        "use at most 64 scopes of printable ASCII without blanks (RFC 6749 section 3.3)",
    ))
}

fn mail_hosts(given: &[v1::MailHost]) -> Result<Vec<MailHost>, Error> {
    let hosts = given
        .iter()
        .map(|host| mail_host("app.mail_hosts", host))
        .collect::<Result<Vec<_>, _>>()?;
    let twice = MailProtocol::ALL
        .iter()
        .any(|protocol| hosts.iter().filter(|host| host.protocol == *protocol).count() > 1);
    if twice {
        return Err(Error::invalid("app.mail_hosts", "name one server for each protocol"));
    }
    Ok(hosts)
}
