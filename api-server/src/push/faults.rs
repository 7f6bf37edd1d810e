//! Whether our own credentials work: nothing is pushed while they do not. Pure: time is given.

use std::time::{Duration, Instant};

use crate::store::DevicePlatform;

/// One refusal may be about one push; the next one, with no push taken in between, is about us.
const CERTAIN_AT: u32 = 2;

/// What our own faults stop: everything, or one platform, whose key FCM keeps (APNs' or the browsers').
pub(super) struct Faults {
    everything: Gate,
    ios: Gate,
    web: Gate,
    /// How long nothing is tried.
    pause: Duration,
}

/// Which pushes a refusal speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    Platform,
}

/// What may be taken on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Any,
    /// One push, to see whether it is taken.
    One,
    None {
        until: Instant,
    },
}

impl Faults {
    pub(super) fn new(now: Instant, pause: Duration) -> Self {
        let gate = || Gate { changed_at: now, refusals: 0, next_try: None };
        Self { everything: gate(), ios: gate(), web: gate(), pause }
    }

    pub(super) fn room(&self, now: Instant) -> Room {
        match self.everything.next_try {
            None => Room::Any,
            Some(at) if at <= now => Room::One,
            Some(until) => Room::None { until },
        }
    }

    /// How long a push to this platform has to wait; `None`: it may be tried.
    pub(super) fn wait(&self, platform: DevicePlatform, now: Instant) -> Option<Duration> {
        let gates = [Some(&self.everything), self.gate(platform)];
        gates.into_iter().flatten().filter_map(|gate| gate.wait(now)).max()
    }

    /// Whether pushes to this platform have been stopped after `moment`, and are yet.
    pub(super) fn has_closed_since(&self, platform: DevicePlatform, moment: Instant) -> bool {
        let gates = [Some(&self.everything), self.gate(platform)];
        gates.into_iter().flatten().any(|gate| gate.next_try.is_some() && gate.changed_at > moment)
    }

    /// A push is tried: where a gate is closed it is the only one for a while.
    pub(super) fn trying(&mut self, platform: DevicePlatform, now: Instant) {
        let next_try = now + self.pause;
        self.everything.put_off(next_try);
        if let Some(gate) = self.gate_mut(platform) {
            gate.put_off(next_try);
        }
    }

    /// A push that began at `begun_at` was refused. Answers whether this is the first trouble.
    pub(super) fn refused(
        &mut self,
        scope: Scope,
        platform: DevicePlatform,
        begun_at: Instant,
        now: Instant,
    ) -> bool {
        let had_trouble = self.has_trouble();
        let next_try = now + self.pause;
        match scope {
            Scope::Everything => self.everything.refused(begun_at, now, next_try),
            Scope::Platform => {
                if let Some(gate) = self.gate_mut(platform) {
                    gate.refused(begun_at, now, next_try);
                }
            }
        }
        self.has_trouble() && !had_trouble
    }

    /// The push service took our credentials for this platform. Answers whether all trouble has ended by this.
    pub(super) fn worked(&mut self, platform: DevicePlatform, begun_at: Instant, now: Instant) -> bool {
        let had_trouble = self.has_trouble();
        self.everything.worked(begun_at, now);
        if let Some(gate) = self.gate_mut(platform) {
            gate.worked(begun_at, now);
        }
        had_trouble && !self.has_trouble()
    }

    fn has_trouble(&self) -> bool {
        [&self.everything, &self.ios, &self.web].into_iter().any(|gate| gate.refusals > 0)
    }

    // Android's key is the service account itself. A refusal for another platform's key can only be a device that was
    // registered as what it is not, and must not stop the others.
    fn gate(&self, platform: DevicePlatform) -> Option<&Gate> {
        match platform {
            DevicePlatform::Android => None,
            DevicePlatform::Ios => Some(&self.ios),
            DevicePlatform::Web => Some(&self.web),
        }
    }

    fn gate_mut(&mut self, platform: DevicePlatform) -> Option<&mut Gate> {
        match platform {
            DevicePlatform::Android => None,
            DevicePlatform::Ios => Some(&mut self.ios),
            DevicePlatform::Web => Some(&mut self.web),
        }
    }
}

struct Gate {
    /// What began earlier says nothing about how it is now.
    changed_at: Instant,
    /// In a row.
    refusals: u32,
    /// `Some`: closed.
    next_try: Option<Instant>,
}

impl Gate {
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.next_try?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn put_off(&mut self, next_try: Instant) {
        if let Some(at) = &mut self.next_try {
            *at = next_try;
        }
    }

    fn refused(&mut self, begun_at: Instant, now: Instant, next_try: Instant) {
        if begun_at < self.changed_at {
            return;
        }
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals >= CERTAIN_AT && self.next_try.replace(next_try).is_none() {
            self.changed_at = now;
        }
    }

    fn worked(&mut self, begun_at: Instant, now: Instant) {
        if begun_at < self.changed_at {
            return;
        }
        self.refusals = 0;
        if self.next_try.take().is_some() {
            self.changed_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);
    use DevicePlatform::{Android, Ios, Web};
    use Scope::{Everything, Platform};

    fn faults() -> (Faults, Instant) {
        let start = Instant::now();
        (Faults::new(start, PAUSE), start)
    }

    #[test]
    fn what_was_taken_before_pushing_stopped_is_told_from_the_one_that_is_to_try_it() {
        let (mut faults, start) = faults();
        let stopped_at = start + SECOND;
        assert!(!faults.has_closed_since(Ios, start));
        faults.refused(Platform, Ios, start, stopped_at);
        assert!(!faults.has_closed_since(Ios, start), "one refusal may be about one push");
        faults.refused(Platform, Ios, start, stopped_at);
        assert!(faults.has_closed_since(Ios, start));
        assert!(!faults.has_closed_since(Android, start));
        assert!(!faults.has_closed_since(Ios, stopped_at + PAUSE), "it is the one that tries");
        faults.worked(Ios, stopped_at + PAUSE, stopped_at + PAUSE);
        assert!(!faults.has_closed_since(Ios, start), "pushing goes on");
    }

    #[test]
    fn the_second_refusal_in_a_row_stops_everything_until_one_push_is_taken() {
        let (mut faults, start) = faults();
        assert!(faults.refused(Everything, Android, start, start), "the first is told");
        assert_eq!(faults.room(start), Room::Any);
        assert!(!faults.refused(Everything, Ios, start, start), "and no other");
        assert_eq!(faults.room(start), Room::None { until: start + PAUSE });
        assert_eq!(faults.wait(Web, start + SECOND), Some(PAUSE - SECOND));

        let later = start + PAUSE;
        assert_eq!((faults.room(later), faults.wait(Android, later)), (Room::One, None));
        faults.trying(Android, later);
        assert_eq!(faults.wait(Android, later), Some(PAUSE), "one, and not two");
        assert!(!faults.refused(Everything, Android, later, later + SECOND));
        assert_eq!(faults.room(later + SECOND), Room::None { until: later + SECOND + PAUSE });

        let at_last = later + SECOND + PAUSE;
        faults.trying(Android, at_last);
        assert!(faults.worked(Android, at_last, at_last + SECOND), "the end is told too");
        assert_eq!(faults.room(at_last + SECOND), Room::Any);
    }

    #[test]
    fn one_push_that_is_always_refused_stops_none_of_those_that_are_taken() {
        let (mut faults, start) = faults();
        for n in 1..10 {
            let now = start + n * SECOND;
            assert!(faults.refused(Everything, Android, now, now));
            assert!(faults.worked(Android, now, now));
            assert_eq!(faults.room(now), Room::Any);
        }
    }

    #[test]
    fn a_verdict_about_how_it_was_before_counts_no_more() {
        let (mut faults, start) = faults();
        faults.refused(Everything, Android, start, start + SECOND);
        faults.refused(Everything, Android, start, start + SECOND);
        assert!(!faults.worked(Android, start, start + 2 * SECOND), "it was on its way already");
        assert!(matches!(faults.room(start + 2 * SECOND), Room::None { .. }));
        let later = start + 2 * PAUSE;
        assert!(faults.worked(Android, later, later + SECOND));
        assert!(!faults.refused(Everything, Android, later, later + 2 * SECOND), "so was this");
        assert_eq!(faults.room(later + 2 * SECOND), Room::Any);
    }

    #[test]
    fn a_platforms_own_key_stops_that_platform_only() {
        let (mut faults, start) = faults();
        for _ in 0..2 {
            faults.refused(Platform, Ios, start, start);
        }
        assert_eq!(faults.room(start), Room::Any);
        let waits = [Android, Ios, Web].map(|platform| faults.wait(platform, start));
        assert_eq!(waits, [None, Some(PAUSE), None]);
        assert!(!faults.worked(Android, start, start), "the trouble goes on");
        assert!(faults.worked(Ios, start + PAUSE, start + PAUSE));
        assert_eq!(faults.wait(Ios, start + PAUSE), None);
    }

    #[test]
    fn a_device_that_is_no_android_though_it_says_so_stops_nothing() {
        let (mut faults, start) = faults();
        for _ in 0..9 {
            faults.refused(Platform, Android, start, start);
        }
        assert!([Android, Ios, Web].iter().all(|platform| faults.wait(*platform, start).is_none()));
    }
}
