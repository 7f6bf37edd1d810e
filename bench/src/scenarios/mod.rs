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

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use anyhow::bail;
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::effort::Effort;
use crate::options::{Choice, Options};
use crate::outcome::Outcome;
use crate::report::{Report, Trouble};
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

/// Runs what was chosen, and reports. An error is also that a scenario has failed.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let effort = options.effort();
    if cfg!(debug_assertions) && !options.smoke {
        report::remark(
            "built without optimisations: the figures mean nothing. `cargo run --release` measures",
        );
    }
    let place = Place::of(&options.site).await?;
    if matches!(place, Place::Local) {
        site::programs::build()?;
    }
    let mut report = Report::begin(options, &effort)?;
    // From here on Ctrl-C lets what was started end in order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut is_interrupted = false;
    for choice in ALL.into_iter().filter(|choice| options.takes(*choice)) {
        let started = Instant::now();
        let result = if matches!(place, Place::Deployment(_)) && !choice.runs_anywhere() {
            Err(Trouble::LeftOut("it cannot be measured from outside".to_owned()))
        } else {
            tokio::select! {
                result = contained(run_one(choice, &effort, &place)) => {
                    result.map_err(|error| Trouble::Failed(format!("{error:#}")))
                }
                _ = interrupt.recv() => {
                    is_interrupted = true;
                    Err(Trouble::Failed("interrupted".to_owned()))
                }
            }
        };
        report.add(choice.name(), started.elapsed(), result)?;
        if is_interrupted {
            break;
        }
    }
    match report.end()?.as_slice() {
        [] => Ok(()),
        failed => bail!("failed: {}", failed.join(", ")),
    }
}

/// Turns a panic into an error: the harness that starts servers is one for tests, and a scenario must not take the
/// others with it.
async fn contained(scenario: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    // What a scenario had is dropped with it.
    let ended = AssertUnwindSafe(scenario).catch_unwind().await;
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        bail!("panicked: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("without a word"))
    })
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
        Choice::All | Choice::Quick => bail!("stands for others"),
    }
}
