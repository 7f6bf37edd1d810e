//! On what was measured, when, and how: without it a figure says nothing.

use std::fs;
use std::process::Command;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::effort::Effort;
use crate::options::Options;

/// Facts about this run of the tool. Nothing of them is secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Circumstances {
    pub version: &'static str,
    pub command: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub is_release_build: bool,
    pub runs: usize,
    pub warm_up_seconds: f64,
    pub measured_seconds: f64,
    pub is_small: bool,
    pub is_smoke: bool,
    pub machine: Machine,
}

/// What cannot be read is `None`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// That we may use.
    pub cores: Option<usize>,
    pub processor: Option<String>,
    pub memory_bytes: Option<u64>,
    pub kernel: Option<String>,
    pub postgres: Option<String>,
    pub redis: Option<String>,
}

impl Circumstances {
    pub fn of(options: &Options, effort: &Effort, now: DateTime<Utc>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: options.told(),
            started_at: now.to_rfc3339_opts(SecondsFormat::Secs, true),
            is_release_build: !cfg!(debug_assertions),
            runs: effort.runs,
            warm_up_seconds: effort.warm_up.as_secs_f64(),
            measured_seconds: effort.measured.as_secs_f64(),
            is_small: effort.is_small,
            is_smoke: options.smoke,
            machine: Machine::look(options.site.local),
        }
    }
}

impl Machine {
    /// The servers are those that a private cluster is made of; a deployment's are not ours to see.
    fn look(with_servers: bool) -> Self {
        let postgres = || version(harness::postgres_programs::find_programs().join("postgres").into());
        Self {
            cores: std::thread::available_parallelism().ok().map(Into::into),
            processor: field("/proc/cpuinfo", "model name"),
            memory_bytes: field("/proc/meminfo", "MemTotal").as_deref().and_then(bytes),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
            postgres: with_servers.then(postgres).flatten(),
            redis: with_servers.then(|| version("redis-server".into())).flatten(),
        }
    }
}

/// The first line `name : value` of a file of `/proc`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.map(|(_, value)| value.trim().to_owned())
}

fn bytes(kilobytes: &str) -> Option<u64> {
    Some(kilobytes.strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The first thing with a digit at its beginning in what `program --version` says, `v=7.0.15` included.
fn version(program: std::ffi::OsString) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace().map(|word| word.trim_start_matches("v="));
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned)
}
