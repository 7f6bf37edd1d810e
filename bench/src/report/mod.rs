//! What is told of the findings: a table, JSON, and a page.

use std::io::{self, Write};

use crate::options::Options;
use crate::outcome::Outcome;

/// Writes everything that the options ask for.
pub fn write(_options: &Options, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for outcome in outcomes {
        for figure in &outcome.figures {
            let (low, high) = figure.spread();
            writeln!(
                out,
                "{:<9} {:<60} {:>14.3} {:?} ({low:.3} to {high:.3}) {:?} {:?}",
                outcome.scenario,
                figure.name,
                figure.median(),
                figure.unit,
                figure.target,
                figure.is_met()
            )?;
        }
    }
    Ok(())
}

/// Says why nothing more is measured.
pub fn complain(error: &anyhow::Error) {
    let _nobody_reads = writeln!(io::stderr(), "bench: {error:#}");
}
