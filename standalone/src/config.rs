//! The embedded edition's options, and the options of the two services that follow from them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::builder::BoolishValueParser;
use shared_runtime::logging::LogOptions;
use shared_runtime::secret::OptionError;
use url::Url;

/// Naru in one process: the api-server and a chat-gateway on embedded storage. Needs nothing else.
///
/// Every option of the two services works here too, as its environment variable (`api-server --help`,
/// `chat-gateway --help`), with the default it has there, but for NARU_DRAIN_WINDOW: 1s. Give DATABASE_URL and REDIS_URL
/// to use Postgres and Redis instead.
#[derive(Debug, Clone, Parser)]
#[command(name = "standalone", version, max_term_width = 110)]
pub struct Config {
    /// Folder for everything that is kept: messages and the secret that signs tokens
    #[arg(long, env = "NARU_DATA", default_value = "naru-data", value_name = "FOLDER")]
    pub data: PathBuf,
    /// Where the page and the REST API listen
    #[arg(long, env = "NARU_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where the WebSocket listens
    #[arg(long, env = "NARU_WS_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub ws_listen: SocketAddr,
    /// What clients are told to open; default: the WebSocket's address, if that is one that a client can use
    #[arg(long, env = "NARU_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,
    /// Browsers' origins that may connect, comma-separated; default: the page itself
    #[arg(long, env = "NARU_ALLOWED_ORIGINS", value_delimiter = ',', value_name = "ORIGINS")]
    pub allowed_origins: Vec<String>,
    /// Do not hand out tokens to whoever opens the page: for more than trying things out
    #[arg(long, env = "NARU_NO_TRY", value_parser = BoolishValueParser::new())]
    pub no_try: bool,
    /// Postgres to use instead of the embedded storage; together with Redis
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Redis to use instead of the embedded registry; together with Postgres
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: Option<String>,
    #[command(flatten)]
    pub logs: LogOptions,
}

/// Where the four listeners are, once they are bound.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub ws: SocketAddr,
    pub ws_internal: SocketAddr,
}

/// The secrets that both services share.
pub struct Secrets {
    /// `None`: the environment says how tokens are checked.
    pub token_secret_file: Option<PathBuf>,
    pub internal: String,
}

impl Config {
    /// Whether Postgres and Redis are used instead of what is embedded.
    pub fn uses_servers(&self) -> Result<bool, OptionError> {
        let is_given = |url: &Option<String>| url.as_deref().is_some_and(|url| !url.is_empty());
        match (is_given(&self.database_url), is_given(&self.redis_url)) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(OptionError::Missing { name: "REDIS_URL", flag: "--redis-url" }),
            (false, true) => Err(OptionError::Missing { name: "DATABASE_URL", flag: "--database-url" }),
        }
    }

    /// What clients are told to open.
    pub fn websocket_url(&self, ws: SocketAddr) -> Result<String, OptionError> {
        match &self.public_url {
            Some(url) => Ok(url.to_string()),
            None if ws.ip().is_unspecified() => Err(OptionError::Invalid {
                name: "NARU_PUBLIC_URL",
                rule: "is required when the WebSocket listens on every address: clients need one of them"
                    .into(),
            }),
            None => Ok(format!("ws://{ws}/ws")),
        }
    }

    /// The api-server's command line.
    pub fn api_arguments(&self, at: Addresses, secrets: &Secrets) -> Vec<OsString> {
        let mut arguments = arguments(at.public, at.internal, secrets);
        arguments.push("--web".into());
        if !self.no_try {
            arguments.push("--try".into());
        }
        push_list(&mut arguments, "--allowed-origins", &self.allowed_origins);
        push_url(&mut arguments, "--database-url", self.database_url.as_ref());
        push_url(&mut arguments, "--redis-url", self.redis_url.as_ref());
        arguments
    }

    /// The gateway's command line.
    pub fn gateway_arguments(&self, at: Addresses, secrets: &Secrets) -> Result<Vec<OsString>, OptionError> {
        let mut arguments = vec!["chat-gateway".into()];
        arguments.extend(self::arguments(at.ws, at.ws_internal, secrets));
        arguments.push(format!("--advertise-url=http://{}", at.ws_internal).into());
        arguments.push(format!("--public-url={}", self.websocket_url(at.ws)?).into());
        arguments.push(format!("--api-url=http://{}", at.internal).into());
        // There is no other gateway to go to, and Ctrl-C should not take twenty seconds.
        if std::env::var_os("NARU_DRAIN_WINDOW").is_none() {
            arguments.push("--drain-window=1s".into());
        }
        let mut origins = self.allowed_origins.clone();
        if origins.is_empty() {
            origins = page_origins(at.public);
        }
        push_list(&mut arguments, "--allowed-origins", &origins);
        push_url(&mut arguments, "--redis-url", self.redis_url.as_ref());
        Ok(arguments)
    }
}

fn arguments(public: SocketAddr, internal: SocketAddr, secrets: &Secrets) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        format!("--listen={public}").into(),
        format!("--internal-listen={internal}").into(),
        format!("--internal-secret={}", secrets.internal).into(),
    ];
    if let Some(file) = &secrets.token_secret_file {
        arguments.push(flag("--jwt-secret-file", file));
    }
    arguments
}

/// The page's own origins: by address and, on loopback, by name.
fn page_origins(public: SocketAddr) -> Vec<String> {
    let port = public.port();
    let mut origins = vec![format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")];
    let own = format!("http://{public}");
    if !public.ip().is_unspecified() && !origins.contains(&own) {
        origins.push(own);
    }
    origins
}

fn push_list(arguments: &mut Vec<OsString>, name: &str, values: &[String]) {
    if !values.is_empty() {
        arguments.push(format!("{name}={}", values.join(",")).into());
    }
}

fn push_url(arguments: &mut Vec<OsString>, name: &str, url: Option<&String>) {
    if let Some(url) = url.filter(|url| !url.is_empty()) {
        arguments.push(format!("{name}={url}").into());
    }
}

fn flag(name: &str, value: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push("=");
    flag.push(value);
    flag
}
