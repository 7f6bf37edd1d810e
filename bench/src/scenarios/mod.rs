//! The scenarios: one file each. They run one after the other, each on clusters of its own.

mod cost;
mod deliver;
mod fanout;
mod grow;
mod idle;
mod lookup;
mod overload;
mod peer;
mod push;
mod send;
mod slow;
mod store;
mod storm;

use crate::effort::Effort;
use crate::options::{Choice, Options};
use crate::outcome::Outcome;
use crate::site::Place;
use crate::{report, site};

/// In the order in which they run and are reported.
const ALL: [Choice; 14] = [
    Choice::Store,
    Choice::Hot,
    Choice::Send,
    Choice::Deliver,
    Choice::Cost,
    Choice::Fanout,
    Choice::Idle,
    Choice::Storm,
    Choice::Overload,
    Choice::Slow,
    Choice::Push,
    Choice::Lookup,
    Choice::Grow,
    Choice::Peer,
];

/// Runs what was chosen, and reports.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let effort = options.effort();
    let place = Place::of(&options.site)?;
    if matches!(place, Place::Local) {
        site::programs::build()?;
    }
    let mut outcomes = Vec::new();
    for choice in chosen(&options.scenarios) {
        outcomes.push(run_one(choice, &effort, &place).await?);
    }
    report::write(options, &outcomes)
}

/// Those of [`ALL`] that are named, or all.
fn chosen(choices: &[Choice]) -> Vec<Choice> {
    let takes_all = choices.iter().any(|choice| matches!(choice, Choice::All | Choice::Quick));
    ALL.into_iter().filter(|choice| takes_all || choices.contains(choice)).collect()
}

async fn run_one(choice: Choice, effort: &Effort, place: &Place) -> anyhow::Result<Outcome> {
    match choice {
        Choice::Store => store::run(effort, store::Channels::Many).await,
        Choice::Hot => store::run(effort, store::Channels::One).await,
        Choice::Send => send::run(effort, place).await,
        Choice::Deliver => deliver::run(effort, place).await,
        Choice::Cost => cost::run(effort).await,
        Choice::Fanout => fanout::run(effort).await,
        Choice::Idle => idle::run(effort).await,
        Choice::Storm => storm::run(effort).await,
        Choice::Overload => overload::run(effort).await,
        Choice::Slow => slow::run(effort).await,
        Choice::Push => push::run(effort).await,
        Choice::Lookup => lookup::run(effort).await,
        Choice::Grow => grow::run(effort).await,
        Choice::Peer => peer::run(effort).await,
        Choice::All | Choice::Quick => anyhow::bail!("stands for others"),
    }
}
