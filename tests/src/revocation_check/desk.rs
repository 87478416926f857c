//! The operators: each takes a right, has somebody ask with it everywhere at once, and gives it back after a while.
//!
//! An operator repeats a change until it is acknowledged; each attempt stands in the history by itself. Invariant: a thing is
//! changed by one operator at a time, so its changes do not overlap, but for those that were lost. Next: the acts, in
//! [`super::passwords`], [`super::accounts`], [`super::callers`] and [`super::switches`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use token_broker_client::v1::ErrorReason;
use tokio::task::JoinSet;

use super::clients::Told;
use super::game::{Game, When};
use super::hand::Hand;
use super::history::Subject;
use super::load;
use super::stage::Question;

/// Longest wait between two acts of an operator.
const THINK_MS: u64 = 150;
/// Longest time that a right is gone before it is given back.
const GONE_MS: u64 = 300;
/// After an attempt without a certain answer.
const AGAIN: Duration = Duration::from_millis(100);
/// How often and how long an operator waits for something that another is at.
const TURNS: usize = 100;
const TURN: Duration = Duration::from_millis(20);
/// Attempts that were certainly refused, before an act is given up.
const REFUSALS: usize = 20;

/// An operator at work.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) game: Arc<Game>,
    pub(super) dice: StdRng,
    probes: JoinSet<()>,
}

/// What a change is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) takes: bool,
    pub(super) what: &'static str,
    pub(super) of: &'a [Subject],
}

impl<'a> Change<'a> {
    pub(super) const fn take(what: &'static str, of: &'a [Subject]) -> Self {
        Self { takes: true, what, of }
    }

    pub(super) const fn give(what: &'static str, of: &'a [Subject]) -> Self {
        Self { takes: false, what, of }
    }
}

/// How often each act is done in a hundred, in the order of [`Desk::act`].
const SHARES: [usize; 14] = [16, 12, 14, 6, 5, 8, 4, 5, 5, 4, 4, 7, 5, 5];

/// Works until it is over. Whatever the dice say, the operator with this number begins with the act of this number.
pub(super) async fn work(game: Arc<Game>, seed: u64, number: usize) {
    let mut desk = Desk::new(game, seed);
    let mut act = number % SHARES.len();
    while !desk.game.is_over() {
        desk.act(act).await;
        while desk.probes.try_join_next().is_some() {}
        let think = Duration::from_millis(desk.dice.random_range(0..THINK_MS));
        tokio::time::sleep(think).await;
        let mut thrown = desk.dice.random_range(0..SHARES.iter().sum());
        act = SHARES.iter().take_while(|share| subtract(&mut thrown, **share)).count();
    }
    while desk.probes.join_next().await.is_some() {}
}

/// Takes `share` off, if there is as much.
fn subtract(left: &mut usize, share: usize) -> bool {
    let enough = *left >= share;
    *left -= if enough { share } else { 0 };
    enough
}

impl Desk {
    async fn act(&mut self, number: usize) {
        match number {
            0 => self.revoke_a_password().await,
            1 => self.rotate_a_password().await,
            2 => self.disable_an_account().await,
            3 => self.revoke_an_account().await,
            4 => self.delete_an_account().await,
            5 => self.unlabel_an_account().await,
            6 => self.disable_an_app().await,
            7 => self.revoke_a_caller(true).await,
            8 => self.revoke_a_caller(false).await,
            9 => self.replace_a_key(true).await,
            10 => self.replace_a_key(false).await,
            11 => self.narrow_a_service().await,
            12 => self.narrow_an_adapter().await,
            _ => self.end_a_session().await,
        }
    }

    /// Waits for the turn of something that is in another's hands, but not for ever: then another act may be possible.
    pub(super) async fn turn<T>(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..TURNS {
            if let Some(turn) = take(self) {
                return Some(turn);
            }
            tokio::time::sleep(TURN).await;
        }
        None
    }

    pub(super) fn new(game: Arc<Game>, seed: u64) -> Self {
        Self { game, dice: StdRng::seed_from_u64(seed), probes: JoinSet::new() }
    }

    /// Does something at some broker, again and again until that is acknowledged. `None` if it cannot be done, or not in
    /// time.
    pub(super) async fn insist<T, F: Future<Output = Told<T>>>(
        &mut self,
        change: Change<'_>,
        act: impl Fn(Hand) -> F,
    ) -> Option<(T, When)> {
        let mut refusals = 0;
        while !self.game.is_hopeless() {
            let (told, when) = self.attempt(change, &act).await;
            match told {
                Told::Done(value) => return Some((value, when)),
                Told::Refused(ErrorReason::NotFound) => return None,
                Told::Refused(_) if refusals == REFUSALS => return None,
                Told::Refused(_) => refusals += 1,
                Told::Open => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
        None
    }

    /// Does something at some broker, once.
    pub(super) async fn attempt<T, F: Future<Output = Told<T>>>(
        &mut self,
        Change { takes, what, of }: Change<'_>,
        act: impl Fn(Hand) -> F,
    ) -> (Told<T>, When) {
        let game = &self.game;
        let mut broker = self.dice.random_range(0..game.brokers.len());
        // Few acts are to be lost; most would be, at a broker that is stopped or cut off.
        while game.is_harmed(broker) && self.dice.random_range(0..8) > 0 {
            broker = self.dice.random_range(0..game.brokers.len());
        }
        let broker = &game.brokers[broker];
        let begun = game.now();
        let told = act(Hand::new(broker.admin())).await;
        let when = When { begun, ended: game.now(), broker: broker.number };
        match told {
            Told::Done(_) => game.changed(of, (takes, what), when, true),
            Told::Open => game.changed(of, (takes, what), when, false),
            // It is certain that nothing was changed.
            Told::Refused(_) => game.changed(&[], (takes, what), when, true),
        }
        (told, when)
    }

    /// A right was taken: has all brokers asked at once, while it is gone and somebody may remember it.
    pub(super) fn probe(&mut self, questions: Vec<Question>) {
        for question in questions {
            for broker in 0..self.game.brokers.len() {
                // One that is stopped would collect them.
                let Ok(room) = Arc::clone(&self.game.probes).try_acquire_owned() else { return };
                let (game, question) = (Arc::clone(&self.game), question.clone());
                self.probes.spawn(async move {
                    load::ask(&game, broker, question).await;
                    drop(room);
                });
            }
        }
    }

    /// Leaves a right gone for a while.
    pub(super) async fn leave_it(&mut self) {
        let gone = Duration::from_millis(self.dice.random_range(0..GONE_MS));
        tokio::time::sleep(gone).await;
    }
}
