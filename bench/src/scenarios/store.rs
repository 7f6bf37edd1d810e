//! `store` and `hot`: the writer alone, over many channels and into one.

use crate::effort::Effort;
use crate::outcome::Outcome;

/// How many channels the messages go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    Many,
    One,
}

pub async fn run(_effort: &Effort, _channels: Channels) -> anyhow::Result<Outcome> {
    anyhow::bail!("not there yet")
}
