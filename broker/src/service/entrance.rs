//! How many calls of services and adapters are worked on at once, and when those that find no place are to come again.
//!
//! A crowd that comes at once is let in, for it is gone soon. One that stays is not: then no more are let in than are answered
//! within a few milliseconds at the pace of just now, since whoever would wait longer is better off elsewhere. Invariants: a place
//! is held from the door to the answer, so nothing that was worked on is refused for want of room; who waits for a provider
//! holds none, so that a slow one does not shut the door. Those refused are told times one after the other, so that they do
//! not all come back at once and refusing them takes little. Next: `grpc/room.rs` asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a call that is let in should take, apart from what the disk takes.
const AIM: Duration = Duration::from_millis(12);
/// So many are let in however slow it goes.
const LEAST: i64 = 256;
/// And no more than so many, however short the crowd may stay.
const MOST: i64 = 2048;
/// How often the pace is measured.
const GLANCE: Duration = Duration::from_millis(100);
/// Those refused are told to come again no sooner.
const SOONEST: Duration = Duration::from_millis(100);
/// And no later.
const LATEST: Duration = Duration::from_secs(5);
/// They come back at this fraction of the pace.
const SHARE: u64 = 16;
/// And at no less than so many a second.
const LEAST_BACK: u64 = 200;

/// How the decision lane is doing: `None` if its queue is full, else how long a commit takes at best. Not how long the last one
/// took: the more are let in, the more share a commit, and the longer it takes.
type Lane = dyn Fn() -> Option<Duration> + Send + Sync;

/// Microseconds since the start.
type Watch = dyn Fn() -> u64 + Send + Sync;

/// The entrance of a broker. Clones share it.
#[derive(Clone)]
pub struct Entrance(Arc<Inner>);

struct Inner {
    lane: Box<Lane>,
    watch: Box<Watch>,
    working: AtomicI64,
    places: AtomicI64,
    answered: AtomicU64,
    /// Answers a second, of late.
    pace: AtomicU64,
    /// When the pace was measured last, and how many had been answered.
    glanced: AtomicU64,
    counted: AtomicU64,
    /// The fewest that were worked on since.
    fewest: AtomicI64,
    /// Whether anybody was refused since.
    refused: AtomicBool,
    /// When whoever was refused last is to come again.
    promised: AtomicU64,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place(Entrance);

/// Somebody with a place who waits for others and takes none meanwhile.
#[derive(Debug)]
pub struct Outside(Entrance);

impl Entrance {
    /// The entrance of a broker whose decision lane does as this says.
    pub fn new(lane: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        let born = Instant::now();
        Self::by(Box::new(lane), Box::new(move || micros(born.elapsed())))
    }

    fn by(lane: Box<Lane>, watch: Box<Watch>) -> Self {
        Self(Arc::new(Inner {
            lane,
            watch,
            working: AtomicI64::new(0),
            places: AtomicI64::new(MOST),
            answered: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            glanced: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            fewest: AtomicI64::new(0),
            refused: AtomicBool::new(false),
            promised: AtomicU64::new(0),
        }))
    }

    /// A place for a call.
    ///
    /// # Errors
    /// When it should come again, if there is none.
    pub fn enter(&self) -> Result<Place, Duration> {
        let before = self.0.working.fetch_add(1, Ordering::Relaxed);
        if before >= self.0.places.load(Ordering::Relaxed) || (self.0.lane)().is_none() {
            self.0.working.fetch_sub(1, Ordering::Relaxed);
            self.0.refused.store(true, Ordering::Relaxed);
            return Err(self.promise());
        }
        Ok(Place(self.clone()))
    }

    /// Gives a place up as long as the result lives: whoever has it waits for somebody else.
    pub fn step_out(&self) -> Outside {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        Outside(self.clone())
    }

    /// The next time that nobody else was told.
    fn promise(&self) -> Duration {
        let now = (self.0.watch)();
        let back = (self.0.pace.load(Ordering::Relaxed) / SHARE).max(LEAST_BACK);
        let (soonest, latest) = (now + micros(SOONEST), now + micros(LATEST));
        let next = |promised: u64| (promised.max(soonest) + 1_000_000 / back).min(latest);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let promised = self.0.promised.fetch_update(set, fetch, |it| Some(next(it)));
        Duration::from_micros(next(promised.unwrap_or(latest)) - now)
    }

    fn glance(&self) {
        let (now, last) = ((self.0.watch)(), self.0.glanced.load(Ordering::Relaxed));
        let span = now.saturating_sub(last);
        if span < micros(GLANCE) {
            return;
        }
        let (set, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.0.glanced.compare_exchange(last, now, set, failed).is_err() {
            return;
        }
        let answered = self.0.answered.load(Ordering::Relaxed);
        let of_late = answered - self.0.counted.swap(answered, Ordering::Relaxed).min(answered);
        let pace = of_late.saturating_mul(1_000_000) / span;
        self.0.pace.store(pace, Ordering::Relaxed);
        let working = self.0.working.load(Ordering::Relaxed);
        let fewest = self.0.fewest.swap(working, Ordering::Relaxed);
        let refused = self.0.refused.swap(false, Ordering::Relaxed);
        let Some(commit) = (self.0.lane)() else { return };
        let fitting = places(pace, commit);
        // Those who stay are seen by never leaving the place empty, and then by coming back.
        let was_narrow = self.0.places.load(Ordering::Relaxed) < MOST;
        let stays = fewest > fitting || (was_narrow && refused);
        self.0.places.store(if stays { fitting } else { MOST }, Ordering::Relaxed);
    }
}

/// How many calls may be worked on when so many are answered a second and a commit takes so long. Whoever comes during one
/// commit waits for its end and for the next.
fn places(pace: u64, commit: Duration) -> i64 {
    let span = micros(AIM + commit * 2);
    let fitting = pace.saturating_mul(span) / 1_000_000;
    i64::try_from(fitting).unwrap_or(MOST).clamp(LEAST, MOST)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Place {
    fn drop(&mut self) {
        let others = self.0.0.working.fetch_sub(1, Ordering::Relaxed) - 1;
        if others < self.0.0.fewest.load(Ordering::Relaxed) {
            self.0.0.fewest.fetch_min(others, Ordering::Relaxed);
        }
        self.0.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.glance();
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.0.0.working.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (working, places) = (&self.0.working, &self.0.places);
        write!(f, "Entrance({working:?} of {places:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Entrance {
        Entrance::new(|| Some(Duration::ZERO))
    }

    #[test]
    fn there_are_so_many_places_and_one_that_is_given_back_is_free() {
        let entrance = quick();
        let mut places: Vec<_> = (0..MOST).map(|_| entrance.enter().unwrap()).collect();
        entrance.enter().unwrap_err();
        places.pop();
        places.push(entrance.enter().unwrap());
        entrance.enter().unwrap_err();
    }

    #[test]
    fn who_waits_for_somebody_else_holds_no_place() {
        let entrance = quick();
        let _places: Vec<_> = (0..MOST).map(|_| entrance.enter().unwrap()).collect();
        let outside = entrance.step_out();
        let place = entrance.enter().unwrap();
        entrance.enter().unwrap_err();
        drop(outside);
        drop(place);
        entrance.enter().unwrap_err();
    }

    #[test]
    fn a_full_queue_of_decisions_shuts_it() {
        let entrance = Entrance::new(|| None);
        assert!(entrance.enter().is_err());
        assert_eq!(entrance.0.working.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn those_refused_are_told_different_times_up_to_the_latest() {
        let entrance = Entrance::new(|| None);
        let told: Vec<_> = (0..LEAST_BACK * 6).map(|_| entrance.enter().unwrap_err()).collect();
        assert!(told[0] >= SOONEST && told[0] < SOONEST + SOONEST, "{:?}", told[0]);
        let spread = told[99] - told[0];
        assert!(spread > Duration::from_millis(300), "a hundred at once: {spread:?}");
        assert!(told.iter().all(|it| *it <= LATEST));
        assert!(*told.last().unwrap() > LATEST / 2);
    }

    /// An entrance and the watch it goes by.
    struct Scene(Entrance, Arc<AtomicU64>);

    impl Scene {
        /// Answers so many, then lets the time of a glance pass.
        fn answer(&self, places: &mut Vec<Place>, calls: usize) {
            for _ in 0..calls {
                places.pop();
                places.extend(self.0.enter().ok());
            }
            self.1.fetch_add(micros(GLANCE), Ordering::Relaxed);
            places.pop();
        }

        fn places(&self) -> i64 {
            self.0.0.places.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_crowd_that_comes_at_once_is_let_in_and_one_that_stays_is_not() {
        let watch = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&watch);
        let lane = Box::new(|| Some(Duration::ZERO));
        let entrance = Entrance::by(lane, Box::new(move || shown.load(Ordering::Relaxed)));
        let scene = Scene(entrance.clone(), watch);
        let mut places: Vec<_> = (0..1500).map(|_| entrance.enter().unwrap()).collect();
        scene.answer(&mut places, 0);
        assert_eq!(scene.places(), MOST, "it may be gone soon");
        scene.answer(&mut places, 6000);
        assert!((LEAST + 1..=730).contains(&scene.places()), "{} in 12 ms", scene.places());
        entrance.enter().unwrap_err();
        places.truncate(10);
        entrance.enter().unwrap();
        scene.answer(&mut places, 6000);
        assert!(scene.places() < MOST, "somebody was refused, and will come back");
        scene.answer(&mut places, 6000);
        assert_eq!(scene.places(), MOST, "nobody did");
    }

    #[test]
    fn a_slow_disk_is_given_more_at_once() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(20));
        assert!(places(20_000, slow) > 3 * places(20_000, fast));
        assert_eq!(places(10_000_000, slow), MOST);
        assert_eq!(places(0, slow), LEAST);
    }
}
