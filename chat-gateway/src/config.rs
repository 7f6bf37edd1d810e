//! Every option, as a flag and an environment variable.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{CommandFactory, FromArgMatches, Parser};
use shared_runtime::healthcheck::HealthcheckOptions;
use shared_runtime::internal_secret::InternalSecretOptions;
use shared_runtime::logging::LogOptions;
use shared_runtime::redis::RedisOptions;
use shared_runtime::secret::OptionError;
use shared_runtime::tokens::TokenOptions;
use shared_runtime::traces::TraceOptions;
use url::Url;

const INTERNAL_LISTEN: &str = "0.0.0.0:8082";

/// What the command line asks for.
pub enum Invocation {
    Serve(Box<Config>),
    Healthcheck(Healthcheck),
}

impl Invocation {
    /// Not derived: what a gateway must be told, a check need not be.
    pub fn parse() -> Self {
        let command = Config::command()
            .subcommand(Healthcheck::command())
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true);
        let matches = command.get_matches();
        let parsed = match matches.subcommand_matches(HEALTHCHECK) {
            Some(matches) => Healthcheck::from_arg_matches(matches).map(Self::Healthcheck),
            None => Config::from_arg_matches(&matches).map(|config| Self::Serve(Box::new(config))),
        };
        parsed.unwrap_or_else(|error| error.exit())
    }
}

const HEALTHCHECK: &str = "healthcheck";

/// Ask the gateway that runs on this machine whether it is ready; exit with 0 or 1
#[derive(Debug, Parser)]
#[command(name = HEALTHCHECK)]
pub struct Healthcheck {
    /// Where its internal listener is
    #[arg(long, env = "NARU_INTERNAL_LISTEN", default_value = INTERNAL_LISTEN, value_name = "ADDRESS")]
    pub internal_listen: SocketAddr,
    #[command(flatten)]
    pub options: HealthcheckOptions,
}

/// Holds WebSocket sessions and writes entries to them.
#[derive(Debug, Clone, Parser)]
#[command(name = "chat-gateway", version)]
pub struct Config {
    /// Where clients connect
    #[arg(long, env = "NARU_LISTEN", default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where api-servers deliver; must not be reachable for clients
    #[arg(long, env = "NARU_INTERNAL_LISTEN", default_value = INTERNAL_LISTEN, value_name = "ADDRESS")]
    pub internal_listen: SocketAddr,
    /// How api-servers reach the internal listener, e.g. http://10.0.0.7:8082
    #[arg(long, env = "NARU_ADVERTISE_URL", value_name = "URL", value_parser = http_url)]
    pub advertise_url: Url,
    /// What POST /connect hands to clients, e.g. wss://gw.example.com/ws
    #[arg(long, env = "NARU_PUBLIC_URL", value_name = "URL", value_parser = websocket_url)]
    pub public_url: Url,
    /// The api-servers' internal base URL, e.g. http://api:8090
    #[arg(long, env = "NARU_API_URL", value_name = "URL", value_parser = http_url)]
    pub api_url: Url,
    /// Browsers' origins that may upgrade, comma-separated; `*` is any. A request without Origin is no browser
    #[arg(long, env = "NARU_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Add GET /ws/echo, which sends every message back, for conformance suites
    #[arg(
        long, env = "NARU_WS_ECHO", value_name = "BOOL", value_parser = BoolishValueParser::new(),
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true
    )]
    pub ws_echo: bool,

    #[command(flatten)]
    pub redis: RedisOptions,
    #[command(flatten)]
    pub tokens: TokenOptions,
    #[command(flatten)]
    pub internal_secret: InternalSecretOptions,
    #[command(flatten)]
    pub sessions: SessionOptions,
    #[command(flatten)]
    pub process: ProcessOptions,
    #[command(flatten)]
    pub traces: TraceOptions,
    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionOptions {
    /// How often the server pings
    #[arg(long, env = "NARU_PING_INTERVAL", default_value = "25s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub ping_interval: Duration,
    /// A session from which no frame came for this long is dropped
    #[arg(long, env = "NARU_SILENCE_LIMIT", default_value = "60s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub silence_limit: Duration,
    /// A connection that takes no byte for this long while some wait is dropped
    #[arg(long, env = "NARU_WRITE_LIMIT", default_value = "30s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub write_limit: Duration,
    /// Frames that may wait for one session; beyond it the session is closed with 4008
    // A waiting frame is shared: it costs a session 8 bytes, so a full mailbox of a stuck reader is 8 KiB. Twice what one
    // request of an api-server carries: after an outage a session may get that much at once, however fast it reads.
    #[arg(long, env = "NARU_MAILBOX_FRAMES", default_value = "1024", value_name = "COUNT")]
    pub mailbox_frames: NonZeroUsize,
    /// Sessions of one user on this gateway; beyond it a new one is closed with 4009
    #[arg(long, env = "NARU_MAX_SESSIONS_PER_USER", default_value = "32", value_name = "COUNT")]
    pub max_sessions_per_user: NonZeroUsize,
    /// Sessions of this process; beyond it an upgrade is answered with 503
    #[arg(long, env = "NARU_MAX_SESSIONS", default_value = "100000", value_name = "COUNT")]
    pub max_sessions: NonZeroUsize,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Process")]
pub struct ProcessOptions {
    /// Longest time from SIGTERM to the end of the process
    #[arg(long, env = "NARU_SHUTDOWN_GRACE", default_value = "30s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub shutdown_grace: Duration,
    /// Over how long a drain spreads the clients' reconnects
    #[arg(long, env = "NARU_DRAIN_WINDOW", default_value = "20s", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub drain_window: Duration,
    /// Threads that serve clients; as many as there are cores, unless given
    #[arg(long, env = "NARU_HTTP_WORKERS", value_name = "COUNT")]
    pub http_workers: Option<NonZeroUsize>,
}

impl Config {
    /// What no single option can know to be wrong.
    pub fn check(&self) -> Result<(), OptionError> {
        let invalid = |name, rule: &str| Err(OptionError::Invalid { name, rule: rule.into() });
        // Port 0 means "any free one", which is never the same twice.
        if self.listen.port() != 0 && self.listen.port() == self.internal_listen.port() {
            return invalid(
                "NARU_INTERNAL_LISTEN",
                "must have another port than NARU_LISTEN: clients must not reach internal calls",
            );
        }
        if self.sessions.ping_interval.is_zero() {
            return invalid("NARU_PING_INTERVAL", "must be more than zero");
        }
        if self.sessions.silence_limit <= self.sessions.ping_interval {
            return invalid("NARU_SILENCE_LIMIT", "must be longer than NARU_PING_INTERVAL");
        }
        if self.sessions.write_limit.is_zero() {
            return invalid("NARU_WRITE_LIMIT", "must be more than zero");
        }
        if self.process.drain_window >= self.process.shutdown_grace {
            return invalid("NARU_DRAIN_WINDOW", "must be shorter than NARU_SHUTDOWN_GRACE");
        }
        self.traces.collector()?;
        Ok(())
    }
}

fn http_url(raw: &str) -> Result<Url, String> {
    url_of(raw, ["http", "https"], "must be an http or https URL")
}

fn websocket_url(raw: &str) -> Result<Url, String> {
    url_of(raw, ["ws", "wss"], "must be a ws or wss URL")
}

fn url_of(raw: &str, schemes: [&str; 2], rule: &str) -> Result<Url, String> {
    let url = Url::parse(raw).ok().filter(|url| schemes.contains(&url.scheme()) && url.has_host());
    let url = url.ok_or_else(|| rule.to_owned())?;
    let is_bare = url.username().is_empty() && url.password().is_none();
    if is_bare && url.query().is_none() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(format!("{rule} without credentials, query and fragment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        let required = [
            "chat-gateway",
            "--advertise-url=http://127.0.0.1:1",
            "--public-url=ws://127.0.0.1:2/ws",
            "--api-url=http://127.0.0.1:3",
            "--redis-url=redis://127.0.0.1",
        ];
        Config::try_parse_from(required.iter().chain(more))
    }

    #[test]
    fn the_options_are_consistent() {
        use clap::CommandFactory;
        Config::command().debug_assert();
        parse(&[]).unwrap().check().unwrap();
    }

    #[test]
    fn the_internal_port_must_not_be_the_public_one() {
        let config = parse(&["--listen=127.0.0.1:9000", "--internal-listen=0.0.0.0:9000"]).unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with("NARU_INTERNAL_LISTEN must have another port"), "{error}");
    }

    #[test]
    fn options_that_contradict_each_other_are_named() {
        for (option, name) in [
            ("--silence-limit=25s", "NARU_SILENCE_LIMIT"),
            ("--ping-interval=0s", "NARU_PING_INTERVAL"),
            ("--drain-window=30s", "NARU_DRAIN_WINDOW"),
            ("--write-limit=0s", "NARU_WRITE_LIMIT"),
        ] {
            let error = parse(&[option]).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(name), "{option}: {error}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_with_the_name_of_its_option() {
        for (option, name) in [
            ("--ws-echo=perhaps", "--ws-echo"),
            ("--ping-interval=soon", "--ping-interval"),
            ("--mailbox-frames=0", "--mailbox-frames"),
        ] {
            let error = parse(&[option]).unwrap_err().to_string();
            assert!(error.contains(name), "{option}: {error}");
        }
        let wrong = ["gw", "--redis-url=redis://h", "--advertise-url=ftp://h", "--public-url=ws://h/ws"];
        let error = Config::try_parse_from(wrong.iter().chain(&["--api-url=http://h"])).unwrap_err();
        assert!(error.to_string().contains("--advertise-url"), "{error}");
    }

    #[test]
    fn echo_is_off_unless_asked_for() {
        assert!(!parse(&[]).unwrap().ws_echo);
        assert!(!parse(&["--ws-echo=false"]).unwrap().ws_echo);
        assert!(parse(&["--ws-echo"]).unwrap().ws_echo);
        assert!(parse(&["--ws-echo=true"]).unwrap().ws_echo);
    }
}
