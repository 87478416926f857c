//! Services and adapters: made, revoked and made anew, with other keys, with fewer rights and with all again.
//!
//! A caller or key that was taken never comes back; another takes its place. Next: [`super::switches`].

use std::sync::Arc;

use rand::RngExt;
use token_broker_client::v1;
use tokio::sync::OwnedMutexGuard;

use super::clients::Key;
use super::desk::{Change, Desk};
use super::game::When;
use super::hand::{Hand, labels};
use super::history::Kind;
use super::passwords::renewals;
use super::stage::{ApiKey, Caller, LABELS, PROTOCOLS, Question, Slot, Stage};

impl Desk {
    /// Makes a service or adapter with all rights.
    pub(super) async fn make_a_caller(&mut self, is_service: bool) -> Option<Caller> {
        let role = if is_service { v1::CallerRole::Service } else { v1::CallerRole::Adapter };
        let caller = v1::Caller { role: role.into(), ..allowed(is_service, None) };
        let game = Arc::clone(&self.game);
        // An attempt without an answer may have taken its name.
        let create =
            |hand: Hand| hand.create_caller(format!("caller-{}", game.number()), caller.clone());
        let (made, when) = self.insist(Change::give("create", &[]), create).await?;
        let name = made.caller.map(|it| it.name).unwrap_or_default();
        let kind = if is_service { Kind::Service } else { Kind::Adapter };
        let subject = self.game.made(kind, &name, when);
        let key = self.new_key(&made.api_key, when)?;
        let count = if is_service { LABELS } else { PROTOCOLS.len() };
        let rights = (0..count).map(|number| {
            let kind = if is_service { Kind::Right } else { Kind::Protocol };
            self.game.made(kind, &format!("{number} of {name}"), when)
        });
        Some(Caller { rights: rights.collect(), id: name.into(), subject, key })
    }

    pub(super) async fn revoke_a_caller(&mut self, is_service: bool) {
        let Some((place, old, _turn)) = self.a_caller(is_service).await else { return };
        let (name, of) = (old.id.to_string(), [old.subject]);
        let questions = self.of_caller(is_service, &old, None);
        let revoke = |hand: Hand| hand.revoke_caller(name.clone());
        if self.insist(Change::take("revoke", &of), revoke).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        if self.dice.random_range(0..2) == 0 {
            let delete = |hand: Hand| hand.delete_caller(name.clone());
            self.insist(Change::take("delete", &of), delete).await;
        }
        if let Some(new) = self.make_a_caller(is_service).await {
            slots(&mut self.game.stage(), is_service)[place].put(new);
        }
    }

    pub(super) async fn replace_a_key(&mut self, is_service: bool) {
        let Some((place, old, _turn)) = self.a_caller(is_service).await else { return };
        let name = old.id.to_string();
        let create = |hand: Hand| hand.create_key(name.clone());
        let Some((made, when)) = self.insist(Change::give("create", &[]), create).await else {
            return;
        };
        let Some(key) = self.new_key(&made.api_key, when) else { return };
        let new = Caller { key, ..old.clone() };
        slots(&mut self.game.stage(), is_service)[place].put(new);
        self.leave_it().await;
        let questions = self.of_caller(is_service, &old, None);
        let revoke = |hand: Hand| hand.revoke_key(name.clone(), old.key.id.to_string());
        if self.insist(Change::take("revoke", &[old.key.subject]), revoke).await.is_some() {
            self.probe(questions);
        }
    }

    /// Takes a service's right to the accounts with a label, and gives it back.
    pub(super) async fn narrow_a_service(&mut self) {
        let label = self.dice.random_range(0..LABELS);
        self.narrow(true, label, "rights").await;
    }

    /// Takes an adapter's right to a protocol, and gives it back.
    pub(super) async fn narrow_an_adapter(&mut self) {
        let protocol = self.dice.random_range(0..PROTOCOLS.len());
        self.narrow(false, protocol, "protocols").await;
    }

    async fn narrow(&mut self, is_service: bool, number: usize, field: &'static str) {
        let Some((_, old, _turn)) = self.a_caller(is_service).await else { return };
        let of = [old.rights[number]];
        let questions = self.of_caller(is_service, &old, Some(number));
        let all = v1::Caller { name: old.id.to_string(), ..allowed(is_service, None) };
        let fewer = v1::Caller { name: old.id.to_string(), ..allowed(is_service, Some(number)) };
        let narrow = |hand: Hand| hand.update_caller(fewer.clone(), field);
        if self.insist(Change::take("narrow", &of), narrow).await.is_some() {
            self.probe(questions);
        }
        self.leave_it().await;
        let widen = |hand: Hand| hand.update_caller(all.clone(), field);
        self.insist(Change::give("widen", &of), widen).await;
    }

    /// Some caller that nobody is at.
    async fn a_caller(&mut self, is_service: bool) -> Option<(usize, Caller, OwnedMutexGuard<()>)> {
        let one = |desk: &mut Self| {
            let turns = &desk.game.turns;
            let turns = if is_service { &turns.services } else { &turns.adapters };
            let place = desk.dice.random_range(0..turns.len());
            let turn = Arc::clone(&turns[place]).try_lock_owned().ok()?;
            let caller = slots(&mut desk.game.stage(), is_service)[place].now.clone()?;
            Some((place, caller, turn))
        };
        self.turn(one).await
    }

    /// What a caller can ask: tokens, or a login and renewals; if `number` is given, by that right.
    fn of_caller(
        &mut self,
        is_service: bool,
        caller: &Caller,
        number: Option<usize>,
    ) -> Vec<Question> {
        let dice = &mut self.dice;
        let mut stage = self.game.stage();
        if is_service {
            let fits = |at: &usize| number.is_none_or(|it| stage.accounts[*at].label == it);
            let accounts: Vec<usize> = (0..stage.accounts.len()).filter(fits).collect();
            let some = accounts.get(dice.random_range(0..accounts.len().max(1)));
            return some.map(|at| stage.token(caller, &[*at])).into_iter().collect();
        }
        let subject = number.map_or(caller.subject, |number| caller.rights[number]);
        let mut questions = renewals(&mut stage, subject);
        let account = stage.accounts[dice.random_range(0..stage.accounts.len())].clone();
        let protocol = number.unwrap_or(0);
        let password = account.passwords.iter().find_map(|it| it.now.as_ref());
        questions.extend(password.map(|it| stage.login_with(caller, (&account, it), protocol)));
        questions
    }

    fn new_key(&self, key: &str, when: When) -> Option<ApiKey> {
        let id = key.split('_').nth(1)?;
        let shown: Key = format!("Bearer {key}").parse().ok()?;
        Some(ApiKey { subject: self.game.made(Kind::Key, id, when), shown, id: id.into() })
    }
}

/// The services or the adapters.
fn slots(stage: &mut Stage, is_service: bool) -> &mut Vec<Slot<Caller>> {
    if is_service { &mut stage.services } else { &mut stage.adapters }
}

/// All rights of a service or adapter, but for one.
fn allowed(is_service: bool, but: Option<usize>) -> v1::Caller {
    let left = |count: usize| (0..count).filter(move |number| Some(*number) != but);
    if !is_service {
        let protocols = left(PROTOCOLS.len()).map(|number| PROTOCOLS[number].into()).collect();
        return v1::Caller { protocols, ..Default::default() };
    }
    let right = |number| v1::Right {
        accounts: Some(v1::AccountSelector { labels: labels(number), ..Default::default() }),
        audiences: vec!["mail".to_owned()],
        ..Default::default()
    };
    v1::Caller { rights: left(LABELS).map(right).collect(), ..Default::default() }
}
