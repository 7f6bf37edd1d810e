//! How late HTTP workers get to what has come (the lag of their event loops), and whether that is too late.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::rt;
use prometheus_client::metrics::histogram::Histogram;

/// A turn of a worker is too long from here on. What comes waits for one in its socket, where no queue of ours sees it. Less
/// is usual where some hundred clients send as fast as they are answered.
const LONG_TURN: Duration = Duration::from_millis(20);
/// With fewer requests in it a turn was long because the machine is busy with something else; to refuse some of so few
/// would bring none of the others sooner.
const MANY_REQUESTS: u32 = 100;
/// Whose turns have been long for this time does not just catch up with what came during a pause. The time by which
/// CoDel tells the two apart: its INTERVAL (RFC 8289).
const PATIENCE: Duration = Duration::from_millis(100);
/// Whoever was behind so lately is so again at the first long turn, as with CoDel's dequeue routine (RFC 8289): it was the load.
const RELAPSE: Duration = Duration::from_secs(1);
/// What one worker accepts makes work that takes cores from the others: for so long one that is behind is so for all.
/// It says so again with each request.
const SHARED_FOR: Duration = Duration::from_millis(5);

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Workers(Arc<Shared>);

struct Shared {
    started: Instant,
    /// In µs after `started`: when one of them last was behind; 0: never.
    behind_at: AtomicU64,
    turns: Histogram,
}

/// One worker's, kept by its application. While requests come, one task goes round with all that the worker has to do: each
/// of its rounds, a turn, takes as long as a request waits that is ready when it begins. An idle worker is not woken.
#[derive(Clone)]
pub(crate) struct WorkerLag(Rc<Worker>);

struct Worker {
    turns: Turns,
    workers: Workers,
}

#[derive(Default)]
struct Turns {
    /// When the one began that is being measured.
    current: Cell<Option<Instant>>,
    /// That have come in it.
    requests: Cell<u32>,
    ended: Cell<Option<Instant>>,
    /// All turns since then were too long.
    long_since: Cell<Option<Instant>>,
    was_behind: Cell<Option<Instant>>,
}

impl Workers {
    /// Each turn is noted in the histogram, in seconds.
    pub(crate) fn new(turns: Histogram) -> Self {
        Self(Arc::new(Shared { started: Instant::now(), behind_at: AtomicU64::new(0), turns }))
    }

    /// To be called on the worker's thread.
    pub(crate) fn worker(&self) -> WorkerLag {
        WorkerLag(Rc::new(Worker { turns: Turns::default(), workers: self.clone() }))
    }

    fn are_behind(&self, now: Instant) -> bool {
        let behind_at = self.0.behind_at.load(Ordering::Relaxed);
        behind_at > 0 && self.microseconds(now).saturating_sub(behind_at) < SHARED_FOR.as_micros() as u64
    }

    fn microseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.started).as_micros()).unwrap_or(u64::MAX)
    }
}

impl WorkerLag {
    /// Whether more comes than the workers get to, and has for a while. To be asked once with every request: so a worker
    /// knows that it has something to do.
    pub(crate) fn is_behind(&self) -> bool {
        let now = Instant::now();
        let Worker { turns, workers } = &*self.0;
        if turns.begin(now) {
            let worker = self.0.clone();
            rt::spawn(async move {
                one_round().await;
                if let Some(time) = worker.turns.end(Instant::now()) {
                    worker.workers.0.turns.observe(time.as_secs_f64());
                }
            });
        }
        if turns.is_behind(now) {
            workers.0.behind_at.store(workers.microseconds(now), Ordering::Relaxed);
            return true;
        }
        workers.are_behind(now)
    }
}

/// Ends when everything that was ready has had its turn. Not `yield_now`, which waits until nothing is ready.
async fn one_round() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Turns {
    /// A request has come. Whether a turn begins with it: none is being measured.
    fn begin(&self, now: Instant) -> bool {
        self.requests.set(self.requests.get().saturating_add(1));
        if self.current.get().is_some() {
            return false;
        }
        // Whoever has something to do begins the next one at once.
        if self.ended.get().is_some_and(|ended| now.saturating_duration_since(ended) > LONG_TURN) {
            self.long_since.set(None);
        }
        self.current.set(Some(now));
        true
    }

    /// How long it took.
    fn end(&self, now: Instant) -> Option<Duration> {
        let began = self.current.take()?;
        let is_long = self.is_long(began, now);
        self.long_since.set(is_long.then(|| self.long_since.get().unwrap_or(began)));
        self.ended.set(Some(now));
        self.requests.set(0);
        Some(now.saturating_duration_since(began))
    }

    fn is_long(&self, began: Instant, now: Instant) -> bool {
        now.saturating_duration_since(began) > LONG_TURN && self.requests.get() >= MANY_REQUESTS
    }

    fn is_behind(&self, now: Instant) -> bool {
        let ago = |moment: Instant| now.saturating_duration_since(moment);
        let current = || self.current.get().filter(|began| self.is_long(*began, now));
        let Some(since) = self.long_since.get().or_else(current) else { return false };
        let is_behind = ago(since) > PATIENCE || self.was_behind.get().is_some_and(|was| ago(was) < RELAPSE);
        if is_behind {
            self.was_behind.set(Some(now));
        }
        is_behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(2);
    const LONG: Duration = Duration::from_millis(40);

    /// Turns, one after the other, and the time at which the last of them has ended.
    struct Course(Turns, Instant);

    impl Course {
        fn new() -> Self {
            Self(Turns::default(), Instant::now())
        }

        fn turn(&mut self, time: Duration, requests: u32) -> bool {
            for _ in 0..requests {
                self.0.begin(self.1);
            }
            self.1 += time;
            self.0.end(self.1).unwrap();
            self.0.is_behind(self.1)
        }

        fn turns(&mut self, count: u32, time: Duration, requests: u32) -> Vec<bool> {
            (0..count).map(|_| self.turn(time, requests)).collect()
        }
    }

    #[test]
    fn a_worker_is_behind_when_its_turns_stay_long_and_no_more_after_a_short_one() {
        let mut course = Course::new();
        assert_eq!(course.turns(4, LONG, MANY_REQUESTS), [false, false, true, true]);
        assert!(!course.turn(SHORT, MANY_REQUESTS));
        assert!(course.turn(LONG, MANY_REQUESTS), "so soon again");
        assert!(!course.turn(SHORT, MANY_REQUESTS));
        course.1 += RELAPSE;
        assert!(!course.turn(LONG, MANY_REQUESTS), "long ago");
    }

    #[test]
    fn a_pause_after_which_the_worker_catches_up_is_nothing() {
        let mut course = Course::new();
        assert!(!course.turn(PATIENCE, 10 * MANY_REQUESTS));
        assert_eq!(course.turns(3, SHORT, MANY_REQUESTS), [false; 3]);
    }

    #[test]
    fn a_slow_machine_with_few_requests_is_not_behind() {
        assert_eq!(Course::new().turns(10, LONG, MANY_REQUESTS - 1), [false; 10]);
    }

    #[test]
    fn long_turns_with_nothing_to_do_between_them_are_pauses_of_their_own() {
        let mut course = Course::new();
        for _ in 0..10 {
            assert!(!course.turn(LONG, MANY_REQUESTS));
            course.1 += LONG;
        }
    }

    #[test]
    fn a_turn_that_does_not_end_is_seen_while_it_lasts() {
        let Course(turns, now) = Course::new();
        for _ in 0..MANY_REQUESTS {
            turns.begin(now);
        }
        assert!(!turns.is_behind(now + PATIENCE));
        assert!(turns.is_behind(now + PATIENCE * 2));
    }

    #[actix_web::test]
    async fn more_tasks_than_a_worker_gets_to_make_it_behind_for_all_until_they_have_ended() {
        let workers = Workers::new(Histogram::new([1.0]));
        let (worker, other) = (workers.worker(), workers.worker());
        let tasks: Vec<_> = (0..2 * MANY_REQUESTS)
            .map(|_| {
                let (worker, other) = (worker.clone(), other.clone());
                rt::spawn(async move {
                    while !worker.is_behind() {
                        // As a request that has been read would hold the thread.
                        std::thread::sleep(LONG_TURN / MANY_REQUESTS);
                        one_round().await;
                    }
                    other.is_behind()
                })
            })
            .collect();
        let mut is_other_behind = false;
        for task in tasks {
            is_other_behind |= task.await.unwrap();
        }
        assert!(is_other_behind);
        while worker.is_behind() || other.is_behind() {
            one_round().await;
        }
    }
}
