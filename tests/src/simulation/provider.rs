//! The provider, who knows the truth: each token it ever issued, to whom, whether it was spent, and what it would still take.
//!
//! Never knows what the broker stored. Invariant: a token belongs to one account and one grant for ever. Next: `call`.

use token_broker::domain::app::Rotation;

use super::plan::{AppPlan, GRACE};

/// A refresh token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) family: usize,
    pub(super) spent_at: Option<i64>,
    /// It was refused once although it lives; not again before the broker has an answer for it.
    pub(super) slandered: bool,
}

/// What one consent brought, and all that came of it.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) account: usize,
    pub(super) alive: bool,
    /// Its owner took it back.
    pub(super) revoked: bool,
}

/// An access token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) account: usize,
    pub(super) family: usize,
    pub(super) ends_at: i64,
}

/// An answer with tokens in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// None if the answer had none: the old one lives on.
    pub(super) refresh: Option<usize>,
    pub(super) access: usize,
}

/// One app as the provider sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct AppState {
    pub(super) secret_ok: bool,
    /// It asked for silence until then.
    pub(super) silent_until: i64,
    /// Calls that were refused for the app's sake since the secret ended.
    pub(super) refused: u32,
    /// When the secret ended.
    pub(super) expired_at: i64,
}

/// The provider.
#[derive(Debug, Default)]
pub(super) struct Provider {
    pub(super) tokens: Vec<Token>,
    pub(super) families: Vec<Family>,
    pub(super) accesses: Vec<Access>,
    pub(super) apps: Vec<AppState>,
    /// Until when each endpoint is away, and how.
    pub(super) outages: Vec<(i64, usize)>,
}

impl Provider {
    /// A consent: a new grant, its first tokens.
    pub(super) fn consent(&mut self, account: usize, life: i64, now: i64) -> Answer {
        self.families.push(Family { account, alive: true, revoked: false });
        let family = self.families.len() - 1;
        let refresh = Some(self.issue(family));
        Answer { refresh, access: self.issue_access(family, life, now) }
    }

    /// Whether it would take this token now.
    pub(super) fn takes(&self, token: usize, plan: &AppPlan, now: i64) -> bool {
        let token = &self.tokens[token];
        let fresh = match (plan.rotation, token.spent_at) {
            (Rotation::None | Rotation::Replace, _) | (_, None) => true,
            (Rotation::Grace, Some(spent_at)) => now < spent_at + GRACE,
            (Rotation::Strict, Some(_)) => false,
        };
        fresh && self.families[token.family].alive
    }

    /// Takes a token for new ones, or refuses it; `silent` if the answer shall hold no refresh token.
    pub(super) fn exchange(
        &mut self,
        token: usize,
        plan: &AppPlan,
        silent: bool,
        now: i64,
    ) -> Option<Answer> {
        let family = self.tokens[token].family;
        if !self.takes(token, plan, now) {
            if plan.kills_on_reuse && self.tokens[token].spent_at.is_some() {
                self.families[family].alive = false;
            }
            return None;
        }
        let refresh = match plan.rotation {
            // Whoever rotates says so again when asked again.
            _ if silent && self.tokens[token].spent_at.is_none() => None,
            Rotation::None => None,
            Rotation::Replace => Some(self.issue(family)),
            Rotation::Grace | Rotation::Strict => {
                self.tokens[token].spent_at.get_or_insert(now);
                Some(self.issue(family))
            }
        };
        Some(Answer { refresh, access: self.issue_access(family, plan.life, now) })
    }

    /// The owner takes everything back.
    pub(super) fn revoke(&mut self, account: usize) {
        for family in self.families.iter_mut().filter(|family| family.account == account) {
            (family.alive, family.revoked) = (false, true);
        }
    }

    /// Whether a resource takes this access token.
    pub(super) fn is_good(&self, access: usize, now: i64) -> bool {
        let access = &self.accesses[access];
        access.ends_at > now && self.families[access.family].alive
    }

    fn issue(&mut self, family: usize) -> usize {
        self.tokens.push(Token { family, spent_at: None, slandered: false });
        self.tokens.len() - 1
    }

    fn issue_access(&mut self, family: usize, life: i64, now: i64) -> usize {
        let account = self.families[family].account;
        self.accesses.push(Access { account, family, ends_at: now + life * 1000 });
        self.accesses.len() - 1
    }
}
