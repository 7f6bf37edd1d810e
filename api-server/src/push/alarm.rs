//! When the push worker looks at the database again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a job may go unnoticed that another server has left, or that comes due after a long pause.
const POLL: Duration = Duration::from_secs(1);
/// The same while jobs of this process are known to come due, within their fold window. Four looks a second find them
/// all, however many there are; a look for each at its own moment would be a statement for each.
const WATCH: Duration = Duration::from_millis(250);

/// Rings when there may be jobs that are due.
pub(super) struct Alarm {
    wake: Arc<Notify>,
    fold_window: Duration,
    /// Until then known jobs come due.
    watch_until: Instant,
}

impl Alarm {
    /// `wake` says that jobs have begun to wait; they are due after the fold window.
    pub(super) fn new(wake: Arc<Notify>, fold_window: Duration) -> Self {
        // Jobs may have waited since before this process was there.
        Self { wake, fold_window, watch_until: Instant::now() }
    }

    /// Waits until it is worth it to look again, after a look that found all that was due.
    pub(super) async fn rings(&mut self) {
        let mut next_look = self.next_look(Instant::now());
        while Instant::now() < next_look {
            let Ok(()) = timeout_at(next_look, self.wake.notified()).await else { return };
            next_look = next_look.min(self.expect_jobs(Instant::now()));
        }
    }

    fn next_look(&self, now: Instant) -> Instant {
        now + if now < self.watch_until { WATCH } else { POLL }
    }

    /// Jobs have begun to wait; answers when they are due.
    fn expect_jobs(&mut self, now: Instant) -> Instant {
        let due_at = now + self.fold_window;
        self.watch_until = due_at + WATCH;
        due_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(fold_window: Duration) -> Alarm {
        Alarm::new(Arc::new(Notify::new()), fold_window)
    }

    #[test]
    fn nothing_known_is_looked_for_once_a_second() {
        let alarm = alarm(Duration::from_secs(3));
        let now = Instant::now();
        assert_eq!(alarm.next_look(now), now + POLL);
    }

    #[test]
    fn jobs_that_begin_to_wait_are_found_within_a_quarter_of_a_second_of_being_due() {
        let (mut alarm, mut now) = (alarm(Duration::from_secs(3)), Instant::now());
        let due_at = alarm.expect_jobs(now);
        assert_eq!(due_at, now + Duration::from_secs(3));
        while now < due_at {
            now = alarm.next_look(now).min(due_at + WATCH);
        }
        assert!(now < due_at + WATCH);
        let after = due_at + WATCH;
        assert_eq!(alarm.next_look(after), after + POLL, "then it is as before");
    }

    #[tokio::test]
    async fn without_a_fold_window_jobs_are_looked_for_at_once() {
        let mut alarm = alarm(Duration::ZERO);
        alarm.wake.notify_one();
        let asked_at = Instant::now();
        alarm.rings().await;
        assert!(alarm.watch_until > asked_at, "it was woken and did not come by itself");
    }
}
