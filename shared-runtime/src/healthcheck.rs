//! `healthcheck`: asks the service that runs beside it how it is, for containers that hold no other program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;

/// Longer than a service takes to ask what it needs (2 s), shorter than those who run a check wait for it.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Of an answer; more is none of ours.
const MAX_SHOWN: usize = 1_000;

#[derive(Debug, Clone, Args)]
pub struct HealthcheckOptions {
    /// Ask only whether it lives: /livez instead of /readyz
    #[arg(long)]
    live: bool,
}

impl HealthcheckOptions {
    /// Asks the service whose internal listener this is, and says in one line what it answered. 0: it is well.
    pub async fn run(&self, internal_listen: SocketAddr) -> ExitCode {
        let path = if self.live { "livez" } else { "readyz" };
        let url = format!("http://{}/{path}", reachable(internal_listen));
        match ask(&url).await {
            Ok(answer) => say_well(&format!("{url}: {answer}")),
            Err(reason) => say_unwell(&format!("{url}: {reason}")),
        }
    }
}

/// Whoever listens everywhere is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(url: &str) -> Result<String, String> {
    let (status, body) = get(url).await.map_err(|error| reason(&error))?;
    let shown: String = body.chars().take(MAX_SHOWN).collect();
    if status.is_success() { Ok(shown) } else { Err(format!("{} {shown}", status.as_u16())) }
}

async fn get(url: &str) -> reqwest::Result<(StatusCode, String)> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
    let answer = client.get(url).send().await?;
    Ok((answer.status(), answer.text().await?))
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("no answer: {cause}")
}

#[expect(clippy::print_stdout, reason = "the answer is what the command is run for")]
fn say_well(line: &str) -> ExitCode {
    println!("{line}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "the reason is what the command is run for")]
fn say_unwell(line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback_and_anyone_else_where_they_listen() {
        for (listen, asked) in
            [("0.0.0.0:8090", "127.0.0.1:8090"), ("[::]:1", "[::1]:1"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
