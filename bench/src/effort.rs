//! How long and how often things are measured.

use std::time::Duration;

/// Bounds of a scenario, in count and time.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Runs of which the median and the spread are told.
    pub runs: usize,
    /// Before what counts.
    pub warm_up: Duration,
    /// What counts of one run.
    pub measured: Duration,
    /// Sizes are a fraction of the real ones (`idle`'s sessions, `grow`'s channels): for `quick` and for CI.
    pub is_small: bool,
}

impl Effort {
    /// For figures that are believed: medians of five.
    pub const FULL: Self = Self {
        runs: 5,
        warm_up: Duration::from_millis(1_000),
        measured: Duration::from_secs(3),
        is_small: false,
    };
    /// For a look.
    pub const QUICK: Self = Self {
        runs: 3,
        warm_up: Duration::from_millis(300),
        measured: Duration::from_millis(1_000),
        is_small: true,
    };
    /// To see that everything still runs; its figures say nothing.
    pub const SMOKE: Self = Self {
        runs: 1,
        warm_up: Duration::from_millis(50),
        measured: Duration::from_millis(200),
        is_small: true,
    };

    /// The full size, or the small one.
    pub fn size(&self, full: usize, small: usize) -> usize {
        if self.is_small { small } else { full }
    }
}
