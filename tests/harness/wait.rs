//! Waiting for what becomes true on its own time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for a loaded machine; only a failing test ever waits this long.
pub const LIMIT: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `is_true` until it says yes; panics with `what` after [`LIMIT`].
pub async fn eventually(what: &str, is_true: impl AsyncFnMut() -> bool) {
    eventually_within(LIMIT, what, is_true).await;
}

/// As [`eventually`], with a limit of the caller's.
pub async fn eventually_within(limit: Duration, what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    eventually_some_within(limit, what, async || is_true().await.then_some(())).await;
}

/// Asks `find` until it finds something; panics with `what` after [`LIMIT`].
pub async fn eventually_some<T>(what: &str, find: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_some_within(LIMIT, what, find).await
}

/// As [`eventually_some`], with a limit of the caller's.
pub async fn eventually_some_within<T>(
    limit: Duration,
    what: &str,
    mut find: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        // One question that hangs must not outlast the limit either.
        let answer = tokio::time::timeout_at(deadline, find()).await;
        if let Ok(Some(found)) = answer {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(PAUSE).await;
    }
}
