//! Log output: readable text or JSON lines, on standard error.

use std::panic::PanicHookInfo;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

use crate::secret::OptionError;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogOptions {
    /// What to log: a level, or `target=level` pairs, comma-separated
    #[arg(long, env = "NARU_LOG", default_value = "info,actix_server=warn", value_name = "FILTER")]
    log: String,
    /// How a log line looks
    #[arg(long, env = "NARU_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogOptions {
    /// Whether each line is to be one JSON object.
    pub fn is_json(&self) -> bool {
        matches!(self.log_format, LogFormat::Json)
    }

    /// Starts logging for this process. A second call changes nothing.
    pub fn start(&self) -> Result<(), OptionError> {
        let filter = EnvFilter::try_new(&self.log).map_err(|cause| OptionError::Invalid {
            name: "NARU_LOG",
            rule: format!("is not a log filter: {cause}"),
        })?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_timer(ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".into()))
            .with_writer(std::io::stderr);
        // Fails only when a subscriber is set already, as where both services share a process.
        let _already_set = match self.log_format {
            LogFormat::Text => {
                builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
            }
            LogFormat::Json => {
                std::panic::set_hook(Box::new(log_panic));
                builder.json().flatten_event(true).try_init()
            }
        };
        Ok(())
    }
}

/// In one line, and without its message, which may show a piece of what was worked on.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "a task has panicked");
}
