//! What the fake has been told, what it has seen, and whoever waits for that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::Version;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::account::Account;
use super::answers::{Behaviour, TokenBehaviour};

/// What the fake has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Of each accepted push the `message` object.
    pub accepted: VecDeque<Value>,
    /// The targets of the latest well-formed pushes, accepted or not.
    pub attempts: VecDeque<String>,
    pub token_requests: usize,
    /// Pushes that came with an access token which is unknown, revoked or past its end.
    pub refused_access_tokens: usize,
    pub connections: usize,
    pub http1_pushes: usize,
    pub http2_pushes: usize,
    pub in_flight: usize,
    pub max_in_flight: usize,
}

pub(super) struct Shared {
    pub(super) account: Account,
    pub(super) prints_pushes: bool,
    max_kept: usize,
    inner: Mutex<Inner>,
    changed: Notify,
    releases: watch::Sender<u64>,
}

pub(super) struct Inner {
    pub(super) standing: HashMap<String, Behaviour>,
    pub(super) once: HashMap<String, VecDeque<Behaviour>>,
    pub(super) token_behaviour: TokenBehaviour,
    pub(super) token_lifetime: Duration,
    /// Those that are good, with their ends.
    pub(super) access_tokens: HashMap<String, Instant>,
    pub(super) seen: Seen,
}

impl Shared {
    pub(super) fn new(account: Account, prints_pushes: bool, max_kept: usize) -> Self {
        let inner = Inner {
            standing: HashMap::new(),
            once: HashMap::new(),
            token_behaviour: TokenBehaviour::Grant,
            token_lifetime: Duration::from_secs(3_600),
            access_tokens: HashMap::new(),
            seen: Seen::default(),
        };
        let (inner, changed) = (Mutex::new(inner), Notify::new());
        Self { account, prints_pushes, max_kept, inner, changed, releases: watch::Sender::new(0) }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what has been seen, and wakes who waits for it.
    pub(super) fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.inner().seen);
        self.changed.notify_waiters();
    }

    pub(super) async fn until(&self, is_enough: impl Fn(&Seen) -> bool) -> Seen {
        loop {
            // Before looking: what changes between the look and the wait must not be missed.
            let changed = self.changed.notified();
            {
                let inner = self.inner();
                if is_enough(&inner.seen) {
                    return inner.seen.clone();
                }
            }
            changed.await;
        }
    }

    pub(super) fn release(&self) {
        self.releases.send_modify(|releases| *releases += 1);
    }

    /// Returns at the next release.
    pub(super) fn held(&self) -> impl Future<Output = ()> + use<> {
        let mut releases = self.releases.subscribe();
        async move {
            // An error means that the fake has ended: nothing is held any more.
            let _ = releases.changed().await;
        }
    }

    pub(super) fn attempt(&self, target: &str) {
        self.see(|seen| self.keep(&mut seen.attempts, target.to_owned()));
    }

    pub(super) fn accept(&self, message: Value) {
        self.see(|seen| self.keep(&mut seen.accepted, message));
    }

    fn keep<T>(&self, kept: &mut VecDeque<T>, new: T) {
        if kept.len() >= self.max_kept {
            kept.pop_front();
        }
        kept.push_back(new);
    }
}

impl Inner {
    pub(super) fn behaviour(&mut self, target: &str) -> Behaviour {
        let once = self.once.get_mut(target).and_then(VecDeque::pop_front);
        once.or_else(|| self.standing.get(target).cloned()).unwrap_or(Behaviour::Sent)
    }

    pub(super) fn grant(&mut self, access_token: String) -> Duration {
        let now = Instant::now();
        self.access_tokens.retain(|_, ends_at| now < *ends_at);
        self.access_tokens.insert(access_token, now + self.token_lifetime);
        self.token_lifetime
    }

    pub(super) fn is_good(&self, access_token: &str) -> bool {
        self.access_tokens.get(access_token).is_some_and(|&ends_at| Instant::now() < ends_at)
    }
}

/// One push between its arrival and its answer.
pub(super) struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    pub(super) fn enter(shared: &'a Shared, version: Version) -> Self {
        shared.see(|seen| {
            *if version == Version::HTTP_2 { &mut seen.http2_pushes } else { &mut seen.http1_pushes } += 1;
            seen.in_flight += 1;
            seen.max_in_flight = seen.max_in_flight.max(seen.in_flight);
        });
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.see(|seen| seen.in_flight -= 1);
    }
}
