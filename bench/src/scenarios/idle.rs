//! `idle`: resident memory of a session that has nothing to say.

use crate::effort::Effort;
use crate::outcome::Outcome;

pub async fn run(_effort: &Effort) -> anyhow::Result<Outcome> {
    anyhow::bail!("not there yet")
}
