//! How far whoever empties a queue is behind: the age of the oldest that waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a queue may make its contents wait while its reader keeps up. Well above one answer of a gateway or of Redis,
/// a few ms, and above a pause of the scheduler; well below what people notice in a conversation.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// What the writers and the one reader of a first-in-first-out queue note.
pub(super) struct QueueAge {
    started: Instant,
    /// In ms after `started`: what waits has been put in since then.
    waits_since: AtomicU64,
    /// The reader's last turn was full: more came in than it could take.
    has_left_some: AtomicBool,
    is_failing: AtomicBool,
}

impl QueueAge {
    /// Of a queue that is made at `started`.
    pub(super) fn new(started: Instant) -> Self {
        let no = || AtomicBool::new(false);
        Self { started, waits_since: AtomicU64::new(0), has_left_some: no(), is_failing: no() }
    }

    /// Something is about to be put into the queue.
    pub(super) fn puts(&self, was_empty: bool) {
        if was_empty {
            self.at_least(Instant::now());
        }
    }

    /// The reader has taken a turn's worth; the last of it was put in at `last_put`.
    pub(super) fn took(&self, last_put: Instant, has_left_some: bool) {
        self.at_least(last_put);
        self.has_left_some.store(has_left_some, Ordering::Relaxed);
    }

    /// Whom the reader depends on does not answer; until it does, the queue says nothing about who is too slow.
    pub(super) fn fails(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
    }

    /// It answers. What has gathered meanwhile was not slow: its time begins now.
    pub(super) fn works(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            self.at_least(Instant::now());
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Whether more comes in than is taken out: something waits that the reader's last turn had no room for, or that
    /// has come behind such, and waits for too long. Whatever fits the next turn is not behind, however long the one
    /// before takes: taking less would bring it no sooner.
    pub(super) fn is_behind(&self, is_empty: bool) -> bool {
        !is_empty
            && !self.is_failing()
            && self.has_left_some.load(Ordering::Relaxed)
            && self.age() > LONGEST_WAIT
    }

    /// How long ago what waits, or what was taken last, was put in, at most.
    pub(super) fn age(&self) -> Duration {
        let since = Duration::from_millis(self.waits_since.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(since)
    }

    fn at_least(&self, moment: Instant) {
        let since = moment.saturating_duration_since(self.started).as_millis();
        self.waits_since.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue whose reader's last turn, a full one or not, took what was put in a minute ago.
    fn read_late(has_left_some: bool) -> QueueAge {
        let then = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let age = QueueAge::new(then);
        age.took(then, has_left_some);
        age
    }

    #[test]
    fn a_queue_is_behind_while_more_waits_than_one_turn_takes_and_for_too_long() {
        assert!(!QueueAge::new(Instant::now()).is_behind(false));
        assert!(!read_late(false).is_behind(false));
        let age = read_late(true);
        assert!(age.is_behind(false));
        assert!(!age.is_behind(true), "nothing waits");
        age.took(Instant::now(), true);
        assert!(!age.is_behind(false), "what is left came after that");
    }

    #[test]
    fn what_is_put_into_an_empty_queue_waits_from_then_on() {
        let age = read_late(true);
        age.puts(false);
        assert!(age.is_behind(false));
        age.puts(true);
        assert!(!age.is_behind(false));
    }

    #[test]
    fn the_time_of_a_failure_does_not_count() {
        let age = read_late(true);
        age.works();
        assert!(age.is_behind(false), "it has not failed");
        age.fails();
        assert!(!age.is_behind(false));
        age.works();
        assert!(!age.is_behind(false));
        assert!(age.age() < Duration::from_secs(60));
    }
}
