//! What is told of the findings: a table, JSON, and a page. All are whole after every scenario, whatever comes then.

mod axis;
mod findings;
mod html;
mod json;
mod machine;
mod plot;
mod quantity;
#[cfg(test)]
mod sample;
mod table;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

pub use self::findings::Trouble;
use self::findings::{Finding, Standing};
use self::machine::Circumstances;
use self::table::Ink;
use crate::effort::Effort;
use crate::options::Options;
use crate::outcome::Outcome;

/// Of this run of the tool.
pub struct Report {
    circumstances: Circumstances,
    findings: Vec<Finding>,
    html: PathBuf,
    json: Option<PathBuf>,
    ink: Ink,
}

impl Report {
    /// Checks that the files can be written, before anything takes its minutes.
    pub fn begin(options: &Options, effort: &Effort) -> anyhow::Result<Self> {
        let is_coloured =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let report = Self {
            circumstances: Circumstances::of(options, effort, chrono::Utc::now()),
            findings: Vec::new(),
            html: options.html.clone(),
            json: options.json.clone(),
            ink: Ink { is_coloured },
        };
        for path in [Some(&report.html), report.json.as_ref()].into_iter().flatten() {
            beside(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(report)
    }

    /// Tells of a scenario as soon as it has ended.
    pub fn add(
        &mut self,
        scenario: String,
        took: Duration,
        result: Result<Outcome, Trouble>,
    ) -> anyhow::Result<()> {
        let finding = Finding { scenario, took, result };
        tell(&table::rows(&finding, self.ink))?;
        self.findings.push(finding);
        self.write()
    }

    /// Tells how the targets stand, and where the files are: the names of the scenarios that failed.
    pub fn end(&self) -> anyhow::Result<Vec<&str>> {
        tell(&table::summary(&self.findings, self.circumstances.is_smoke, self.ink))?;
        for path in [Some(&self.html), self.json.as_ref()].into_iter().flatten() {
            tell(&format!("{}\n", fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display()))?;
        }
        Ok(Standing::of(&self.findings).failed)
    }

    fn write(&self) -> anyhow::Result<()> {
        replace(&self.html, &html::page(&self.circumstances, &self.findings))?;
        if let Some(path) = &self.json {
            replace(path, &json::document(&self.circumstances, &self.findings)?)?;
        }
        Ok(())
    }
}

/// A reader never sees half a file, and what was there stays if there is no room.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || fs::rename(beside(path, text)?, path);
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Where the text was written: in the same directory, which is made.
fn beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)?;
    Ok(beside.into())
}

fn tell(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Says something that is no finding.
pub fn remark(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "bench: {text}");
}

/// Says why nothing more is measured.
pub fn complain(error: &anyhow::Error) {
    remark(&format!("{error:#}"));
}
