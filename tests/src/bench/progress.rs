//! Says what the bench is at, to whoever sits in front of it; nothing where nobody does.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that is gone when it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// So many steps of something.
    pub(super) fn of(what: String, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        let style = "[{elapsed_precise}] {bar:30} {pos}/{len} {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
        Self::shown(bar, what)
    }

    /// Something whose end is not known.
    pub(super) fn spin(what: String) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::shown(bar, what)
    }

    fn shown(bar: ProgressBar, what: String) -> Self {
        bar.set_message(what);
        Self(bar)
    }

    /// So many steps further.
    pub(super) fn step(&self, steps: usize) {
        self.0.inc(steps as u64);
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        self.0.finish_and_clear();
    }
}
