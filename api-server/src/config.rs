//! The service's options: flags, environment variables, defaults.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use shared_runtime::healthcheck::HealthcheckOptions;
use shared_runtime::internal_secret::InternalSecretOptions;
use shared_runtime::logging::LogOptions;
use shared_runtime::origins::parse_origins;
use shared_runtime::redis::RedisOptions;
use shared_runtime::secret::{OptionError, Secret, secret_from};
use shared_runtime::tokens::TokenOptions;
use shared_runtime::traces::{SamplingOptions, TraceOptions};
use shared_types::UserId;
use url::Url;

use crate::push::PushQuotas;
use crate::push::fcm::{self, FcmOptions};
use crate::store::Statements;

const INTERNAL_LISTEN: &str = "0.0.0.0:8090";
/// A push that comes later than this tells nobody anything.
const LONGEST_PUSH_WAIT: Duration = Duration::from_secs(3_600);
/// Acks come together once a second, so that a shorter one would push to those who have acked; until a longer one is
/// over, everything that was written is kept in the outbox.
const ACK_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// What is delivered, pushed or repeated later than this is given up by then; the longest is a moment that every database
/// can subtract.
const RETENTIONS: RangeInclusive<Duration> =
    Duration::from_secs(24 * 3_600)..=Duration::from_secs(100 * 366 * 24 * 3_600);

/// Takes messages over REST, stores them in Postgres, and sees to their delivery: through the chat-gateway that
/// holds the recipient's session, or by push.
#[derive(Debug, Parser)]
#[command(name = "api-server", version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub config: Config,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply the migrations that are missing, and exit
    Migrate {
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// Ask the server that runs on this machine whether it is ready; exit with 0 or 1
    Healthcheck {
        /// Where its internal listener is
        #[arg(long, env = "NARU_INTERNAL_LISTEN", default_value = INTERNAL_LISTEN, value_name = "ADDRESS")]
        internal_listen: SocketAddr,
        #[command(flatten)]
        options: HealthcheckOptions,
    },
    /// Print a token signed with the configured secret, for trying things out
    Token {
        /// The user that the token names
        #[arg(long, value_name = "USER")]
        sub: UserId,
        /// How long it is good for
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
        ttl: Duration,
        /// Make it a token of the host's back end, which may act for any user
        #[arg(long)]
        service: bool,
        #[command(flatten)]
        tokens: TokenOptions,
    },
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Postgres")]
pub struct DatabaseOptions {
    /// Postgres, e.g. postgres://naru@127.0.0.1/naru
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    database_url_file: Option<PathBuf>,
    /// `false` behind a pooler in transaction mode, such as PgBouncer: nothing is kept in a session
    #[arg(
        long = "database-prepared-statements",
        env = "NARU_DATABASE_PREPARED_STATEMENTS",
        action = ArgAction::Set,
        default_value = "true",
        value_parser = BoolishValueParser::new(),
        value_name = "BOOL"
    )]
    prepared_statements: bool,
}

impl DatabaseOptions {
    /// How statements reach Postgres.
    pub fn statements(&self) -> Statements {
        if self.prepared_statements { Statements::Named } else { Statements::Unnamed }
    }

    pub fn url(&self) -> Result<Secret, OptionError> {
        secret_from("DATABASE_URL", self.database_url.as_ref(), self.database_url_file.as_deref())?
            .ok_or(OptionError::Missing { name: "DATABASE_URL", flag: "--database-url" })
    }
}

/// Everything that the service can be told.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where the public REST API listens
    #[arg(
        long,
        env = "NARU_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS",
        help_heading = "Listeners"
    )]
    pub listen: SocketAddr,
    /// Where gateways, probes and Prometheus reach it; never public
    #[arg(
        long,
        env = "NARU_INTERNAL_LISTEN",
        default_value = INTERNAL_LISTEN,
        value_name = "ADDRESS",
        help_heading = "Listeners"
    )]
    pub internal_listen: SocketAddr,
    /// Browsers' origins that may call, comma-separated (`*`: any); none by default
    #[arg(
        long,
        env = "NARU_ALLOWED_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGINS",
        help_heading = "Listeners"
    )]
    pub allowed_origins: Vec<String>,
    /// Threads that serve requests; default: one for each core
    #[arg(long, env = "NARU_HTTP_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N", help_heading = "Listeners")]
    pub http_workers: Option<u16>,
    /// Longest time to finish what was begun after SIGTERM
    #[arg(long, env = "NARU_SHUTDOWN_GRACE", default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Listeners")]
    pub shutdown_grace: Duration,

    /// Serve the chat page at `/`
    #[arg(long, env = "NARU_WEB", value_parser = BoolishValueParser::new(), help_heading = "Page")]
    pub web: bool,
    /// Hand out tokens for any name, and the operator's view of the page, to anybody: only for trying things out
    #[arg(long = "try", env = "NARU_TRY", value_parser = BoolishValueParser::new(), help_heading = "Page")]
    pub try_out: bool,

    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Most connections to Postgres; the writers keep one each
    #[arg(long, env = "NARU_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(4..=1000), value_name = "N", help_heading = "Postgres")]
    pub database_connections: u32,
    /// Leave the migrations to `api-server migrate`
    #[arg(long, env = "NARU_NO_MIGRATE", value_parser = BoolishValueParser::new(), help_heading = "Postgres")]
    pub no_migrate: bool,

    /// How long messages are kept, e.g. 365d, at least 1d; absent: for ever
    #[arg(long, env = "NARU_RETENTION", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Postgres")]
    pub retention: Option<Duration>,

    #[command(flatten)]
    pub redis: RedisOptions,
    #[command(flatten)]
    pub tokens: TokenOptions,
    #[command(flatten)]
    pub internal: InternalSecretOptions,

    /// Sends a second that a user may make for long; 0 switches the limit off
    #[arg(long, env = "NARU_SEND_RATE", default_value_t = 20.0, value_name = "N", help_heading = "Limits")]
    pub send_rate: f64,
    /// Sends that a user may make at once
    #[arg(long, env = "NARU_SEND_BURST", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Limits")]
    pub send_burst: u32,
    /// Sends that may wait to be stored; beyond it the answer is `overloaded`
    #[arg(long, env = "NARU_MAX_WAITING_SENDS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N", help_heading = "Limits")]
    pub max_waiting_sends: u32,
    /// Stored entries that may wait to be delivered; beyond it the answer is `overloaded`
    #[arg(long, env = "NARU_MAX_UNDELIVERED", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "N", help_heading = "Limits")]
    pub max_undelivered: u32,
    /// Tasks that store messages, a channel's always the same one; default: one for every two cores, at most 4
    #[arg(long, env = "NARU_WRITERS", value_parser = clap::value_parser!(u8).range(1..=8), value_name = "N", help_heading = "Limits")]
    writers: Option<u8>,

    /// Google's service-account JSON; absent: pushes are logged, not sent
    #[arg(long, env = "NARU_FCM_SERVICE_ACCOUNT", value_name = "PATH", help_heading = "Push")]
    pub fcm_service_account: Option<PathBuf>,
    /// Where FCM is; plain http only on loopback
    #[arg(long, env = "NARU_FCM_ENDPOINT", default_value = fcm::DEFAULT_ENDPOINT, value_name = "URL", help_heading = "Push")]
    pub fcm_endpoint: Url,
    /// Pushes on their way to FCM at one time
    #[arg(long, env = "NARU_PUSH_IN_FLIGHT", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N", help_heading = "Push")]
    pub push_in_flight: u16,
    /// How long FCM keeps a push for a device that is off
    #[arg(long, env = "NARU_PUSH_TTL", default_value = "7d", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Push")]
    pub push_ttl: Duration,
    /// Push "New message" and nothing of the message itself
    #[arg(long, env = "NARU_PUSH_HIDE_CONTENT", value_parser = BoolishValueParser::new(), help_heading = "Push")]
    pub push_hide_content: bool,
    /// How long a device that acks may take to say that it has a message; then there is a push
    #[arg(long, env = "NARU_ACK_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Push")]
    pub ack_timeout: Duration,
    /// How long a channel's messages gather before a device is told of them in one push; 0s: not at all
    #[arg(long, env = "NARU_PUSH_FOLD_WINDOW", default_value = "1s", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Push")]
    pub push_fold_window: Duration,
    /// Pushes a minute to one Android device, by all servers together; Google's quota; 0: no limit
    #[arg(
        long,
        env = "NARU_PUSH_DEVICE_PER_MINUTE",
        default_value_t = 240,
        value_name = "N",
        help_heading = "Push"
    )]
    pub push_device_per_minute: u32,
    /// Pushes an hour to one Android device, by all servers together; Google's quota; 0: no limit
    #[arg(
        long,
        env = "NARU_PUSH_DEVICE_PER_HOUR",
        default_value_t = 5_000,
        value_name = "N",
        help_heading = "Push"
    )]
    pub push_device_per_hour: u32,
    /// Pushes a minute of the whole Firebase project, by all servers together; Google's quota; 0: no limit
    #[arg(
        long,
        env = "NARU_PUSH_PROJECT_PER_MINUTE",
        default_value_t = 600_000,
        value_name = "N",
        help_heading = "Push"
    )]
    pub push_project_per_minute: u32,
    /// How long pushing stops when Google refuses our credentials, before one push is tried again
    #[arg(long, env = "NARU_PUSH_FAULT_PAUSE", default_value = "60s", value_parser = humantime::parse_duration, value_name = "TIME", help_heading = "Push")]
    pub push_fault_pause: Duration,

    #[command(flatten)]
    pub traces: TraceOptions,
    #[command(flatten)]
    pub sampling: SamplingOptions,
    #[command(flatten)]
    pub logs: LogOptions,
}

impl Config {
    /// The options of a service, as its command line gives them; without the program's name.
    pub fn try_parse_from<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        let program = std::iter::once(OsString::from("api-server"));
        Ok(Cli::try_parse_from(program.chain(arguments.into_iter().map(Into::into)))?.config)
    }

    /// What clap cannot see: options that contradict each other, and secrets. All of it before anything is connected.
    pub fn check(&self) -> Result<(), OptionError> {
        self.tokens.verifier()?;
        self.internal.resolve()?;
        if self.listen.port() != 0 && self.listen.port() == self.internal_listen.port() {
            return Err(OptionError::Invalid {
                name: "NARU_INTERNAL_LISTEN",
                rule: "must not have the public listener's port (NARU_LISTEN)".into(),
            });
        }
        if !(0.0..=1_000_000.0).contains(&self.send_rate) {
            return Err(OptionError::Invalid {
                name: "NARU_SEND_RATE",
                rule: "must be from 0 to 1,000,000".into(),
            });
        }
        if self.try_out && self.tokens.signing_secret()?.is_none() {
            return Err(OptionError::Invalid {
                name: "NARU_TRY",
                rule: "needs NARU_JWT_SECRET: with a JWKS this server cannot sign tokens".into(),
            });
        }
        if !ACK_TIMEOUTS.contains(&self.ack_timeout) {
            return Err(OptionError::Invalid {
                name: "NARU_ACK_TIMEOUT",
                rule: "must be from 1 second to 10 minutes".into(),
            });
        }
        if self.push_fold_window > LONGEST_PUSH_WAIT {
            return Err(OptionError::Invalid {
                name: "NARU_PUSH_FOLD_WINDOW",
                rule: "must be at most 1 hour".into(),
            });
        }
        if self.push_fault_pause.is_zero() || self.push_fault_pause > LONGEST_PUSH_WAIT {
            return Err(OptionError::Invalid {
                name: "NARU_PUSH_FAULT_PAUSE",
                rule: "must be more than 0 and at most 1 hour".into(),
            });
        }
        if self.retention.is_some_and(|kept_for| !RETENTIONS.contains(&kept_for)) {
            return Err(OptionError::Invalid {
                name: "NARU_RETENTION",
                rule: "must be from 1 day to 100 years".into(),
            });
        }
        parse_origins(&self.allowed_origins)?;
        self.traces.collector()?;
        // Without a service account nothing is sent there; a wrong address should not wait for one to be noticed.
        fcm::check_endpoint(&self.fcm_endpoint).map_err(|error| OptionError::Invalid {
            name: "NARU_FCM_ENDPOINT",
            rule: format!("cannot be used: {error}"),
        })
    }

    /// Tasks that store messages. Unless told otherwise one for two cores, 4 at most: each further one makes the batches
    /// smaller, which costs the database more for the same messages, and pays only where one alone could not keep up.
    pub fn writers(&self) -> u8 {
        self.writers.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            u8::try_from(cores / 2).unwrap_or(u8::MAX).clamp(1, 4)
        })
    }

    /// What may be pushed in what time.
    pub fn push_quotas(&self) -> PushQuotas {
        PushQuotas {
            device_per_minute: self.push_device_per_minute,
            device_per_hour: self.push_device_per_hour,
            project_per_minute: self.push_project_per_minute,
        }
    }

    /// FCM's options, when pushes are to be sent.
    pub fn fcm(&self) -> Option<FcmOptions> {
        let service_account_path =
            self.fcm_service_account.clone().filter(|path| !path.as_os_str().is_empty())?;
        Some(FcmOptions {
            service_account_path,
            endpoint: self.fcm_endpoint.clone(),
            request_timeout: fcm::DEFAULT_REQUEST_TIMEOUT,
            max_in_flight: self.push_in_flight.into(),
            ttl: self.push_ttl,
        })
    }
}
