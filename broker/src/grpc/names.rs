//! Resource names as the contract writes them, and the short forms people may use.
//!
//! Never looks anything up. Invariant: a name that parses has a project, `default` where it was left out.
//! Next: the doors in `grpc/` turn requests into ids with these.

use crate::domain::ids::{BadName, Mailbox, ProjectId, ResourceId, SessionId};
use crate::service::Error;
use crate::service::lookup::AccountName;

/// A name such as `projects/default/apps/google`, or `google` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) project: ProjectId,
    pub(super) id: ResourceId,
}

/// Reads `projects/{project}`; empty means the default project.
pub(super) fn project(field: &'static str, text: &str) -> Result<ProjectId, Error> {
    if text.is_empty() {
        return Ok(ProjectId::default_project());
    }
    let id = text.strip_prefix("projects/").unwrap_or(text);
    ProjectId::parse(id).map_err(|bad| wrong(field, "projects/{project}", bad))
}

/// Reads the name of one resource of a collection, or its id alone.
pub(super) fn resource(
    field: &'static str,
    collection: &'static str,
    text: &str,
) -> Result<Name, Error> {
    let (project, id) = split(field, collection, text)?;
    let id = ResourceId::parse(id).map_err(|bad| wrong(field, collection, bad))?;
    Ok(Name { project, id })
}

/// Reads the name of an account: a full name, an id, or a mailbox address.
pub(super) fn account(field: &'static str, text: &str) -> Result<(ProjectId, AccountName), Error> {
    let (project, id) = split(field, "accounts", text)?;
    let name = if id.contains('@') {
        Mailbox::parse(id).map(AccountName::Mailbox)
    } else {
        ResourceId::parse(id).map(AccountName::Id)
    };
    Ok((project, name.map_err(|bad| wrong(field, "accounts", bad))?))
}

/// Reads the name of a credential: its full name, or its key id alone.
pub(super) fn credential(field: &'static str, text: &str) -> Result<(ProjectId, String), Error> {
    let id = text.rsplit_once('/').map_or(text, |(_, id)| id);
    let project = match text.strip_prefix("projects/") {
        Some(rest) => project(field, rest.split('/').next().unwrap_or_default())?,
        None => ProjectId::default_project(),
    };
    let plain = !id.is_empty() && id.len() <= 32 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain {
        let remedy =
            "use projects/{project}/accounts/{account}/credentials/{credential}, or the id";
        return Err(Error::invalid(field, remedy));
    }
    Ok((project, id.to_owned()))
}

/// Reads the name of a mail session, or its id alone.
pub(super) fn session(field: &'static str, text: &str) -> Result<(ProjectId, SessionId), Error> {
    let (project, id) = split(field, "sessions", text)?;
    let unknown = || Error::invalid(field, "use projects/{project}/sessions/{session}, or the id");
    Ok((project, SessionId::parse(id).ok_or_else(unknown)?))
}

fn split<'a>(
    field: &'static str,
    collection: &'static str,
    text: &'a str,
) -> Result<(ProjectId, &'a str), Error> {
    let Some(rest) = text.strip_prefix("projects/") else {
        return Ok((ProjectId::default_project(), text));
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        [owner, found, id] if *found == collection => Ok((project(field, owner)?, id)),
        _ => Err(Error::invalid(field, format!("use projects/{{project}}/{collection}/{{id}}"))),
    }
}

fn wrong(field: &'static str, collection: &'static str, bad: BadName) -> Error {
    Error::invalid(field, format!("not a name in {collection}: {bad}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_project_may_be_left_out() {
        let short = resource("name", "apps", "google").unwrap();
        assert_eq!(short, resource("name", "apps", "projects/default/apps/google").unwrap());
        assert_eq!(project("parent", "").unwrap().as_str(), "default");
    }

    #[test]
    fn an_account_goes_by_its_mailbox_too() {
        let (_, name) = account("account", "projects/default/accounts/Ann@example.com").unwrap();
        assert_eq!(name, AccountName::Mailbox(Mailbox::parse("ann@example.com").unwrap()));
    }

    #[test]
    fn a_name_of_another_collection_is_told_from_ours() {
        let told = resource("name", "apps", "projects/default/accounts/x").unwrap_err().to_string();
        assert!(told.contains("projects/{project}/apps/{id}"), "{told}");
    }

    #[test]
    fn a_credential_goes_by_its_id_alone() {
        let full = "projects/p/accounts/a/credentials/abc234";
        assert_eq!(credential("name", full).unwrap().1, "abc234");
        assert!(credential("name", "a b").is_err());
    }
}
