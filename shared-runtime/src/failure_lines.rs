//! How many failed requests are logged: while the database is away all of them fail, and their lines must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So that whoever has a request's id finds it, unless everything fails; then the metrics tell how much.
const LINES_A_SECOND: u32 = 100;

static LINES: Mutex<Lines> = Mutex::new(Lines { since: None, written: 0, left_out: 0 });

/// Lines of the second that began at `since`.
struct Lines {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// Whether one more may be written now, and how many have been left out before it.
pub(crate) fn take_line() -> Option<u64> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
}

impl Lines {
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            (self.since, self.written) = (Some(now), 0);
        }
        if self.written == LINES_A_SECOND {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_its_lines_and_the_next_one_says_how_many_were_left_out() {
        let mut lines = Lines { since: None, written: 0, left_out: 0 };
        let now = Instant::now();
        assert!((0..LINES_A_SECOND).all(|_| lines.take(now) == Some(0)));
        assert!((0..3).all(|_| lines.take(now).is_none()));
        let later = now + Duration::from_secs(1);
        assert_eq!([lines.take(later), lines.take(later)], [Some(3), Some(0)]);
    }
}
