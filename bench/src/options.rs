//! What the command line says.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use shared_runtime::secret::Secret;

use crate::effort::Effort;

/// Measures a Naru: what it does in a second, how long it takes, and what it costs; each figure beside a floor that is
/// measured in the same run on the same machine.
///
/// With --local everything runs here, on a private PostgreSQL, Redis and release-built services that end with the
/// tool. With --api the load goes to a deployment that is there already; scenarios that need to see inside it are left
/// out, by name. Leave nothing else running on the machine.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Options {
    /// What to measure
    #[arg(value_enum, required = true, num_args = 1..)]
    pub scenarios: Vec<Choice>,
    #[command(flatten)]
    pub site: SiteOptions,
    /// Runs of each measurement, of which the median and the spread are told; 5, with `quick` 3
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub runs: Option<u16>,
    /// Seconds that count of each run; 3, with `quick` 1
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: Option<u16>,
    /// Only see that everything runs: one run of a fraction of a second at a small size. Its figures say nothing
    #[arg(long, conflicts_with_all = ["runs", "seconds"])]
    pub smoke: bool,
    /// Where to write the findings as JSON
    #[arg(long, value_name = "PATH")]
    pub json: Option<PathBuf>,
    /// Where to write the report, one HTML file that opens offline
    #[arg(long, value_name = "PATH", default_value = "target/bench/report.html")]
    pub html: PathBuf,
}

#[derive(Debug, Args)]
pub struct SiteOptions {
    /// Start a private cluster and measure that
    #[arg(long, conflicts_with = "api", required_unless_present = "api")]
    pub local: bool,
    /// Base URL of a running deployment's public API, e.g. https://chat.example.com
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// The deployment's HS256 secret, to sign tokens of made-up users with
    #[arg(long, env = "NARU_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_JWT_SECRET_FILE", value_name = "PATH", conflicts_with = "jwt_secret")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Tokens made elsewhere, one line a user: the user's id, a space, the token
    #[arg(long, value_name = "PATH", conflicts_with_all = ["jwt_secret", "jwt_secret_file"])]
    pub tokens: Option<PathBuf>,
}

/// A scenario by name, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Every scenario, in under 40 minutes on two cores
    All,
    /// Every scenario at a small size, in 5 minutes
    Quick,
    /// The writer alone: messages stored a second, beside a batched insert and one row per transaction
    Store,
    /// The same into one channel
    Hot,
    /// POST to 201 by 256 clients, 2-member channels, members connected
    Send,
    /// 10-member channels, all connected: stored and delivered a second, and how long it takes
    Deliver,
    /// CPU time of services, Postgres and Redis for one message
    Cost,
    /// CPU time of a gateway for one frame, and frames a second in a burst
    Fanout,
    /// Resident memory of an idle session
    Idle,
    /// Connects a second, and connects that resume
    Storm,
    /// A minute at twice the capacity
    Overload,
    /// What the others notice of a socket that does not read
    Slow,
    /// Pushes a second
    Push,
    /// Round trip to the registry for 10, 100 and 1,000 recipients
    Lookup,
    /// What a message costs with more channels and more gateways
    Grow,
    /// The same fan-out by Socket.IO with its Redis adapter; needs Node
    Peer,
}

impl Options {
    /// How long and how often is measured.
    pub fn effort(&self) -> Effort {
        let mut effort = match () {
            () if self.smoke => Effort::SMOKE,
            () if self.scenarios.contains(&Choice::Quick) => Effort::QUICK,
            () => Effort::FULL,
        };
        if let Some(runs) = self.runs {
            effort.runs = runs.into();
        }
        if let Some(seconds) = self.seconds {
            effort.measured = std::time::Duration::from_secs(seconds.into());
        }
        effort
    }
}
