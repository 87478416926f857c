//! The right to the keys of the instance: for its administrators, not for operators.
//!
//! Never a project's right: the keys seal the secrets of all. Next: the key verbs take the permit.

use super::caller::{Caller, Manage, NotPermitted};
use super::ids::ProjectId;

/// A permit to look after the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepKeys(Manage);

impl Caller {
    /// Asks for the right to look after the keys.
    ///
    /// # Errors
    /// [`NotPermitted`] unless the caller is an admin of the first project.
    pub fn may_keep_keys(&self) -> Result<KeepKeys, NotPermitted> {
        let permit = self.may_manage_callers(&ProjectId::default_project())?;
        Ok(KeepKeys(permit.manage().clone()))
    }
}

impl KeepKeys {
    /// Who acts, for the audit.
    pub const fn manage(&self) -> &Manage {
        &self.0
    }
}
