//! The gateway's part of the session registry: its lease, and claims and releases of its users.
//!
//! One task ([`keeper`]) does all of it, one round trip at a time. What it writes for a user is decided by the hub
//! at the moment of writing, so a claim and a release of one user cannot overtake each other, and whatever changes
//! in the hub afterwards asks for another look.

mod keeper;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared_runtime::registry::{Intent, RegistryUnavailable};
use shared_types::UserId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use keeper::{Keeper, Setup};

use crate::session::hub::{Hub, Refused, Session};

/// Connects that may wait for their claim. A round trip takes 500 of them; a longer queue is a Redis that does not
/// keep up, and they are better told so.
const MAX_WAITING_CLAIMS: usize = 4096;
/// A client that waited longer has given up; it is told to come again.
const CLAIM_LIMIT: Duration = Duration::from_secs(3);

/// Why a user is not claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("the gateway does not hold its lease")]
    NoLease,
    #[error("too many connects wait for the registry")]
    QueueFull,
    #[error("the registry did not answer in time")]
    TimedOut,
    #[error("the registry is not to be had")]
    Unavailable(#[source] Arc<RegistryUnavailable>),
}

struct Claim {
    user_id: UserId,
    done: oneshot::Sender<Result<(), ClaimError>>,
}

/// What handlers and sessions see of the registry.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    claims: mpsc::Sender<Claim>,
}

/// Between the keeper and everyone else.
struct Shared {
    hub: Arc<Hub>,
    /// Users whose entry may not say what the hub says; those who have gone are expected back, or not. Bounded by the
    /// users that were let in; while Redis is away nobody is.
    unsettled: Mutex<HashMap<UserId, bool>>,
    wake: Notify,
    /// Until when the lease is good, if no renewal comes.
    lease_until: Mutex<Option<Instant>>,
    is_draining: AtomicBool,
    retire: CancellationToken,
}

impl Registry {
    /// The registry and the task that keeps it, which still has to be run.
    pub(crate) fn new(hub: Arc<Hub>, setup: Setup) -> (Self, Keeper) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING_CLAIMS);
        let shared = Arc::new(Shared {
            hub,
            unsettled: Mutex::default(),
            wake: Notify::new(),
            lease_until: Mutex::default(),
            is_draining: AtomicBool::new(false),
            retire: CancellationToken::new(),
        });
        let registry = Self { shared: shared.clone(), claims: sender };
        (registry, Keeper::new(shared, receiver, setup))
    }

    /// Puts a session where deliveries find it. Dropping the membership takes it out and releases the user.
    pub(crate) fn join(&self, user_id: UserId, session: Session) -> Result<Membership, Refused> {
        let session = Arc::new(session);
        self.shared.hub.insert(&user_id, session.clone())?;
        // Whoever is turned away before the session has begun comes again, here or elsewhere.
        Ok(Membership { shared: self.shared.clone(), user_id, session, expected_back: true })
    }

    /// Names this gateway in the user's entry. Done when it is there: entries sent from then on come here.
    pub(crate) async fn claim(&self, user_id: &UserId) -> Result<(), ClaimError> {
        // Without a lease nobody would look here, and the session would silently miss its entries.
        if !self.holds_lease() {
            return Err(ClaimError::NoLease);
        }
        let (done, answer) = oneshot::channel();
        let claim = Claim { user_id: user_id.clone(), done };
        self.claims.try_send(claim).map_err(|_| ClaimError::QueueFull)?;
        match timeout(CLAIM_LIMIT, answer).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(ClaimError::NoLease),
            Err(_) => Err(ClaimError::TimedOut),
        }
    }

    /// Whether api-servers can find this gateway.
    pub(crate) fn holds_lease(&self) -> bool {
        let until = *self.shared.lease_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// From now on the lease says that no client should be sent here.
    pub(crate) fn begin_draining(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    /// Has the keeper release everyone, give up the lease and end.
    pub(crate) fn retire(&self) {
        self.shared.retire.cancel();
    }

    /// Cancelled is: the keeper retires.
    pub(crate) fn retiring(&self) -> CancellationToken {
        self.shared.retire.clone()
    }
}

/// That a session is in the hub and its user claimed here. However the session ends, this ends with it.
pub(crate) struct Membership {
    shared: Arc<Shared>,
    user_id: UserId,
    session: Arc<Session>,
    expected_back: bool,
}

impl Membership {
    /// Ends it: the session is over, and its client is expected back or not.
    pub(crate) fn end(mut self, expected_back: bool) {
        self.expected_back = expected_back;
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.shared.hub.remove(&self.user_id, self.session.id) {
            self.shared.release(self.user_id.clone(), self.expected_back);
        }
    }
}

impl Shared {
    /// Asks for another look at these users' entries.
    fn unsettle(&self, users: impl IntoIterator<Item = UserId>) {
        let mut unsettled = self.unsettled();
        for user_id in users {
            // Whoever has gone meanwhile has said how.
            unsettled.entry(user_id).or_insert(false);
        }
        drop(unsettled);
        self.wake.notify_one();
    }

    /// Asks for another look because nobody knows what became of these.
    fn unsettle_again(&self, intents: Vec<(UserId, Intent)>) {
        let mut unsettled = self.unsettled();
        for (user_id, intent) in intents {
            // Whoever has gone meanwhile has said how.
            unsettled.entry(user_id).or_insert(intent == Intent::Release { expected_back: true });
        }
        drop(unsettled);
        self.wake.notify_one();
    }

    /// The user's last session has ended: the way that it ended counts, whatever was said before.
    fn release(&self, user_id: UserId, expected_back: bool) {
        self.unsettled().insert(user_id, expected_back);
        self.wake.notify_one();
    }

    /// Some of the unsettled, and whether each is expected back, should it be gone.
    fn take_unsettled(&self, most: usize) -> Vec<(UserId, bool)> {
        let mut unsettled = self.unsettled();
        let users: Vec<UserId> = unsettled.keys().take(most).cloned().collect();
        let taken = users.into_iter().filter_map(|user_id| unsettled.remove_entry(&user_id)).collect();
        if unsettled.is_empty() {
            unsettled.shrink_to(0);
        }
        taken
    }

    fn unsettled(&self) -> MutexGuard<'_, HashMap<UserId, bool>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
