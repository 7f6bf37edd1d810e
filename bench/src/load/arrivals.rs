//! When messages are due: at a rate that does not wait for answers, so that a slow server is not asked less.

use std::time::Duration;

use super::random::Random;

/// Arrivals of one of `clients` clients that make `rate` a second together, at random moments (a Poisson process).
pub struct Arrivals {
    mean: Duration,
    random: Random,
}

impl Arrivals {
    /// `rate` is above 0. The same `client` gets the same moments in every run.
    pub fn new(client: usize, clients: usize, rate: f64) -> Self {
        Self { mean: Duration::from_secs_f64(clients as f64 / rate), random: Random::new(client) }
    }

    /// Until the next one, from the one before.
    pub fn next(&mut self) -> Duration {
        self.mean.mul_f64(-self.random.share().ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_the_rate_on_average() {
        let mut arrivals = Arrivals::new(3, 4, 100.0);
        let total: Duration = (0..10_000).map(|_| arrivals.next()).sum();
        let expected = Duration::from_secs(400);
        assert!(total.abs_diff(expected) < Duration::from_secs(20), "{total:?}");
    }
}
