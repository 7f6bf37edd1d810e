//! Moments a while from another one, in milliseconds, as SQLite keeps them.

use std::time::Duration;

use crate::store::columns::Moment;

/// Rounded up: nothing is due before its time.
pub(super) fn after(moment: Moment, pause: Duration) -> i64 {
    moment.as_millis().saturating_add(millis(pause))
}

/// Rounded so that it lies back as far as `pause` at least.
pub(super) fn before(moment: Moment, pause: Duration) -> i64 {
    moment.as_millis().saturating_sub(millis(pause))
}

fn millis(pause: Duration) -> i64 {
    i64::try_from(pause.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}
