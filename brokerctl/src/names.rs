//! Short names for people, full names for the broker.
//!
//! Never looks anything up. Invariant: what has a slash is a full name already and stays as it is.

/// The full name of the thing `id` of a `collection` such as `apps`.
pub(crate) fn full(project: &str, collection: &str, id: &str) -> String {
    if id.contains('/') { id.to_owned() } else { format!("projects/{project}/{collection}/{id}") }
}

/// An account's full name; a mailbox address stays one, the broker knows whose it is.
pub(crate) fn account(project: &str, id: &str) -> String {
    if id.contains('@') && !id.contains('/') {
        id.to_owned()
    } else {
        full(project, "accounts", id)
    }
}

/// The project's own name.
pub(crate) fn project(project: &str) -> String {
    if project.contains('/') { project.to_owned() } else { format!("projects/{project}") }
}

/// The last part of a name: what people type.
pub(crate) fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_grow_and_full_ones_and_mailboxes_stay() {
        assert_eq!(full("default", "apps", "work"), "projects/default/apps/work");
        assert_eq!(full("default", "apps", "projects/x/apps/y"), "projects/x/apps/y");
        assert_eq!(account("default", "ann@example.com"), "ann@example.com");
        assert_eq!(account("p", "ann"), "projects/p/accounts/ann");
        assert_eq!(id("projects/p/accounts/ann"), "ann");
    }
}
