//! The scenarios: one file each. They run one after the other, each on a cluster of its own.

mod send;

use crate::effort::Effort;
use crate::options::{Choice, Options};
use crate::outcome::Outcome;
use crate::{report, site};

/// Runs what was chosen, and reports.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let effort = options.effort();
    if options.site.local {
        site::programs::build()?;
    }
    let mut outcomes = Vec::new();
    for choice in chosen(&options.scenarios) {
        outcomes.push(run_one(choice, &effort).await?);
    }
    report::write(options, &outcomes)
}

/// In the order of the list, none twice.
fn chosen(choices: &[Choice]) -> Vec<Choice> {
    let all = [Choice::Send];
    let takes_all = choices.iter().any(|choice| matches!(choice, Choice::All | Choice::Quick));
    all.into_iter().filter(|choice| takes_all || choices.contains(choice)).collect()
}

async fn run_one(choice: Choice, effort: &Effort) -> anyhow::Result<Outcome> {
    match choice {
        Choice::Send => send::run(effort).await,
        _ => anyhow::bail!("not there yet"),
    }
}
