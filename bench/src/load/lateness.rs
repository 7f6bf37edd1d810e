//! How late this process looks at what has come: its own share of the latencies that it measures.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::latencies::Latencies;
use super::message;

/// Between two letters to ourselves: a thousandth of what is read at the load that this is for.
const PERIOD: Duration = Duration::from_millis(1);

/// A connection to ourselves, on which a thread of its own says what time it is. It is read as every other socket of
/// this process is, by a task among theirs: what it reads late, they read late. Ends when dropped.
pub struct Lateness {
    latencies: Arc<Latencies>,
    is_over: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Lateness {
    pub async fn watch() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut writer = std::net::TcpStream::connect(listener.local_addr()?)?;
        writer.set_nodelay(true)?;
        let (mut reader, _) = listener.accept().await?;
        let (latencies, is_over) = (Arc::new(Latencies::new()?), Arc::new(AtomicBool::new(false)));
        let has_ended = is_over.clone();
        std::thread::Builder::new()
            .name("lateness".into())
            .spawn(move || {
                while !has_ended.load(Ordering::Relaxed) {
                    std::thread::sleep(PERIOD);
                    // However late this thread was woken: its time is taken now, and is in the socket at once.
                    if writer.write_all(&message::now().to_be_bytes()).is_err() {
                        return;
                    }
                }
            })
            .context("no thread can be had")?;
        let noted = latencies.clone();
        let reader = tokio::spawn(async move {
            while let Ok(written) = reader.read_u64().await {
                noted.note(0, Duration::from_nanos(message::now().saturating_sub(written)));
            }
        });
        Ok(Self { latencies, is_over, reader })
    }

    /// From when something had come until it was read.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_holds_up_the_others_is_seen() {
        let lateness = Lateness::watch().await.unwrap();
        while lateness.latencies().total().unwrap().count() < 10 {
            tokio::time::sleep(PERIOD).await;
        }
        lateness.latencies().clear();
        // Blocks the only thread of this runtime.
        let held_up = Duration::from_millis(60);
        std::thread::sleep(held_up);
        while lateness.latencies().total().unwrap().count() < 10 {
            tokio::time::sleep(PERIOD).await;
        }
        let longest = lateness.latencies().total().unwrap().milliseconds(100.0);
        assert!(longest > held_up.as_secs_f64() * 1_000.0 / 2.0, "{longest} ms");
    }
}
