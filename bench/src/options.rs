//! What the command line says.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use shared_runtime::secret::Secret;

use crate::effort::Effort;

/// Measures a Naru: what it does in a second, how long it takes, and what it costs; each figure beside a floor that is
/// measured in the same run on the same machine.
///
/// With --local everything runs here, on a private PostgreSQL, Redis and release-built services that end with the
/// tool. With --api the load goes to a deployment that is there already; `all` and `quick` then leave out, by name, what
/// needs to see inside it. Channels that are made there stay there, named `bench`, with members `bench-0000000` and so
/// on: measure one that you can throw away, with its send rate unlimited (NARU_SEND_RATE=0), from a machine of its own.
///
/// Leave nothing else running on the machine. The report is written anew after every scenario, so Ctrl-C loses only the
/// scenario that it interrupts. A scenario that fails makes the exit code 1; a target that is missed does not.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES)]
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

const EXAMPLES: &str = "Examples:
  cargo run -r -p bench -- quick --local
  cargo run -r -p bench -- all --local --json findings.json
  cargo run -r -p bench -- send deliver --api https://chat.example.com --jwt-secret-file secret";

#[derive(Debug, Args)]
pub struct SiteOptions {
    /// Start a private cluster and measure that
    #[arg(long, conflicts_with = "api", required_unless_present = "api")]
    pub local: bool,
    /// Base URL of a running deployment's public API, with its scheme
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Where clients of the deployment connect, e.g. wss://gateway.example.com/ws; repeat it for several. Without it, the
    /// deployment is asked (POST /connect)
    #[arg(long, value_name = "URL", requires = "api")]
    pub gateway: Vec<String>,
    /// The deployment's HS256 secret, to sign tokens of made-up users with
    #[arg(long, env = "NARU_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "NARU_JWT_SECRET_FILE", value_name = "PATH", conflicts_with = "jwt_secret")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Tokens made elsewhere, one line a user: the user's id, a space, the token. That of the user `service` has the role
    /// `service`, and makes the channels
    #[arg(long, value_name = "PATH", requires = "api", conflicts_with_all = ["jwt_secret", "jwt_secret_file"])]
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

impl Choice {
    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it stands for all scenarios.
    fn is_collective(self) -> bool {
        matches!(self, Self::All | Self::Quick)
    }

    /// Whether it can do without a look at the servers' insides, and without floors beside them.
    pub fn runs_anywhere(self) -> bool {
        matches!(self, Self::Send | Self::Deliver)
    }
}

impl Options {
    /// What the command line says, or what of it makes no sense.
    pub fn from_command_line() -> Result<Self, clap::Error> {
        let options = Self::try_parse()?;
        options.contradiction().map_or(Ok(options), |contradiction| {
            Err(Self::command().error(ErrorKind::ArgumentConflict, contradiction))
        })
    }

    fn contradiction(&self) -> Option<String> {
        let collective = self.scenarios.iter().find(|choice| choice.is_collective());
        if let (Some(collective), [_, _, ..]) = (collective, self.scenarios.as_slice()) {
            return Some(format!("`{}` stands for every scenario: name it alone", collective.name()));
        }
        let is_in_need = |choice: &&Choice| !choice.is_collective() && !choice.runs_anywhere();
        let in_need: Vec<String> =
            self.scenarios.iter().filter(is_in_need).map(|choice| choice.name()).collect();
        (self.site.api.is_some() && !in_need.is_empty()).then(|| {
            format!(
                "{} cannot be measured from outside, as --api does: only with --local",
                in_need.join(", ")
            )
        })
    }

    /// Whether this scenario was named, or stands among all.
    pub fn takes(&self, choice: Choice) -> bool {
        self.scenarios.iter().any(|named| named.is_collective() || *named == choice)
    }

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

    /// What was asked for, for a report that anybody may read: what figures depend on, and no secret, token or path.
    pub fn told(&self) -> String {
        let mut words = vec!["bench".to_owned()];
        words.extend(self.scenarios.iter().map(|choice| choice.name()));
        match &self.site.api {
            // A user and a password may stand before the host.
            Some(api) => words.push(format!("--api {}", without_credentials(api))),
            None => words.push("--local".to_owned()),
        }
        words.extend(self.site.gateway.iter().map(|url| format!("--gateway {}", without_credentials(url))));
        words.extend(self.runs.map(|runs| format!("--runs {runs}")));
        words.extend(self.seconds.map(|seconds| format!("--seconds {seconds}")));
        words.extend(self.smoke.then(|| "--smoke".to_owned()));
        words.join(" ")
    }
}

/// Scheme, host and path of a URL; the query may have a secret too.
fn without_credentials(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn the_options_fit_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_command_of_a_report_has_no_secret() {
        let line =
            "bench send --api https://user:word@chat.example.com/naru?key=word --jwt-secret word --runs 2";
        assert_eq!(options(line).told(), "bench send --api https://chat.example.com/naru --runs 2");
        assert_eq!(options("bench quick --local --smoke").told(), "bench quick --local --smoke");
    }

    #[test]
    fn what_makes_no_sense_together_is_named() {
        let contradiction = |line: &str| options(line).contradiction();
        let named = contradiction("bench send quick --local").unwrap();
        assert!(named.contains("`quick` stands for every scenario"), "{named}");
        let named = contradiction("bench send cost idle --api http://h").unwrap();
        assert!(named.contains("cost, idle cannot be measured from outside"), "{named}");
        for line in
            ["bench all --api http://h", "bench send deliver --api http://h", "bench store hot --local"]
        {
            assert_eq!(contradiction(line), None, "{line}");
        }
    }

    #[test]
    fn all_takes_everything_and_quick_takes_it_at_a_small_size() {
        assert!(options("bench all --local").takes(Choice::Peer));
        assert!(options("bench quick --local").takes(Choice::Peer));
        assert!(!options("bench send --local").takes(Choice::Peer));
        let is_small = |line: &str| options(line).effort().is_small;
        assert_eq!((is_small("bench all --local"), is_small("bench quick --local")), (false, true));
    }
}
