//! The access token in hand, when to renew it, and the failure that is not to be repeated at once. Pure: time is given.

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;

use crate::push::PushOutcome;

const RENEW_AHEAD: Duration = Duration::from_secs(300);
/// Everyone who waited for a token that could not be had shares one answer; soon after, the next push tries again.
const FAILURE_MEMORY: Duration = Duration::from_secs(1);
/// More than any token lives; keeps a nonsensical answer from overflowing the clock.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

/// The `Authorization` header, marked sensitive: its `Debug` prints no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessToken(pub(super) HeaderValue);

#[derive(Default)]
pub(super) struct TokenCache {
    held: Option<Held>,
    failure: Option<(Instant, PushOutcome)>,
}

struct Held {
    token: AccessToken,
    renew_at: Instant,
    ends_at: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Fresh(AccessToken),
    /// Still good, and due for renewal.
    Aging(AccessToken),
    Failing(PushOutcome),
    Missing,
}

impl TokenCache {
    pub(super) fn look_up(&self, now: Instant) -> Lookup {
        let failure = self.failure.as_ref().filter(|(at, _)| now < *at + FAILURE_MEMORY);
        match (&self.held, failure) {
            (Some(held), _) if now < held.renew_at => Lookup::Fresh(held.token.clone()),
            (Some(held), Some(_)) if now < held.ends_at => Lookup::Fresh(held.token.clone()),
            (Some(held), None) if now < held.ends_at => Lookup::Aging(held.token.clone()),
            (_, Some((_, outcome))) => Lookup::Failing(outcome.clone()),
            (_, None) => Lookup::Missing,
        }
    }

    pub(super) fn put(&mut self, token: AccessToken, lifetime: Duration, now: Instant) {
        let lifetime = lifetime.min(MAX_LIFETIME);
        let renew_at = now + lifetime - RENEW_AHEAD.min(lifetime / 10);
        self.held = Some(Held { token, renew_at, ends_at: now + lifetime });
        self.failure = None;
    }

    pub(super) fn forget(&mut self, token: &AccessToken) {
        self.held.take_if(|held| held.token == *token);
    }

    pub(super) fn remember_failure(&mut self, outcome: PushOutcome, now: Instant) {
        self.failure = Some((now, outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Reason;

    fn token(name: &'static str) -> AccessToken {
        AccessToken(HeaderValue::from_static(name))
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_of_an_hour_is_due_five_minutes_before_its_end() {
        let (mut cache, start) = (TokenCache::default(), Instant::now());
        assert_eq!(cache.look_up(start), Lookup::Missing);
        cache.put(token("a"), Duration::from_secs(3_600), start);
        assert_eq!(cache.look_up(after(start, 3_299)), Lookup::Fresh(token("a")));
        assert_eq!(cache.look_up(after(start, 3_300)), Lookup::Aging(token("a")));
        assert_eq!(cache.look_up(after(start, 3_599)), Lookup::Aging(token("a")));
        assert_eq!(cache.look_up(after(start, 3_600)), Lookup::Missing);
    }

    #[test]
    fn a_short_lived_token_is_due_at_a_tenth_before_its_end() {
        let (mut cache, start) = (TokenCache::default(), Instant::now());
        cache.put(token("a"), Duration::from_secs(60), start);
        assert_eq!(cache.look_up(after(start, 53)), Lookup::Fresh(token("a")));
        assert_eq!(cache.look_up(after(start, 54)), Lookup::Aging(token("a")));
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment_and_hides_no_token_that_is_good() {
        let (mut cache, start) = (TokenCache::default(), Instant::now());
        let failure = PushOutcome::OurFault(Reason::new("service_account_refused", ""));
        cache.remember_failure(failure.clone(), start);
        assert_eq!(cache.look_up(start), Lookup::Failing(failure.clone()));
        assert_eq!(cache.look_up(after(start, 1)), Lookup::Missing);

        cache.put(token("a"), Duration::from_secs(60), start);
        cache.remember_failure(failure.clone(), after(start, 55));
        assert_eq!(
            cache.look_up(after(start, 55)),
            Lookup::Fresh(token("a")),
            "renewal failed: no hammering"
        );
        assert_eq!(cache.look_up(after(start, 56)), Lookup::Aging(token("a")), "and again a little later");
        cache.remember_failure(failure.clone(), after(start, 60));
        assert_eq!(cache.look_up(after(start, 60)), Lookup::Failing(failure), "past its end it is not used");
    }

    #[test]
    fn only_the_token_that_was_refused_is_forgotten() {
        let (mut cache, start) = (TokenCache::default(), Instant::now());
        cache.put(token("b"), Duration::from_secs(60), start);
        cache.forget(&token("a"));
        assert_eq!(cache.look_up(start), Lookup::Fresh(token("b")));
        cache.forget(&token("b"));
        assert_eq!(cache.look_up(start), Lookup::Missing);
    }

    #[test]
    fn an_absurd_lifetime_is_survived() {
        let (mut cache, start) = (TokenCache::default(), Instant::now());
        cache.put(token("a"), Duration::from_secs(u64::MAX), start);
        assert_eq!(cache.look_up(after(start, 86_400)), Lookup::Missing);
        cache.put(token("a"), Duration::ZERO, start);
        assert_eq!(cache.look_up(start), Lookup::Missing);
    }
}
