//! What goes wrong around the refreshes: crashes, pauses, partitions, failovers, clocks, outages.
//!
//! Never touches a token. Invariant: each fault is told to the judge with its span, because some losses are excused by it.
//! Next: `people`, who do things on purpose.

use token_broker::clock::Time;
use token_broker::domain::refresh::flight::Event;

use super::Break;
use super::judge::Kind;
use super::replica::{Mail, Phase};
use super::store::Owner;
use super::world::{Happening, Tx, World};

const HOUR: i64 = 3_600_000;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mend {
    Start(usize),
    /// A planned stop that takes too long is ended.
    Kill(Owner),
    Clock(usize),
    Secret(usize),
}

impl World {
    /// The next fault.
    pub(super) fn something_fails(&mut self) {
        if self.calm {
            return;
        }
        let after = self.chance.pause(self.plan.fault_gap);
        self.push(after, Happening::Fault);
        self.out.faults += 1;
        let replica = self.chance.pick(self.replicas.len());
        match self.chance.pick(13) {
            0..=2 => self.crash(replica),
            3 | 4 => self.pause(replica),
            5 => self.cut(replica),
            6 | 7 => self.store_away(),
            8 => self.stop(replica),
            9 | 10 if self.plan.clocks => self.shift_clock(replica),
            9 => self.stop(replica),
            10 => self.pause(replica),
            _ => self.provider_away(),
        }
    }

    /// Whether something strikes right now, at the worst moment.
    pub(super) fn aims(&mut self) -> bool {
        !self.calm && self.chance.permille(self.plan.aimed)
    }

    /// Strikes a replica in the middle of a refresh.
    pub(super) fn strike(&mut self, replica: usize) {
        self.out.faults += 1;
        match self.chance.pick(10) {
            0..=3 => self.crash(replica),
            4..=7 => self.pause(replica),
            8 => self.cut(replica),
            _ => self.store_away(),
        }
    }

    fn crash(&mut self, replica: usize) {
        if self.replicas[replica].phase != Phase::Down {
            self.go_down(replica);
        }
    }

    /// The process ends: what is in memory is gone, what it asked is not waited for any more.
    pub(super) fn go_down(&mut self, replica: usize) {
        let after = match self.chance.pick(4) {
            0 | 1 => self.chance.within(1_000, 8_000),
            2 => self.chance.within(8_000, 40_000),
            _ => self.chance.within(40_000, 180_000),
        };
        let after = if self.calm { 1_000 } else { after };
        let it = &mut self.replicas[replica];
        it.phase = Phase::Down;
        it.life += 1;
        it.flights.clear();
        it.paused_until = 0;
        if self.broken == Some(Break::ForgetSpill) {
            it.spill.clear();
        }
        self.judge.gone(replica);
        self.judge.disturbed(self.now, self.now + after, Kind::Replica(replica));
        self.say(&format!("r{replica} is down for {after} ms"));
        self.push(after, Happening::Mend(Mend::Start(replica)));
    }

    fn start(&mut self, replica: usize) {
        let now = self.clock(replica);
        let it = &mut self.replicas[replica];
        if it.phase != Phase::Down {
            return;
        }
        it.phase = Phase::Starting;
        it.fresh_gates(&self.plan, now);
        let owner = (replica, it.life);
        self.judge.restarted(replica);
        self.say(&format!("r{replica} starts"));
        self.go_on_starting(owner, true);
    }

    /// Spill files first, then what the last life left open; only then anything else.
    pub(super) fn go_on_starting(&mut self, owner: Owner, went_well: bool) {
        if !went_well {
            let wait = self.chance.within(500, 1_500);
            self.push(wait, Happening::Mail(owner, Mail::StartOn));
            return;
        }
        match self.replicas[owner.0].spill.first().cloned() {
            Some((account, bounty)) => self.submit(owner, Tx::Replay { account, bounty }),
            None => self.submit(owner, Tx::TakeOver),
        }
    }

    fn pause(&mut self, replica: usize) {
        let span = match self.chance.pick(3) {
            0 => self.chance.within(1_000, 15_000),
            1 => self.chance.within(15_000, 40_000),
            _ => self.chance.within(16_000, 200_000),
        };
        let it = &mut self.replicas[replica];
        if it.phase == Phase::Down || it.paused_until > self.now {
            return;
        }
        it.paused_until = self.now + span;
        it.pauses.push((self.now, self.now + span));
        self.judge.disturbed(self.now, self.now + span, Kind::Replica(replica));
        self.say(&format!("r{replica} stands still for {span} ms"));
    }

    fn cut(&mut self, replica: usize) {
        let span = self.chance.within(1_000, 90_000);
        if self.plan.single {
            return self.store_away();
        }
        self.replicas[replica].cut_until = self.now + span;
        self.judge.disturbed(self.now, self.now + span, Kind::Replica(replica));
        self.say(&format!("r{replica} is cut off from the store for {span} ms"));
    }

    /// The store is away, or another takes over, with a clock of its own.
    fn store_away(&mut self) {
        let long = self.chance.permille(200);
        let span = self.chance.within(500, if long { 120_000 } else { 12_000 });
        self.store.down_until = self.now + span;
        if !self.plan.single {
            self.store.skew = self.chance.within(-1_000, 1_000);
        }
        self.judge.disturbed(self.now, self.now + span, Kind::Store);
        self.say(&format!("the store is away for {span} ms"));
    }

    fn stop(&mut self, replica: usize) {
        if self.replicas[replica].phase != Phase::Running {
            return;
        }
        self.replicas[replica].phase = Phase::Stopping;
        let owner = (replica, self.replicas[replica].life);
        self.say(&format!("r{replica} is asked to stop"));
        self.push(30_000, Happening::Mend(Mend::Kill(owner)));
        let flights: Vec<(usize, u64)> =
            self.replicas[replica].flights.iter().map(|(account, it)| (*account, it.id)).collect();
        for of in flights {
            self.send(owner, of, 0, Event::Stop);
        }
        self.stop_when_empty(owner);
    }

    fn shift_clock(&mut self, replica: usize) {
        let skew = [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 40_000, -40_000][self.chance.pick(6)];
        let span = self.chance.within(5_000, 300_000);
        self.set_clock(replica, skew);
        self.judge.disturbed(self.now, self.now + span, Kind::Clock);
        self.push(span, Happening::Mend(Mend::Clock(replica)));
    }

    fn set_clock(&mut self, replica: usize, skew: i64) {
        self.replicas[replica].skew = skew;
        if self.plan.single {
            self.store.skew = skew;
        }
        self.judge.restarted(replica);
        self.say(&format!("the clock of r{replica} is wrong by {skew} ms"));
    }

    fn provider_away(&mut self) {
        let endpoint = self.plan.apps[self.chance.pick(self.plan.apps.len())].endpoint;
        let how = self.chance.pick(3);
        let long = self.chance.permille(200);
        let span = self.chance.within(1_000, if long { 400_000 } else { 60_000 });
        self.provider.outages[endpoint] = (self.now + span, how);
        self.judge.disturbed(self.now, self.now + span, Kind::Provider);
        self.say(&format!("endpoint {endpoint} is away for {span} ms, in way {how}"));
    }

    /// The secret of an app ends, and is replaced some minutes later.
    pub(super) fn secret_ends(&mut self) {
        let app = self.chance.pick(self.plan.apps.len());
        let span = self.chance.within(10_000, 600_000);
        let state = &mut self.provider.apps[app];
        if !state.secret_ok {
            return;
        }
        (state.secret_ok, state.refused, state.expired_at) = (false, 0, self.now);
        // The broker may find out that it was replaced a probe later.
        self.judge.disturbed(self.now, self.now + span + 16 * 60_000, Kind::Provider);
        self.say(&format!("the secret of app {app} ends for {span} ms"));
        self.push(span, Happening::Mend(Mend::Secret(app)));
    }

    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Start(replica) => self.start(replica),
            Mend::Kill(owner) => {
                if self.lives(owner) && self.replicas[owner.0].phase == Phase::Stopping {
                    self.go_down(owner.0);
                }
            }
            Mend::Clock(replica) => self.set_clock(replica, 0),
            Mend::Secret(app) => self.provider.apps[app].secret_ok = true,
        }
    }

    /// All faults end.
    pub(super) fn become_calm(&mut self) {
        self.calm = true;
        self.say("all is well from now on");
        self.store.down_until = self.now;
        for endpoint in &mut self.provider.outages {
            endpoint.0 = endpoint.0.min(self.now);
        }
        for app in &mut self.provider.apps {
            app.secret_ok = true;
        }
        for replica in 0..self.replicas.len() {
            let now = self.now;
            let it = &mut self.replicas[replica];
            it.cut_until = it.cut_until.min(now);
            if it.skew != 0 {
                self.set_clock(replica, 0);
            }
            self.start(replica);
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        if self.is_told() {
            self.tell(line);
        }
    }

    /// The clock of some replica that runs, if any does and the store is there.
    pub(super) fn somebody(&mut self) -> Option<(Owner, Time)> {
        let running: Vec<usize> = (0..self.replicas.len())
            .filter(|at| {
                let it = &self.replicas[*at];
                it.phase == Phase::Running
                    && it.paused_until <= self.now
                    && it.cut_until <= self.now
            })
            .collect();
        if running.is_empty() || self.store.down_until > self.now {
            return None;
        }
        let replica = running[self.chance.pick(running.len())];
        Some(((replica, self.replicas[replica].life), self.clock(replica)))
    }
}
