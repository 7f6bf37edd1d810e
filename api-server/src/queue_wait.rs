//! How long something that is put into a queue now will wait: what is in it, at the pace of whoever empties it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What something that comes in may have to wait. Two full turns of a fast gateway, so that it never runs dry; with the
/// queues before and after it still well below what people notice in a conversation.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// Whatever the pace was: what has waited for so long says that it is another one now. Above a pause of the scheduler.
const OLDEST: Duration = Duration::from_millis(200);
/// Of the last full turn in the pace; the rest is what it was before. A pause of one turn is no new pace.
const NEWEST_SHARE: f64 = 0.25;

/// What the writers and the one reader of a first-in-first-out queue note. `work` is in any unit in which what the
/// reader does takes about the same time: entries, bytes.
pub(crate) struct QueueWait {
    started: Instant,
    /// Work that has been put in and not been done: what the reader has in hand counts.
    ahead: AtomicU64,
    /// Bits of an `f64`: seconds that a unit of work took in the reader's full turns; 0: it has had none.
    pace: AtomicU64,
    /// Work of the last full turn.
    full_turn: AtomicU64,
    /// In ms after `started`: what waits has been put in since then.
    waits_since: AtomicU64,
    /// The reader's last turn was full: more came in than it could take.
    has_left_some: AtomicBool,
    is_failing: AtomicBool,
    /// Since the turn began.
    has_failed: AtomicBool,
}

impl QueueWait {
    /// Of a queue that is made at `started`.
    pub(crate) fn new(started: Instant) -> Self {
        let (none, no) = (|| AtomicU64::new(0), || AtomicBool::new(false));
        Self {
            started,
            ahead: none(),
            pace: none(),
            full_turn: none(),
            waits_since: none(),
            has_left_some: no(),
            is_failing: no(),
            has_failed: no(),
        }
    }

    /// Something is about to be put into the queue.
    pub(crate) fn puts(&self, work: usize, was_empty: bool) {
        self.ahead.fetch_add(work as u64, Ordering::Relaxed);
        if was_empty {
            self.at_least(Instant::now());
        }
    }

    /// There was no room for it.
    pub(crate) fn puts_not(&self, work: usize) {
        self.ahead.fetch_sub(work as u64, Ordering::Relaxed);
    }

    pub(crate) fn work_ahead(&self) -> usize {
        usize::try_from(self.ahead.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// The reader has taken a turn's worth; the last of it was put in at `last_put`.
    pub(crate) fn took(&self, last_put: Instant, has_left_some: bool) {
        self.at_least(last_put);
        self.has_left_some.store(has_left_some, Ordering::Relaxed);
        self.has_failed.store(false, Ordering::Relaxed);
    }

    /// It has done what it took.
    pub(crate) fn did(&self, work: usize, time: Duration) {
        self.ahead.fetch_sub(work as u64, Ordering::Relaxed);
        // A turn that was not full may have taken as long for a tenth of it.
        if work == 0 || !self.has_left_some.load(Ordering::Relaxed) || self.has_failed.load(Ordering::Relaxed)
        {
            return;
        }
        let newest = time.as_secs_f64() / work as f64;
        let pace = match self.pace() {
            0.0 => newest,
            before => before + (newest - before) * NEWEST_SHARE,
        };
        self.pace.store(pace.to_bits(), Ordering::Relaxed);
        self.full_turn.store(work as u64, Ordering::Relaxed);
    }

    /// Whom the reader depends on does not answer; until it does, the queue says nothing about who is too slow.
    pub(crate) fn fails(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// It answers. What has gathered meanwhile was not slow: its time begins now.
    pub(crate) fn works(&self) {
        if self.is_failing.load(Ordering::Relaxed) {
            self.at_least(Instant::now());
            self.is_failing.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Whether what is put in now would wait for too long, because more comes in than is taken out: something waits
    /// that the reader's last turn had no room for, or that has come behind such. Whatever fits the next turn is not
    /// behind, however long the one before takes: taking less would bring it no sooner. Of slow turns half a one may
    /// wait beside what is in hand, so that the next is worth its while.
    ///
    /// How old the oldest is would tell it too late: at twice the pace it is half as old as what comes in now will
    /// be, and it is old for as long again when nothing comes in any more.
    pub(crate) fn is_behind(&self, is_empty: bool) -> bool {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let takes_too_long = ahead as f64 * self.pace() > LONGEST_WAIT.as_secs_f64()
            && ahead > self.full_turn.load(Ordering::Relaxed) * 3 / 2;
        !is_empty
            && !self.is_failing()
            && self.has_left_some.load(Ordering::Relaxed)
            && (takes_too_long || self.age() > OLDEST)
    }

    /// How long ago what waits, or what was taken last, was put in, at most.
    pub(crate) fn age(&self) -> Duration {
        let since = Duration::from_millis(self.waits_since.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(since)
    }

    fn pace(&self) -> f64 {
        f64::from_bits(self.pace.load(Ordering::Relaxed))
    }

    fn at_least(&self, moment: Instant) {
        let since = moment.saturating_duration_since(self.started).as_millis();
        self.waits_since.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: usize = 100;

    /// A queue whose reader has just had a full turn of this length, and in which as much waits as so many turns take.
    fn after_a_full_turn(time: Duration, turns_ahead: usize) -> QueueWait {
        let now = Instant::now();
        let wait = QueueWait::new(now);
        wait.puts(TURN * (turns_ahead + 1), true);
        wait.took(now, true);
        wait.did(TURN, time);
        wait
    }

    #[test]
    fn a_queue_is_behind_while_what_is_in_it_takes_too_long_at_its_readers_pace() {
        let full_turn = LONGEST_WAIT / 4;
        assert!(!QueueWait::new(Instant::now()).is_behind(false));
        assert!(!after_a_full_turn(full_turn, 3).is_behind(false));
        let wait = after_a_full_turn(full_turn, 5);
        assert!(wait.is_behind(false));
        assert!(!wait.is_behind(true), "nothing waits");
        wait.did(TURN, full_turn);
        wait.did(TURN, full_turn);
        assert!(!wait.is_behind(false), "two turns later");
    }

    #[test]
    fn what_fits_the_next_turn_is_not_behind_however_long_that_takes() {
        let wait = after_a_full_turn(LONGEST_WAIT, 5);
        wait.took(Instant::now(), false);
        assert!(!wait.is_behind(false));
    }

    #[test]
    fn of_turns_that_are_slow_themselves_half_a_one_may_wait() {
        let wait = after_a_full_turn(LONGEST_WAIT * 2, 1);
        wait.puts(TURN / 2, false);
        assert!(!wait.is_behind(false));
        wait.puts(1, false);
        assert!(wait.is_behind(false));
    }

    #[test]
    fn what_has_found_no_room_does_not_wait() {
        let wait = after_a_full_turn(LONGEST_WAIT / 4, 3);
        wait.puts(2 * TURN, false);
        assert!(wait.is_behind(false));
        wait.puts_not(2 * TURN);
        assert!(!wait.is_behind(false));
    }

    #[test]
    fn a_turn_that_was_not_full_and_one_that_failed_say_nothing_of_the_pace() {
        let wait = after_a_full_turn(LONGEST_WAIT / 4, 3);
        let slow = LONGEST_WAIT * 100;
        wait.puts(2, false);
        wait.took(Instant::now(), false);
        wait.did(1, slow);
        wait.took(Instant::now(), true);
        wait.fails();
        wait.works();
        wait.did(1, slow);
        assert!(!wait.is_behind(false));
    }

    #[test]
    fn one_pause_is_no_new_pace_and_several_are() {
        let wait = after_a_full_turn(LONGEST_WAIT / 20, 4);
        let pause = LONGEST_WAIT / 5;
        for (turn, is_behind) in [false, false, true].into_iter().enumerate() {
            wait.puts(TURN, false);
            wait.took(Instant::now(), true);
            wait.did(TURN, pause * 2);
            assert_eq!(wait.is_behind(false), is_behind, "after {} turns", turn + 1);
        }
    }

    /// A queue whose reader took a minute ago what was put in then, and has not come again.
    fn read_long_ago() -> QueueWait {
        let then = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let wait = QueueWait::new(then);
        wait.puts(2, false);
        wait.took(then, true);
        wait
    }

    #[test]
    fn a_reader_that_does_not_come_again_is_behind_whatever_its_pace_was() {
        let wait = read_long_ago();
        assert!(wait.is_behind(false));
        wait.puts(1, true);
        assert!(!wait.is_behind(false), "what is put into an empty queue waits from then on");
    }

    #[test]
    fn the_time_of_a_failure_does_not_count() {
        let wait = read_long_ago();
        wait.works();
        assert!(wait.is_behind(false), "it has not failed");
        wait.fails();
        assert!(!wait.is_behind(false));
        wait.works();
        assert!(!wait.is_behind(false));
        assert!(wait.age() < Duration::from_secs(60));
    }
}
