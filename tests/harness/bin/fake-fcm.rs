//! The fake FCM as a program: for the local cluster, where pushes end here instead of at a phone.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use harness::fake_fcm::{FakeFcm, FakeFcmOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Speaks Google's HTTP for service-account tokens and FCM v1 pushes, and prints each push that it accepts.
/// `GET /pushes` lists the last 1,000 as JSON.
#[derive(Parser)]
#[command(name = "fake-fcm", version)]
struct Options {
    /// Where to listen; loopback, as senders refuse plain http elsewhere
    #[arg(long, env = "FAKE_FCM_LISTEN", default_value = "127.0.0.1:9099", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to write the service account that senders need; a key that is there already is kept
    #[arg(long, env = "FAKE_FCM_SERVICE_ACCOUNT_OUT", value_name = "PATH")]
    service_account_out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    // Before it listens: a signal that comes early must end it in good order, too.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let fake = FakeFcm::start_with(FakeFcmOptions {
        listen: options.listen,
        service_account_out: Some(options.service_account_out),
        prints_pushes: true,
        max_kept: 1_000,
    })?;
    println!("fake FCM at {}, service account in {}", fake.endpoint(), fake.service_account_file().display());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    fake.stop().await;
    Ok(())
}
