//! `grow`: what a message costs with more channels and with more gateways.

use crate::effort::Effort;
use crate::outcome::Outcome;

pub async fn run(_effort: &Effort) -> anyhow::Result<Outcome> {
    anyhow::bail!("not there yet")
}
