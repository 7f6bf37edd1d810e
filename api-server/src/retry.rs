//! Asking again until Redis or Postgres is back.

use std::time::Duration;

use tracing::warn;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks until there is an answer. Entries wait here while Redis or Postgres is gone; the backlog bounds how many.
pub(crate) async fn until_done<T, E, F>(what: &'static str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                if pause == FIRST_PAUSE {
                    warn!(%error, what, "delivery waits");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
