//! `slow`: what 999 others notice of a socket that does not read.

use crate::effort::Effort;
use crate::outcome::Outcome;

pub async fn run(_effort: &Effort) -> anyhow::Result<Outcome> {
    anyhow::bail!("not there yet")
}
