//! What is going on, for whoever waits: one bar over all runs of a scenario.

use indicatif::{ProgressBar, ProgressStyle};

/// On stderr, and only where that is a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of as many steps as will be taken by [`Progress::step`].
    pub fn of(scenario: &str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>9} {bar:30} {pos}/{len} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(scenario.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(250));
        Self(bar)
    }

    /// What is being measured from now on; the step before it is done.
    pub fn step(&self, doing: impl Into<String>) {
        self.0.set_message(doing.into());
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
