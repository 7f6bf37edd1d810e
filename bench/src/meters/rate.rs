//! How much of something happens in a second, and how that goes on.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::effort::Effort;
use crate::outcome::Series;

/// Points of a plot over time.
const SAMPLE: Duration = Duration::from_millis(100);

/// One measurement.
pub struct Rate {
    /// Of all that was measured.
    pub per_second: f64,
    /// How many there were.
    pub count: u64,
    /// Seconds since the beginning, and the rate of each tenth of a second.
    pub over_time: Vec<(f64, f64)>,
}

impl Rate {
    /// Lets the warm-up pass, calls `begin`, and watches a counter for as long as the effort says.
    pub async fn of(effort: &Effort, count: impl Fn() -> u64, begin: impl FnOnce()) -> Self {
        tokio::time::sleep(effort.warm_up).await;
        begin();
        Self::during(effort.measured, count).await
    }

    /// Watches a counter from now on.
    pub async fn during(measured: Duration, count: impl Fn() -> u64) -> Self {
        let started = Instant::now();
        let first = count();
        let mut over_time = Vec::new();
        let (mut last, mut last_at) = (first, started);
        while last_at < started + measured {
            sleep_until((last_at + SAMPLE).min(started + measured)).await;
            let (now, now_at) = (count(), Instant::now());
            let rate = (now - last) as f64 / (now_at - last_at).as_secs_f64();
            over_time.push(((now_at - started).as_secs_f64(), rate));
            (last, last_at) = (now, now_at);
        }
        let (count, elapsed) = (last - first, last_at - started);
        Self { per_second: count as f64 / elapsed.as_secs_f64(), count, over_time }
    }

    pub fn series(&self, name: impl Into<String>) -> Series {
        Series { name: name.into(), points: self.over_time.clone() }
    }
}
