//! What is done to the brokers: stopped for less and for more than a lease, cut off on either side, killed.
//!
//! One broker at least is always left alone. Invariant: each harm stands in the history with its whole time. Next:
//! [`super::rounds`].

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::game::Game;
use super::history::{Fault, Harm, Micros};
use super::plan::BROKERS;
use crate::world::House;

/// Brokers that are harmed at the same time.
const AT_ONCE: usize = BROKERS - 1;
/// Shortest and longest time between two beginnings, in milliseconds.
const BETWEEN_MS: (u64, u64) = (400, 2400);
/// A broker that cannot start, because another stopped in the middle of its turn, is started again.
const STARTS: usize = 5;

/// The one who does it.
#[derive(Debug)]
pub(super) struct Faults {
    dice: StdRng,
    wounds: [Option<Wound>; BROKERS],
    next: Micros,
    /// Each harm once, before the dice decide.
    first: VecDeque<Harm>,
}

#[derive(Clone, Copy, Debug)]
struct Wound {
    harm: Harm,
    from: Micros,
    until: Micros,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        let first = [Harm::LongPause, Harm::NoStore, Harm::Kill, Harm::NoClients, Harm::ShortPause];
        Self {
            dice: StdRng::seed_from_u64(seed),
            wounds: [None; BROKERS],
            next: 0,
            first: first.into(),
        }
    }

    /// Ends what has lasted long enough and begins what it is time for.
    pub(super) async fn step(&mut self, house: &mut House, game: &Game) -> Result<()> {
        for broker in 0..BROKERS {
            match self.wounds[broker] {
                Some(wound) if game.now() >= wound.until => self.heal(house, game, broker).await?,
                Some(Wound { harm: Harm::Kill, .. }) => {}
                _ => {
                    let process = house.replica(broker)?.process()?;
                    let ended = process.ended();
                    ensure!(ended.is_none(), "a broker died: {ended:?}\n{}", process.tail());
                }
            }
        }
        let hurt = self.wounds.iter().flatten().count();
        if game.now() >= self.next && hurt < AT_ONCE {
            self.hurt(house, game).await?;
            let (least, most) = BETWEEN_MS;
            self.next = game.now() + self.dice.random_range(least..most) * 1000;
        }
        Ok(())
    }

    /// Whether each harm was done once.
    pub(super) fn has_done_all(&self) -> bool {
        self.first.is_empty()
    }

    /// Ends everything.
    pub(super) async fn heal_all(&mut self, house: &mut House, game: &Game) -> Result<()> {
        for broker in 0..BROKERS {
            self.heal(house, game, broker).await?;
        }
        Ok(())
    }

    async fn hurt(&mut self, house: &mut House, game: &Game) -> Result<()> {
        let whole: Vec<usize> = (0..BROKERS).filter(|it| self.wounds[*it].is_none()).collect();
        let broker = whole[self.dice.random_range(0..whole.len())];
        let harm = self.first.pop_front().unwrap_or_else(|| thrown(self.dice.random_range(0..100)));
        let (least, most) = lasts_ms(harm);
        let from = game.now();
        let until = from + self.dice.random_range(least..most) * 1000;
        self.wounds[broker] = Some(Wound { harm, from, until });
        game.set_harmed(broker, true);
        match harm {
            Harm::ShortPause | Harm::LongPause => house.replica(broker)?.process()?.signal("STOP"),
            Harm::NoStore => house.replica(broker)?.cable()?.cut(),
            Harm::NoClients => game.brokers[broker].cut(),
            Harm::Kill => house.replica(broker)?.process()?.kill(),
        }
        Ok(())
    }

    async fn heal(&mut self, house: &mut House, game: &Game, broker: usize) -> Result<()> {
        let Some(Wound { harm, from, .. }) = self.wounds[broker].take() else { return Ok(()) };
        match harm {
            Harm::ShortPause | Harm::LongPause => house.replica(broker)?.process()?.signal("CONT"),
            Harm::NoStore => house.replica(broker)?.cable()?.mend(),
            Harm::NoClients => game.brokers[broker].mend(),
            Harm::Kill => start(house, broker).await?,
        }
        game.set_harmed(broker, false);
        let number = game.brokers[broker].number;
        let fault = Fault { broker: number, harm, from, to: game.now() };
        game.history().faults.push(fault);
        Ok(())
    }
}

async fn start(house: &mut House, broker: usize) -> Result<()> {
    let mut left = STARTS;
    loop {
        left -= 1;
        match house.replica(broker)?.open().await {
            Err(_) if left > 0 => {}
            opened => return opened,
        }
    }
}

/// Kills are rare: each costs the time of a start.
const fn thrown(of_a_hundred: u32) -> Harm {
    match of_a_hundred {
        0..44 => Harm::ShortPause,
        44..48 => Harm::LongPause,
        48..70 => Harm::NoStore,
        70..93 => Harm::NoClients,
        _ => Harm::Kill,
    }
}

/// How long it lasts at least and at most, in milliseconds. A broker is silent after 15 seconds.
const fn lasts_ms(harm: Harm) -> (u64, u64) {
    match harm {
        Harm::ShortPause => (20, 2_000),
        Harm::LongPause => (16_000, 19_000),
        Harm::NoStore => (50, 4_000),
        Harm::NoClients => (50, 3_000),
        Harm::Kill => (0, 800),
    }
}
