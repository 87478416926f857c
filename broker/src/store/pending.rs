//! What the jobs of one transaction leave to be written once, before the commit: where the audit chain ends now, and whom to
//! ring for.
//!
//! Never outlives its transaction. Invariant: a job that is undone leaves nothing here. Next: `audit.rs` and `bell.rs` write
//! it, `writer.rs` says when.

use crate::domain::ids::AccountId;

/// Left to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    head: Option<Head>,
    rings: Vec<AccountId>,
    rights: bool,
    mark: (Option<Head>, usize),
}

/// Where the audit chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: i64,
    pub(super) hash: Vec<u8>,
}

impl Pending {
    /// A job begins.
    pub(super) fn mark(&mut self) {
        self.mark = (self.head.clone(), self.rings.len());
    }

    /// Forgets what the job left.
    pub(super) fn undo(&mut self) {
        self.head.clone_from(&self.mark.0);
        self.rings.truncate(self.mark.1);
    }

    /// Where the chain ends, if this transaction has moved it.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The chain ends here now.
    pub(super) fn move_head(&mut self, head: Head) {
        self.head = Some(head);
    }

    /// Something happened to this account.
    pub(super) fn ring(&mut self, account: AccountId) {
        self.rings.push(account);
    }

    /// Rights changed. Stays if the job is undone: a ring for nothing does no harm.
    pub(super) fn ring_rights(&mut self) {
        self.rights = true;
    }

    /// Whether to ring for changed rights; not after that.
    pub(super) fn take_rights(&mut self) -> bool {
        std::mem::take(&mut self.rights)
    }

    /// The accounts to ring for; none after that.
    pub(super) fn take_rings(&mut self) -> Vec<AccountId> {
        std::mem::take(&mut self.rings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_undone_job_left_is_gone_and_the_rest_stays() {
        let head = |sequence| Head { sequence, hash: vec![1] };
        let (kept, undone) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
        let mut pending = Pending::default();
        pending.mark();
        pending.move_head(head(7));
        pending.ring(kept);
        pending.mark();
        pending.move_head(head(8));
        pending.ring(undone);
        pending.undo();
        assert_eq!(pending.head(), Some(&head(7)));
        assert_eq!(pending.take_rings(), [kept]);
    }
}
