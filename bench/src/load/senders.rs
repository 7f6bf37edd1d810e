//! Clients that post messages: as fast as they are answered, or at a rate whatever the answers take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::arrivals::Arrivals;
use super::http::{HttpConnection, post};
use super::latencies::Latencies;
use super::message;
use crate::site::Site;
use crate::site::population::Population;

/// How clients send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each sends its next message when the one before is answered: as much as the server takes.
    Closed,
    /// All together so many a second, each message at its moment. The time that a message waits for its client's
    /// connection counts: it was due.
    Open { per_second: f64 },
}

/// Running senders; they end when this is dropped.
pub struct Senders {
    sent: Arc<Sent>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// What all of them together have sent.
pub struct Sent {
    stored: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    stopping: AtomicBool,
    /// From when a message was due until its 201.
    pub stored_latencies: Latencies,
    /// From when it was due until its 503 or 429.
    pub refused_latencies: Latencies,
}

/// Counts at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub stored: u64,
    /// 503 and 429.
    pub refused: u64,
    /// Anything else: a run with these is no good.
    pub failed: u64,
}

impl Senders {
    /// `clients` connections, spread over the channels: client `n` sends as the first member of channel `n`, modulo
    /// their number.
    pub async fn start(
        site: &Site,
        population: &Population,
        clients: usize,
        pace: Pace,
    ) -> anyhow::Result<Self> {
        let sent = Arc::new(Sent {
            stored: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stored_latencies: Latencies::new()?,
            refused_latencies: Latencies::new()?,
        });
        let lot = next_lot();
        let mut tasks = JoinSet::new();
        for index in 0..clients {
            let channel = &population.channels[index % population.channels.len()];
            // Several clients of one channel are several of its members.
            let member = channel.members.start + (index / population.channels.len()) % channel.members.len();
            let body = json!({
                "channelId": channel.id, "content": message::content(), "clientMessageId": client_message_id(lot, index, 0),
            });
            let request =
                post(site.api(index), "/send/message", &population.users[member].token, &body.to_string())?;
            let client = Client {
                lot,
                index,
                connection: HttpConnection::open(site.api(index)).await?,
                stamp: message::stamp_position(&request).context("the request has a stamp")?,
                number: memchr::memmem::find(&request, b"\"m-").context("the request has a number")? + 1,
                request,
                sent: sent.clone(),
                messages: 0,
            };
            match pace {
                Pace::Closed => tasks.spawn(client.send_when_answered()),
                Pace::Open { per_second } => {
                    tasks.spawn(client.send_when_due(Arrivals::new(index, clients, per_second)))
                }
            };
        }
        Ok(Self { sent, tasks })
    }

    pub fn counts(&self) -> Counts {
        Counts {
            stored: self.sent.stored.load(Ordering::Relaxed),
            refused: self.sent.refused.load(Ordering::Relaxed),
            failed: self.sent.failed.load(Ordering::Relaxed),
        }
    }

    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Lets every client have its last answer, and ends. An error is that of a client.
    pub async fn stop(mut self) -> anyhow::Result<Counts> {
        self.sent.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(self.counts())
    }
}

struct Client {
    lot: u64,
    index: usize,
    connection: HttpConnection,
    request: Vec<u8>,
    /// Where in the request its stamp and its `clientMessageId` begin.
    stamp: usize,
    number: usize,
    sent: Arc<Sent>,
    messages: u64,
}

impl Client {
    async fn send_when_answered(mut self) -> anyhow::Result<()> {
        while !self.is_over() {
            self.send(message::now()).await?;
        }
        Ok(())
    }

    /// One connection: what becomes due meanwhile waits, and its time counts from when it was due.
    async fn send_when_due(mut self, mut arrivals: Arrivals) -> anyhow::Result<()> {
        let mut due = Instant::now() + arrivals.next();
        while !self.is_over() {
            sleep_until(due).await;
            self.send(message::at(due.into_std())).await?;
            due += arrivals.next();
        }
        Ok(())
    }

    async fn send(&mut self, due: u64) -> anyhow::Result<()> {
        message::stamp(&mut self.request, self.stamp, due);
        self.messages += 1;
        let id = client_message_id(self.lot, self.index, self.messages);
        self.request[self.number..self.number + id.len()].copy_from_slice(id.as_bytes());
        let answer = self.connection.exchange(&self.request).await?;
        let latency = Duration::from_nanos(message::now().saturating_sub(due));
        match answer.status {
            200 | 201 => {
                self.sent.stored.fetch_add(1, Ordering::Relaxed);
                self.sent.stored_latencies.note(self.index, latency);
            }
            429 | 503 => {
                self.sent.refused.fetch_add(1, Ordering::Relaxed);
                self.sent.refused_latencies.note(self.index, latency);
            }
            _ => {
                self.sent.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.sent.stopping.load(Ordering::Relaxed)
    }
}

/// Every start of senders has a number of its own: the same channels may be sent to again.
fn next_lot() -> u64 {
    static LOTS: AtomicU64 = AtomicU64::new(0);
    LOTS.fetch_add(1, Ordering::Relaxed)
}

/// Always of the same length, and never the same: this process, the lot, the client, its message.
fn client_message_id(lot: u64, client: usize, message: u64) -> String {
    format!("m-{:08x}-{lot:04x}-{client:06x}-{message:010x}", std::process::id())
}
