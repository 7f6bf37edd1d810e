//! Who is here: user → sessions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared_types::{SessionId, UserId, UserIdRef};

use super::bell::Bell;
use super::frame::Frame;
use super::mailbox::{Mailbox, Posted};

/// Connects and deliveries of all threads meet here for well under a microsecond each; with this many locks two
/// of them seldom want the same one.
const SHARDS: usize = 64;

/// One session as others see it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) mailbox: Mailbox,
    /// A background session still gets frames, but its user is told absent, and so pushed to.
    is_background: AtomicBool,
    /// Its client acks: what is written to it is delivered when it says so.
    has_acked: AtomicBool,
}

impl Session {
    /// Its task will run on the bell's thread.
    pub(crate) fn new(mailbox_frames: usize, bell: Arc<Bell>) -> Self {
        Self {
            id: SessionId::generate(),
            mailbox: Mailbox::new(mailbox_frames, bell),
            is_background: AtomicBool::new(false),
            has_acked: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_background(&self) -> bool {
        self.is_background.load(Ordering::Relaxed)
    }

    pub(crate) fn set_acked(&self) {
        self.has_acked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn acks(&self) -> bool {
        self.has_acked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_background(&self, is_background: bool) {
        self.is_background.store(is_background, Ordering::Relaxed);
    }
}

/// Why a session is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    TooManyOfThisUser,
    Full,
}

/// Where a frame went.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Who has no foreground session that took it.
    pub(crate) absent: Vec<UserId>,
    /// Who has such sessions, and all of them have still to say that they got it.
    pub(crate) awaiting_ack: Vec<UserId>,
    pub(crate) frames: u64,
    pub(crate) overflows: u64,
}

type Shard = HashMap<UserId, OfUser>;

/// A user's sessions. Nearly always there is one, and it is found without another step.
#[derive(Debug)]
struct OfUser {
    first: Arc<Session>,
    others: Vec<Arc<Session>>,
}

impl OfUser {
    fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Every session of this process.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    sessions: AtomicUsize,
    max_sessions: usize,
    max_sessions_per_user: usize,
}

impl Hub {
    pub(crate) fn new(max_sessions: usize, max_sessions_per_user: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
            max_sessions,
            max_sessions_per_user,
        }
    }

    /// From now on deliveries find this session.
    pub(crate) fn insert(&self, user_id: &UserId, session: Arc<Session>) -> Result<(), Refused> {
        // Counted first, so that racing connects cannot pass the limit together.
        if self.sessions.fetch_add(1, Ordering::Relaxed) >= self.max_sessions {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        match self.shard(user_id.as_str()).entry(user_id.clone()) {
            Entry::Vacant(nobody) => {
                nobody.insert(OfUser { first: session, others: Vec::new() });
            }
            Entry::Occupied(mut of_user) if of_user.get().others.len() + 1 < self.max_sessions_per_user => {
                of_user.get_mut().others.push(session);
            }
            Entry::Occupied(_) => {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
                return Err(Refused::TooManyOfThisUser);
            }
        }
        Ok(())
    }

    /// Removes exactly this session. Says whether it was the user's last: looked up and removed under one lock.
    pub(crate) fn remove(&self, user_id: &UserId, session_id: SessionId) -> bool {
        let mut shard = self.shard(user_id.as_str());
        let Some(of_user) = shard.get_mut(user_id) else { return false };
        let mut was_last = false;
        if let Some(position) = of_user.others.iter().position(|session| session.id == session_id) {
            of_user.others.swap_remove(position);
        } else if of_user.first.id != session_id {
            return false;
        } else if let Some(other) = of_user.others.pop() {
            of_user.first = other;
        } else {
            shard.remove(user_id);
            was_last = true;
        }
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        was_last
    }

    /// Puts the frame into the mailbox of every session of every recipient. Never waits. Nobody is absent for an
    /// ephemeral frame.
    pub(crate) fn deliver(&self, recipients: &[UserIdRef<'_>], frame: &Arc<Frame>) -> Delivered {
        let mut delivered = Delivered::default();
        for user_id in recipients {
            let (mut is_present, mut all_ack) = (false, true);
            if let Some(of_user) = self.shard(user_id.as_str()).get(user_id.as_str()) {
                for session in of_user.iter() {
                    match session.mailbox.post(frame.clone()) {
                        Posted::Accepted => {
                            delivered.frames += 1;
                            if !session.is_background() {
                                is_present = true;
                                all_ack &= session.acks();
                            }
                        }
                        Posted::Overflowed => delivered.overflows += 1,
                        Posted::Dropped | Posted::Closed => {}
                    }
                }
            }
            match (frame.position, is_present, all_ack) {
                (None, ..) | (Some(_), true, false) => {}
                (Some(_), true, true) => delivered.awaiting_ack.push(user_id.into()),
                (Some(_), false, _) => delivered.absent.push(user_id.into()),
            }
        }
        delivered
    }

    pub(crate) fn has(&self, user_id: &UserId) -> bool {
        self.shard(user_id.as_str()).contains_key(user_id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.session_count() >= self.max_sessions
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(crate) fn user_count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// What waits in all mailboxes; a lock for each session, so it is for whoever asks seldom.
    pub(crate) fn waiting_frames(&self) -> usize {
        let of_user = |user: &OfUser| user.iter().map(|session| session.mailbox.waiting()).sum::<usize>();
        self.shards.iter().map(|shard| lock(shard).values().map(of_user).sum::<usize>()).sum()
    }

    /// Everyone who is here, as of now; one shard at a time, so that nobody waits for the whole copy.
    pub(crate) fn users(&self) -> Vec<UserId> {
        self.shards.iter().flat_map(|shard| lock(shard).keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Every session, as of now.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).values().flat_map(OfUser::iter).cloned().collect::<Vec<_>>())
            .collect()
    }

    fn shard(&self, user_id: &str) -> MutexGuard<'_, Shard> {
        // The upper bits: the map inside the shard uses a hasher of its own.
        let index = (self.hasher.hash_one(user_id) >> 32) as usize % self.shards.len();
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No code under this lock can panic half-way through a change.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn deliver(hub: &Hub, recipients: &[UserId], frame: &Arc<Frame>) -> Delivered {
        hub.deliver(&recipients.iter().map(UserIdRef::from).collect::<Vec<_>>(), frame)
    }

    fn session() -> Arc<Session> {
        Arc::new(Session::new(1, Arc::default()))
    }

    #[test]
    fn removing_a_session_leaves_the_users_others() {
        let hub = Hub::new(10, 10);
        let (first, second) = (session(), session());
        hub.insert(&user("alice"), first.clone()).unwrap();
        hub.insert(&user("alice"), second.clone()).unwrap();
        assert!(!hub.remove(&user("alice"), first.id));
        assert!(!hub.remove(&user("alice"), first.id), "removing it again changes nothing");
        assert!(hub.has(&user("alice")));
        assert!(hub.remove(&user("alice"), second.id));
        assert!(!hub.has(&user("alice")));
        assert_eq!(hub.session_count(), 0);
    }

    #[test]
    fn limits_refuse_the_session_too_many_and_count_nothing_for_it() {
        let hub = Hub::new(2, 1);
        hub.insert(&user("alice"), session()).unwrap();
        assert_eq!(hub.insert(&user("alice"), session()), Err(Refused::TooManyOfThisUser));
        hub.insert(&user("bob"), session()).unwrap();
        assert_eq!(hub.insert(&user("carol"), session()), Err(Refused::Full));
        assert_eq!((hub.session_count(), hub.user_count()), (2, 2));
    }

    fn entry() -> Arc<Frame> {
        let json = r#"{"channelId":"0199aaaa-0000-7000-8000-000000000000","seq":1}"#;
        Arc::new(Frame::from_api(json).unwrap())
    }

    #[test]
    fn whoever_has_no_foreground_session_that_took_the_frame_is_absent() {
        let hub = Hub::new(10, 10);
        let (online, asleep, full) = (session(), session(), session());
        asleep.set_background(true);
        full.mailbox.post(entry());
        for (name, session) in [("online", &online), ("asleep", &asleep), ("full", &full)] {
            hub.insert(&user(name), session.clone()).unwrap();
        }
        let recipients = ["online", "asleep", "full", "nobody"].map(user);
        let delivered = deliver(&hub, &recipients, &entry());
        assert_eq!(delivered.absent, ["asleep", "full", "nobody"].map(user));
        assert_eq!((delivered.frames, delivered.overflows), (2, 1));
    }

    #[test]
    fn an_ack_is_awaited_from_those_whose_foreground_sessions_all_ack() {
        let hub = Hub::new(10, 10);
        let (acks, silent, asleep) = (session(), session(), session());
        acks.set_acked();
        asleep.set_background(true);
        for (name, session) in [("all", &acks), ("some", &silent), ("none", &asleep)] {
            hub.insert(&user(name), session.clone()).unwrap();
        }
        let second = session();
        second.set_acked();
        hub.insert(&user("some"), second).unwrap();
        let delivered = deliver(&hub, &["all", "some", "none"].map(user), &entry());
        assert_eq!(delivered.awaiting_ack, [user("all")]);
        assert_eq!(delivered.absent, [user("none")]);
    }

    #[test]
    fn nobody_is_absent_for_an_ephemeral_frame() {
        let hub = Hub::new(10, 10);
        let typing = Arc::new(Frame::from_api("{}").unwrap());
        let delivered = deliver(&hub, &[user("nobody")], &typing);
        assert!(delivered.absent.is_empty() && delivered.awaiting_ack.is_empty());
    }
}
