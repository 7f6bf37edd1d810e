//! A little chance, so that what begins together does not go on together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A random duration below `most`. Not for secrets.
pub(crate) fn jitter(most: Duration) -> Duration {
    // A hasher's random key is all that is asked for; the thread's keys differ each time.
    let random = RandomState::new().hash_one(0_u8) >> 32;
    most.mul_f64(random as f64 / (1_u64 << 32) as f64)
}
