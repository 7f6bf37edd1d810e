//! When messages are due: at a rate that does not wait for answers, so that a slow server is not asked less.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::random::Random;

/// So many a second, at random moments (a Poisson process): each is for whoever asks next.
pub struct Arrivals {
    mean: Duration,
    schedule: Mutex<Schedule>,
}

struct Schedule {
    last: Instant,
    random: Random,
}

impl Arrivals {
    /// `rate` is above 0; the first is due after `start`. The same moments after it in every run.
    pub fn new(rate: f64, start: Instant) -> Self {
        let schedule = Mutex::new(Schedule { last: start, random: Random::new(0) });
        Self { mean: Duration::from_secs_f64(1.0 / rate), schedule }
    }

    /// When the next one is due that nobody has taken yet. In the past when all were busy.
    pub fn take(&self) -> Instant {
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.mean.mul_f64(-schedule.random.share().ln());
        schedule.last += wait;
        schedule.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_the_rate_on_average() {
        let start = Instant::now();
        let arrivals = Arrivals::new(100.0, start);
        let last = (0..10_000).map(|_| arrivals.take()).last().unwrap();
        let expected = Duration::from_secs(100);
        assert!((last - start).abs_diff(expected) < Duration::from_secs(5), "{:?}", last - start);
    }
}
