//! When messages are due: at a rate that does not wait for answers, so that a slow server is not asked less.

use std::time::Duration;

/// Arrivals of one of `clients` clients that make `rate` a second together, at random moments (a Poisson process).
pub struct Arrivals {
    mean: Duration,
    state: u64,
}

impl Arrivals {
    /// `rate` is above 0. The same `client` gets the same moments in every run.
    pub fn new(client: usize, clients: usize, rate: f64) -> Self {
        let mean = Duration::from_secs_f64(clients as f64 / rate);
        // Any odd constant spreads the clients' seeds; this is that of splitmix64.
        Self { mean, state: (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    /// Until the next one, from the one before.
    pub fn next(&mut self) -> Duration {
        // splitmix64, by Steele, Lea and Flood (2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let uniform = ((mixed >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        self.mean.mul_f64(-uniform.ln())
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
