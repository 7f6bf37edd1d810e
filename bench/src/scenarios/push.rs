//! `push`: pushes a second, to an FCM that answers at once and to one that takes 50 ms.

use crate::effort::Effort;
use crate::outcome::Outcome;

pub async fn run(_effort: &Effort) -> anyhow::Result<Outcome> {
    anyhow::bail!("not there yet")
}
