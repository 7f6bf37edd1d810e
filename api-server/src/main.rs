//! The api-server as a program: options, logs, listeners, signals.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use api_server::config::{Cli, Command, Config};
use api_server::startup::{Listeners, build};
use api_server::store::migrate_with;
use clap::Parser;
use shared_runtime::shutdown;
use shared_runtime::tokens::unix_seconds;
use shared_types::Claims;
use tracing::{error, info};

/// A send makes and drops about a hundred small things, many of them on another thread than the one that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, config } = Cli::parse();
    let outcome = match command {
        Some(Command::Migrate { database }) => match database.url() {
            Ok(url) => migrate_with(url.expose(), database.statements()).await.map_err(Into::into),
            Err(error) => Err(error.into()),
        },
        Some(Command::Healthcheck { internal_listen, options }) => return options.run(internal_listen).await,
        Some(Command::Token { sub, ttl, service, tokens }) => {
            let claims = Claims {
                sub,
                exp: unix_seconds() + ttl.as_secs(),
                iss: None,
                aud: None,
                role: service.then(|| "service".into()),
            };
            tokens.sign(claims).map(|token| print_line(&token)).map_err(Into::into)
        }
        None => {
            let is_json = config.logs.is_json();
            match serve(config).await {
                Err(error) if is_json => {
                    error!(error = in_words(error.as_ref()), "api-server does not run");
                    return ExitCode::FAILURE;
                }
                outcome => outcome,
            }
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    config.logs.start()?;
    config.check()?;
    let listeners = Listeners {
        public: bind("NARU_LISTEN", config.listen)?,
        internal: bind("NARU_INTERNAL_LISTEN", config.internal_listen)?,
    };
    let (public, internal) = (listeners.public.local_addr()?, listeners.internal.local_addr()?);
    // From here on a signal stops the service; one that comes while it starts is not lost.
    let shutdown = shutdown::on_signal()?;
    let application = build(config, listeners).await?;
    info!(version = env!("CARGO_PKG_VERSION"), %public, %internal, "api-server listens");
    Ok(application.run_until(shutdown).await?)
}

fn bind(option: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| format!("{option}: cannot listen on {address}: {error}"))
}

#[expect(clippy::print_stdout, reason = "the token is what the command is run for")]
fn print_line(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the start has failed; there may be no log yet")]
fn report(error: &dyn std::error::Error) {
    eprintln!("api-server: {}", in_words(error));
}

fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        // Some errors say their cause themselves.
        if !words.contains(&why) {
            words = format!("{words}: {why}");
        }
        cause = error.source();
    }
    words
}
