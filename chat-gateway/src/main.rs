//! Starts the service.

use std::process::ExitCode;

use chat_gateway::config::{Config, Invocation};
use chat_gateway::listener::bind;
use chat_gateway::startup::{Listeners, StartupError, build};
use clap::CommandFactory;
use clap::error::ErrorKind;
use shared_runtime::shutdown::on_signal;
use tracing::{error, info};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Invocation::parse() {
        Invocation::Serve(config) => *config,
        Invocation::Healthcheck(check) => return check.options.run(check.internal_listen).await,
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        // Logging may not have started, and whoever gave a wrong option reads the terminal.
        Err(StartupError::Option(error)) => Config::command().error(ErrorKind::ValueValidation, error).exit(),
        Err(cause) => {
            error!(error = %cause, "chat-gateway does not run");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), StartupError> {
    config.log.start()?;
    config.check()?;
    let listeners = Listeners { public: bind(config.listen)?, internal: bind(config.internal_listen)? };
    let (public, internal) = (listeners.public.local_addr()?, listeners.internal.local_addr()?);
    let shutdown = on_signal()?;
    let application = build(config, listeners).await?;
    info!(gatewayId = %application.gateway_id(), %public, %internal, "chat-gateway listens");
    let gateway_id = application.gateway_id().clone();
    application.run_until(shutdown).await?;
    info!(gatewayId = %gateway_id, "chat-gateway has stopped");
    Ok(())
}
