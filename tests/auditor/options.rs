//! What a run may be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Tries to break Naru's promises: users, devices and channels are kept busy while a seeded plan of faults kills,
/// freezes, cuts off and empties everything that a Naru is made of. Afterwards what every client saw is checked
/// against what was answered. Exits with 1 when a promise was broken.
#[derive(Parser)]
#[command(name = "auditor", version)]
pub struct Options {
    /// How long the run takes, without what comes after it: until deliveries have settled
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=3_600))]
    pub seconds: u64,
    /// Decides which faults there are and when, and what the workload does
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Sends a second, of all users together
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// Print the plan of faults and end
    #[arg(long)]
    pub plan: bool,
    #[command(flatten)]
    pub surroundings: Surroundings,
    #[command(subcommand)]
    pub mode: Option<Mode>,
}

/// What the processes under test are, and how long they may take.
#[derive(Args)]
pub struct Surroundings {
    /// Where api-server and chat-gateway are; beside this program unless given
    #[arg(long, global = true, value_name = "FOLDER")]
    pub programs: Option<PathBuf>,
    /// One more flag for the api-servers; may be repeated
    #[arg(long, global = true, value_name = "FLAG", allow_hyphen_values = true)]
    pub api_flag: Vec<String>,
    /// One more flag for the gateways; may be repeated
    #[arg(long, global = true, value_name = "FLAG", allow_hyphen_values = true)]
    pub gateway_flag: Vec<String>,
    /// How long deliveries may take to settle after the run, in seconds
    #[arg(long, global = true, default_value_t = 120, value_name = "SECONDS")]
    pub settle_limit: u64,
    /// Keep the services' logs in this folder
    #[arg(long, global = true, value_name = "FOLDER")]
    pub logs: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Mode {
    /// No other faults than this: a gateway is killed and restarted again and again, while every user stays connected.
    /// Nothing may be lost, nothing may come twice, and nobody may get a push
    Churn {
        /// Sends that must be accepted
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
        sends: u32,
        /// Pause between two kills
        #[arg(long, default_value = "5s", value_parser = seconds)]
        kill_every: Duration,
        /// Sends a second, of all users together
        #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=5_000))]
        send_rate: u32,
    },
}

/// `5s`, or a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 =
        text.trim_end_matches('s').parse().map_err(|_| "a number of seconds, such as 5s".to_owned())?;
    if (0.1..=3_600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("0.1 to 3600 s".into())
    }
}
