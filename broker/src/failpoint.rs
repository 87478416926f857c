//! Named places where a test may end the process, or leave out a step, to show that the promises hold and can be broken.
//!
//! Never part of a broker built for use: without the feature `failpoints` every function here is empty. Invariant: with the
//! feature, and no plan, nothing happens either. Next: the crash loop in `tests/` names the places.

/// The step is about to be, or has been, taken: dies here if the plan says so.
pub fn reach(name: &str) {
    #[cfg(feature = "failpoints")]
    plan::reach(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// Whether the plan leaves this step out.
pub fn skips(name: &str) -> bool {
    #[cfg(feature = "failpoints")]
    return plan::skips(name);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = name;
        false
    }
}

#[cfg(feature = "failpoints")]
pub use plan::{BadPlan, arm};

#[cfg(feature = "failpoints")]
mod plan {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The text is no plan.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("a failpoint plan is NAME=kill@N or NAME=skip, several of them separated by commas")]
    pub struct BadPlan;

    #[derive(Debug)]
    enum Act {
        /// At the n-th time.
        Kill {
            at: u32,
            seen: AtomicU32,
        },
        Skip,
    }

    static PLAN: OnceLock<Vec<(String, Act)>> = OnceLock::new();

    /// Sets the plan for the rest of the process's life: `refresh.kept=kill@3,refresh.intent=skip`.
    ///
    /// # Errors
    /// [`BadPlan`].
    pub fn arm(text: &str) -> Result<(), BadPlan> {
        let plan = parse(text)?;
        tracing::warn!(plan = text, "failpoints are armed: this broker is under test");
        PLAN.set(plan).map_err(|_| BadPlan)
    }

    fn parse(text: &str) -> Result<Vec<(String, Act)>, BadPlan> {
        let one = |part: &str| {
            let (name, act) = part.split_once('=').ok_or(BadPlan)?;
            let act = match act.split_once('@') {
                None if act == "skip" => Act::Skip,
                Some(("kill", at)) => {
                    Act::Kill { at: at.parse().map_err(|_| BadPlan)?, seen: AtomicU32::new(0) }
                }
                _ => return Err(BadPlan),
            };
            Ok((name.trim().to_owned(), act))
        };
        text.split(',').map(one).collect()
    }

    pub(super) fn reach(name: &str) {
        for (planned, act) in PLAN.get().map(Vec::as_slice).unwrap_or_default() {
            if let (true, Act::Kill { at, seen }) = (planned == name, act)
                && seen.fetch_add(1, Ordering::SeqCst) + 1 == *at
            {
                die();
            }
        }
    }

    pub(super) fn skips(name: &str) -> bool {
        let plan = PLAN.get().map(Vec::as_slice).unwrap_or_default();
        plan.iter().any(|(planned, act)| planned == name && matches!(act, Act::Skip))
    }

    /// As a power cut does: no destructor runs, nothing is flushed.
    fn die() {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).ok();
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_names_places_and_what_happens_there() {
            let plan = parse("refresh.kept=kill@3,refresh.intent=skip").unwrap();
            assert!(matches!(&plan[0], (name, Act::Kill { at: 3, .. }) if name == "refresh.kept"));
            assert!(matches!(&plan[1], (name, Act::Skip) if name == "refresh.intent"));
            for bad in ["", "refresh.kept", "refresh.kept=kill", "refresh.kept=kill@x", "a=burn"] {
                assert_eq!(parse(bad).unwrap_err(), BadPlan, "{bad}");
            }
        }
    }
}
