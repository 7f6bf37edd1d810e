//! What may be pushed without Google throttling it: token buckets for each device and for the project.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use shared_types::{DeviceId, UserId};

use crate::store::DevicePlatform;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Full buckets are forgotten when there are this many. A bucket is full again about a second after a push, so that
/// those which stay are no more than the pushes of the last seconds; the memory of one is about 200 bytes.
const SWEEP_AT: usize = 100_000;

/// Pushes that the push service takes; 0 switches a quota off.
#[derive(Debug, Clone, Copy)]
pub struct PushQuotas {
    /// Of one Android device. Google throttles no other platform's.
    pub device_per_minute: u32,
    pub device_per_hour: u32,
    pub project_per_minute: u32,
}

/// A push that has to wait, until there is budget again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// As a metric's label.
    pub(super) budget: &'static str,
    pub(super) wait: Duration,
    /// Nothing else can be pushed either.
    pub(super) is_for_all: bool,
}

/// The quotas, shared by all api-servers that live: one push takes as many parts of a bucket as there are servers.
pub(super) struct Budgets<C: Clock = DefaultClock> {
    device_minute: Option<Budget<(UserId, DeviceId), C>>,
    device_hour: Option<Budget<(UserId, DeviceId), C>>,
    project_minute: Option<Budget<(), C>>,
    live_servers: Arc<AtomicU32>,
}

impl Budgets {
    pub(super) fn new(quotas: PushQuotas, live_servers: Arc<AtomicU32>) -> Self {
        Self::with_clock(quotas, live_servers, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> Budgets<C> {
    fn with_clock(quotas: PushQuotas, live_servers: Arc<AtomicU32>, clock: &C) -> Self {
        Self {
            device_minute: Budget::new(quotas.device_per_minute, MINUTE, clock),
            device_hour: Budget::new(quotas.device_per_hour, HOUR, clock),
            project_minute: Budget::new(quotas.project_per_minute, MINUTE, clock),
            live_servers,
        }
    }

    /// Takes one push from each budget that it falls under. What was taken from one before another refused is lost:
    /// a little less is pushed than could be, never more.
    pub(super) fn take(
        &self,
        user: &UserId,
        device: &DeviceId,
        platform: DevicePlatform,
    ) -> Result<(), Exhausted> {
        let servers = NonZeroU32::new(self.live_servers.load(Ordering::Relaxed)).unwrap_or(NonZeroU32::MIN);
        if platform == DevicePlatform::Android {
            let key = (user.clone(), device.clone());
            take_from(self.device_minute.as_ref(), &key, servers, "device_minute", false)?;
            take_from(self.device_hour.as_ref(), &key, servers, "device_hour", false)?;
        }
        take_from(self.project_minute.as_ref(), &(), servers, "project_minute", true)
    }
}

fn take_from<K: Hash + Eq + Clone, C: Clock>(
    bucket: Option<&Budget<K, C>>,
    key: &K,
    servers: NonZeroU32,
    budget: &'static str,
    is_for_all: bool,
) -> Result<(), Exhausted> {
    let Some(bucket) = bucket else { return Ok(()) };
    bucket.take(key, servers).map_err(|wait| Exhausted { budget, wait, is_for_all })
}

struct Budget<K: Hash + Eq + Clone, C: Clock> {
    buckets: RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    burst: NonZeroU32,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Budget<K, C> {
    /// At most `quota` in any stretch of `period`, wherever it begins: a quarter of it at once, the rest evenly over
    /// the period. With the whole quota at once the first period could see twice as many.
    fn new(quota: u32, period: Duration, clock: &C) -> Option<Self> {
        let burst = NonZeroU32::new(quota.div_ceil(4))?;
        let each = period / (quota - burst.get()).max(1);
        let quota = Quota::with_period(each)?.allow_burst(burst);
        let buckets = RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone());
        Some(Self { buckets, clock: clock.clone(), burst })
    }
}

impl<K: Hash + Eq + Clone, C: Clock> Budget<K, C> {
    /// Takes `parts` of the bucket, or says how long it takes until they are there.
    fn take(&self, key: &K, parts: NonZeroU32) -> Result<(), Duration> {
        if self.buckets.len() > SWEEP_AT {
            self.buckets.retain_recent();
        }
        // A quota of less than four for each server would never be enough for one push.
        match self.buckets.check_key_n(key, parts.min(self.burst)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.clock.now())),
            // Cannot be: no more is asked for than a full bucket holds.
            Err(_insufficient_capacity) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn quotas(device_per_minute: u32, device_per_hour: u32, project_per_minute: u32) -> PushQuotas {
        PushQuotas { device_per_minute, device_per_hour, project_per_minute }
    }

    fn budgets(quotas: PushQuotas, servers: u32) -> (Budgets<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Budgets::with_clock(quotas, Arc::new(AtomicU32::new(servers)), &clock), clock)
    }

    fn take(
        budgets: &Budgets<FakeRelativeClock>,
        device: &str,
        platform: DevicePlatform,
    ) -> Result<(), Exhausted> {
        budgets.take(&"bob".parse().unwrap(), &device.parse().unwrap(), platform)
    }

    /// Pushes whenever it may, and a bit later when it may not; answers the most that fell into one `period`.
    fn most_in_any(period: Duration, quotas: PushQuotas, servers: u32, length: Duration) -> usize {
        let (budgets, clock) = budgets(quotas, servers);
        let (mut now, mut pushed, mut most) = (Duration::ZERO, VecDeque::new(), 0);
        while now < length {
            match take(&budgets, "phone", DevicePlatform::Android) {
                Ok(()) => pushed.push_back(now),
                Err(exhausted) => {
                    clock.advance(exhausted.wait);
                    now += exhausted.wait;
                }
            }
            while pushed.front().is_some_and(|&at| at + period <= now) {
                pushed.pop_front();
            }
            most = most.max(pushed.len());
        }
        most
    }

    #[test]
    fn no_minute_and_no_hour_sees_more_than_googles_quota_and_hardly_less() {
        let google = quotas(240, 5_000, 600_000);
        let most = most_in_any(MINUTE, google, 1, HOUR);
        assert!((230..=240).contains(&most), "{most} a minute");
        let most = most_in_any(HOUR, google, 1, 3 * HOUR);
        assert!((4_800..=5_000).contains(&most), "{most} an hour");
        for quota in [1, 2, 3, 5, 17] {
            let most = most_in_any(MINUTE, quotas(quota, 0, 0), 1, HOUR);
            assert!((1..=quota as usize).contains(&most), "{most} a minute of {quota}");
        }
    }

    #[test]
    fn servers_share_a_quota_by_their_number() {
        let most = most_in_any(MINUTE, quotas(240, 0, 0), 3, HOUR);
        assert!((70..=80).contains(&most), "{most} a minute by one of three");
        assert!(most_in_any(MINUTE, quotas(240, 0, 0), 0, HOUR) > 200, "0 counts as 1");
        assert!(
            most_in_any(MINUTE, quotas(4, 0, 0), 100, HOUR) > 0,
            "never so little that nothing is pushed"
        );
    }

    #[test]
    fn a_device_that_must_wait_holds_up_no_other_and_a_project_all() {
        let (budgets, clock) = budgets(quotas(4, 0, 8), 1);
        assert_eq!(take(&budgets, "phone", DevicePlatform::Android), Ok(()));
        let refused = take(&budgets, "phone", DevicePlatform::Android).unwrap_err();
        assert_eq!((refused.budget, refused.wait, refused.is_for_all), ("device_minute", MINUTE / 3, false));
        assert_eq!(take(&budgets, "tablet", DevicePlatform::Android), Ok(()));
        let refused = take(&budgets, "other", DevicePlatform::Android).unwrap_err();
        assert_eq!((refused.budget, refused.wait, refused.is_for_all), ("project_minute", MINUTE / 6, true));
        clock.advance(MINUTE / 3);
        assert_eq!(take(&budgets, "phone", DevicePlatform::Android), Ok(()));
    }

    #[test]
    fn only_android_devices_have_a_quota_of_their_own_and_0_is_none() {
        let (few, _) = budgets(quotas(1, 1, 0), 1);
        for platform in [DevicePlatform::Ios, DevicePlatform::Web] {
            assert!((0..1_000).all(|_| take(&few, "phone", platform).is_ok()));
        }
        let (off, _) = budgets(quotas(0, 0, 0), 1);
        assert!((0..1_000).all(|_| take(&off, "phone", DevicePlatform::Android).is_ok()));
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let (budgets, clock) = budgets(quotas(240, 5_000, 0), 1);
        for n in 0..=SWEEP_AT {
            assert_eq!(take(&budgets, &n.to_string(), DevicePlatform::Android), Ok(()));
        }
        clock.advance(Duration::from_secs(3));
        assert_eq!(take(&budgets, "one-more", DevicePlatform::Android), Ok(()));
        for budget in [budgets.device_minute, budgets.device_hour] {
            assert_eq!(budget.unwrap().buckets.len(), 1);
        }
    }
}
