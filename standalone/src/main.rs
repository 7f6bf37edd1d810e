//! The embedded edition as a program.

use std::process::ExitCode;

use clap::Parser;
use shared_runtime::shutdown;
use standalone::config::Config;
use standalone::startup::{Application, StartupError, build};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    config.logs.start()?;
    let shutdown = shutdown::on_signal()?;
    let (data, no_try, uses_servers) = (config.data.clone(), config.no_try, config.uses_servers()?);
    let application: Application = build(config).await.map_err(|error: StartupError| error)?;
    greet(&application, &data, no_try, uses_servers);
    Ok(application.run_until(shutdown).await?)
}

#[expect(clippy::print_stdout, reason = "this is what the newcomer reads")]
fn greet(application: &Application, data: &std::path::Path, no_try: bool, uses_servers: bool) {
    let public = application.addresses.public;
    println!("\n  Naru runs.\n");
    println!("    chat      http://{public}/          open it in two windows");
    println!("    operator  http://{public}/#/operator");
    println!("    API       http://{public}/docs/");
    println!("    socket    {}", application.websocket_url);
    if uses_servers {
        println!("    data      Postgres and Redis");
    } else {
        println!("    data      {}", data.display());
    }
    if !no_try {
        println!("\n  Whoever opens the page gets a token for any name. --no-try ends that.");
    }
    println!("\n  Ctrl-C stops it.\n");
}

#[expect(clippy::print_stderr, reason = "the start has failed; there may be no log yet")]
fn report(error: &dyn std::error::Error) {
    eprintln!("standalone: {error}");
}
