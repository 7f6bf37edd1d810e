//! How fast one user may send: a token bucket each.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use shared_runtime::rejection::Rejection;
use shared_types::UserId;

/// Full buckets are forgotten when there are this many; the memory of a bucket is about 100 bytes.
const SWEEP_AT: usize = 100_000;

/// One bucket for each user who has sent lately.
pub struct SendLimits {
    buckets: Option<DefaultKeyedRateLimiter<UserId>>,
    clock: DefaultClock,
}

impl SendLimits {
    /// `rate` sends a second for long, `burst` at once; a rate of 0 switches the limit off.
    pub fn new(rate: f64, burst: u32) -> Self {
        let quota = NonZeroU32::new(burst).filter(|_| rate > 0.0).and_then(|burst| {
            Some(Quota::with_period(Duration::try_from_secs_f64(1.0 / rate).ok()?)?.allow_burst(burst))
        });
        Self { buckets: quota.map(RateLimiter::keyed), clock: DefaultClock::default() }
    }

    /// Takes one send from the user's bucket.
    pub fn check(&self, user: &UserId) -> Result<(), Rejection> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        if buckets.len() > SWEEP_AT {
            buckets.retain_recent();
        }
        buckets
            .check_key(user)
            .map_err(|not_until| Rejection::rate_limited(not_until.wait_time_from(self.clock.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_has_used_the_burst_waits_and_others_do_not() {
        let limits = SendLimits::new(0.001, 2);
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        assert!(limits.check(&alice).is_ok());
        assert!(limits.check(&alice).is_ok());
        assert!(limits.check(&alice).is_err());
        assert!(limits.check(&bob).is_ok());
    }

    #[test]
    fn a_rate_of_zero_switches_the_limit_off() {
        let limits = SendLimits::new(0.0, 1);
        let alice = "alice".parse().unwrap();
        assert!((0..1_000).all(|_| limits.check(&alice).is_ok()));
    }
}
