//! Latencies from many tasks, in a few histograms that are added up at the end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::outcome::Series;

/// With so many, two threads seldom want the same one.
const SHARDS: usize = 16;
/// A minute: what takes longer counts as that.
const LONGEST_MICROSECONDS: u64 = 60_000_000;
/// Two digits are told of a percentile; three are kept.
const DIGITS: u8 = 3;

pub struct Latencies {
    shards: Vec<Mutex<Histogram<u64>>>,
}

impl Latencies {
    pub fn new() -> anyhow::Result<Self> {
        let shard = || Ok(Mutex::new(Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, DIGITS)?));
        Ok(Self { shards: (0..SHARDS).map(|_| shard()).collect::<anyhow::Result<_>>()? })
    }

    /// Notes one; `task` is any number that a task keeps.
    pub fn note(&self, task: usize, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        lock(&self.shards[task % SHARDS]).saturating_record(microseconds);
    }

    /// Forgets everything: the warm-up is over.
    pub fn clear(&self) {
        for shard in &self.shards {
            lock(shard).reset();
        }
    }

    /// All together, which are then forgotten: none is lost between the two.
    pub fn take(&self) -> anyhow::Result<Percentiles> {
        let mut total = Percentiles::none()?;
        for shard in &self.shards {
            let mut shard = lock(shard);
            total.0.add(&*shard)?;
            shard.reset();
        }
        Ok(total)
    }

    /// All together.
    pub fn total(&self) -> anyhow::Result<Percentiles> {
        let mut total = Percentiles::none()?;
        for shard in &self.shards {
            total.0.add(&*lock(shard))?;
        }
        Ok(total)
    }
}

fn lock(shard: &Mutex<Histogram<u64>>) -> MutexGuard<'_, Histogram<u64>> {
    // Whole after every record, so a panic elsewhere has not broken it.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was noted, as a distribution.
pub struct Percentiles(Histogram<u64>);

impl Percentiles {
    /// Of nothing, to [`Percentiles::add`] to.
    pub fn none() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, DIGITS)?))
    }

    /// Milliseconds within which this percentage was done.
    pub fn milliseconds(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1_000.0
    }

    /// Adds what was noted at another time.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// For a plot of percentiles, in milliseconds.
    pub fn series(&self, name: impl Into<String>) -> Series {
        let percentiles =
            [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99];
        let points =
            percentiles.iter().map(|percentile| (*percentile, self.milliseconds(*percentile))).collect();
        Series { name: name.into(), points }
    }
}
