//! All that is known of an account's refreshes at one moment, for people to look at.
//!
//! Never decides what happens: `refresh` does, and this asks the same functions. Invariant: a refresh that this very process
//! has under way is no doubt; everything else that was sent without an answer is. Next: `diagnosis.rs` puts it into words.

use crate::clock::Time;
use crate::domain::grant::Attempt;
use crate::domain::refresh::schedule::is_warm;
use crate::domain::refresh::{Ledger, RefreshState, Rules};

/// What is known.
#[derive(Clone, Debug)]
pub struct Chart {
    /// How the refresh stands in the store.
    pub state: RefreshState,
    /// What decisions are made on.
    pub ledger: Ledger,
    /// The generations that have bought a token.
    pub proven: Vec<i64>,
    /// The newest attempts that did not work or run still, newest first.
    pub attempts: Vec<Attempt>,
    /// What holds at the provider; `None` if the app's settings cannot be understood any more.
    pub rules: Option<Rules>,
    /// This process, as attempts name their owner.
    pub replica: String,
    /// When all this was read.
    pub at: Time,
}

impl Chart {
    /// Since when a generation is sent without an answer, if it is.
    pub fn unanswered(&self, generation: i64) -> Option<Time> {
        let since = self.ledger.doubt(generation)?;
        let ours = |attempt: &Attempt| {
            attempt.generation == generation
                && attempt.started_at == since
                && attempt.ended_at.is_none()
                && attempt.owner == self.replica
        };
        (!self.attempts.iter().any(ours)).then_some(since)
    }

    /// Since when the newest refresh token may be spent and its successor lost, if that is so.
    pub fn in_doubt_since(&self) -> Option<Time> {
        let rules = self.rules.as_ref()?;
        let since = self.unanswered(self.ledger.newest()?.number)?;
        self.ledger.is_in_doubt(rules, self.at).then_some(since)
    }

    /// Whether tokens of the account are asked for.
    pub fn is_warm(&self) -> bool {
        self.ledger.tokens.iter().any(|token| is_warm(token, self.at))
    }

    /// When the newest grant ends unless it is used, if the provider said so.
    pub fn grant_ends_at(&self) -> Option<Time> {
        self.ledger.newest()?.ends_at
    }

    /// Who is refreshing the account now, if somebody is.
    pub fn held_by(&self) -> Option<&str> {
        let lease = &self.state.lease;
        (!lease.left.is_zero()).then_some(lease.owner.as_str())
    }

    /// Before this moment only an operator tries; `None` if it is past.
    pub fn not_before(&self) -> Option<Time> {
        Some(self.ledger.not_before).filter(|until| *until > self.at)
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Charts for tests.

    use super::*;
    use crate::domain::app::Rotation;
    use crate::domain::ids::{AccountId, AttemptId};
    use crate::domain::refresh::samples::{ledger, rules};
    use crate::entropy::Entropy;

    /// An account that works, with a token that nobody asked for.
    pub(crate) fn chart(rotation: Rotation, at: Time) -> Chart {
        Chart {
            state: RefreshState::default(),
            ledger: ledger(),
            proven: Vec::new(),
            attempts: Vec::new(),
            rules: Some(rules(rotation)),
            replica: "here".to_owned(),
            at,
        }
    }

    /// An attempt of `owner` with the generation, without an end.
    pub(crate) fn attempt(generation: i64, owner: &str, started_at: Time) -> Attempt {
        let entropy = Entropy::seeded(7);
        Attempt {
            id: AttemptId::new(started_at, &entropy),
            account: AccountId::new(started_at, &entropy),
            audience: "mail".to_owned(),
            generation,
            owner: owner.to_owned(),
            started_at,
            ended_at: None,
            outcome: String::new(),
            code: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{attempt, chart};
    use super::*;
    use crate::domain::app::Rotation;
    use crate::domain::refresh::Doubt;
    use crate::domain::refresh::samples::at;

    fn sent(owner: &str, rotation: Rotation) -> Chart {
        let mut chart = chart(rotation, at(110));
        chart.ledger.doubts = vec![Doubt { generation: 1, since: at(100) }];
        chart.attempts = vec![attempt(1, owner, at(100))];
        chart
    }

    #[test]
    fn what_this_process_has_under_way_is_no_doubt() {
        assert_eq!(sent("here", Rotation::Strict).in_doubt_since(), None);
        assert_eq!(sent("elsewhere", Rotation::Strict).in_doubt_since(), Some(at(100)));
    }

    #[test]
    fn an_older_answer_that_never_came_stays_a_doubt_while_a_new_one_is_under_way() {
        let mut again = sent("gone", Rotation::Strict);
        again.attempts.insert(0, attempt(1, "here", at(105)));
        assert_eq!(again.in_doubt_since(), Some(at(100)));
    }

    #[test]
    fn where_sending_again_is_safe_there_is_no_doubt_but_it_is_known() {
        let chart = sent("gone", Rotation::Replace);
        assert_eq!((chart.in_doubt_since(), chart.unanswered(1)), (None, Some(at(100))));
    }
}
