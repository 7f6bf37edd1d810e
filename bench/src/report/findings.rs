//! All that one run of the tool has found so far.

use std::time::Duration;

use crate::outcome::{Figure, Outcome};

/// One scenario that had its turn.
#[derive(Debug)]
pub struct Finding {
    /// As on the command line.
    pub scenario: String,
    pub took: Duration,
    pub result: Result<Outcome, Trouble>,
}

/// Why a scenario has found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    Failed(String),
    /// It cannot be measured here.
    LeftOut(String),
}

impl Finding {
    pub fn figures(&self) -> &[Figure] {
        self.result.as_ref().map_or(&[], |outcome| outcome.figures.as_slice())
    }
}

/// How the targets stand.
#[derive(Debug, Default)]
pub struct Standing<'a> {
    pub met: usize,
    /// By scenario.
    pub missed: Vec<(&'a str, &'a Figure)>,
    pub failed: Vec<&'a str>,
    pub left_out: Vec<&'a str>,
}

impl<'a> Standing<'a> {
    pub fn of(findings: &'a [Finding]) -> Self {
        let mut standing = Self::default();
        for finding in findings {
            match &finding.result {
                Ok(_) => {}
                Err(Trouble::Failed(_)) => standing.failed.push(&finding.scenario),
                Err(Trouble::LeftOut(_)) => standing.left_out.push(&finding.scenario),
            }
            for figure in finding.figures() {
                match figure.is_met() {
                    Some(true) => standing.met += 1,
                    Some(false) => standing.missed.push((&finding.scenario, figure)),
                    None => {}
                }
            }
        }
        standing
    }
}
