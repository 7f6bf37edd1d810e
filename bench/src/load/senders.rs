//! Clients that post messages: as fast as they are answered, or at a rate whatever the answers take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::arrivals::Arrivals;
use super::http::{HttpConnection, post};
use super::latencies::Latencies;
use super::message;
use super::random::Random;
use crate::site::Site;
use crate::site::population::Population;

/// How late our own timer may be without counting against the server: its millisecond, and that of epoll.
const TIMER_GRAIN: Duration = Duration::from_millis(2);
/// After a refusal a closed loop waits, or it would measure how fast a server refuses: the age at which an api-server
/// judges anew whether it is behind.
const PAUSE_WHEN_REFUSED: Duration = Duration::from_millis(10);

/// How clients send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each sends its next message when the one before is answered, and a little later when that was refused: as much
    /// as the server takes.
    Closed,
    /// All together so many a second, each message at its moment, by whichever client waits for one. While all wait for
    /// answers a message waits for the first that has one, and that time counts: it was due. What does not count is the
    /// coarseness of our own timer, up to 2 ms.
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
    failed_with: AtomicU16,
    stopping: CancellationToken,
    /// From when a message was due until its 201.
    pub stored_latencies: Latencies,
    /// From when it was due until its 503 or 429.
    pub refused_latencies: Latencies,
    /// From when one was due until it was sent: a client waited for its turn, or all of them for answers.
    pub waits: Latencies,
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

impl Sent {
    /// The status of the last send that failed.
    pub fn failed_with(&self) -> u16 {
        self.failed_with.load(Ordering::Relaxed)
    }
}

impl Senders {
    /// `clients` connections, spread over the users: client `n` sends as the first member of channel `n`, modulo the
    /// channels of different users; further clients of the same channels are further members. Whose user has several
    /// channels sends to all of them, in random order.
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
            failed_with: AtomicU16::new(0),
            stopping: CancellationToken::new(),
            stored_latencies: Latencies::new()?,
            refused_latencies: Latencies::new()?,
            waits: Latencies::new()?,
        });
        let (lot, homes) = (next_lot(), population.homes());
        let mut ready = Vec::with_capacity(clients);
        for index in 0..clients {
            let channels: Vec<Uuid> = population
                .channels
                .iter()
                .skip(index % homes)
                .step_by(homes)
                .map(|channel| channel.id)
                .collect();
            let members = population.channels[index % homes].members.clone();
            let user = &population.users[members.start + (index / homes) % members.len()];
            let body = json!({
                "channelId": channels[0], "content": message::content(),
                "clientMessageId": client_message_id(lot, index, 0),
            });
            let request = post(site.api(index), "/send/message", &user.token, &body.to_string())?;
            ready.push(Client {
                lot,
                index,
                connection: HttpConnection::open(site.api(index)).await?,
                channel: position(&request, &channels[0].to_string())?,
                stamp: message::stamp_position(&request).context("the request has a stamp")?,
                number: position(&request, "\"m-")? + 1,
                request,
                channels,
                random: Random::new(clients + index),
                sent: sent.clone(),
                messages: 0,
            });
        }
        // When all are connected: before, a few would have to send for everybody.
        let mut tasks = JoinSet::new();
        match pace {
            Pace::Closed => {
                for client in ready {
                    tasks.spawn(client.send_when_answered());
                }
            }
            Pace::Open { per_second } => {
                let arrivals = Arc::new(Arrivals::new(per_second, Instant::now()));
                for client in ready {
                    tasks.spawn(client.send_when_due(arrivals.clone()));
                }
            }
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

    pub fn sent(&self) -> &Arc<Sent> {
        &self.sent
    }

    /// Lets every client have its last answer, and ends. An error is that of a client.
    pub async fn stop(mut self) -> anyhow::Result<Counts> {
        self.sent.stopping.cancel();
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
    /// Where in the request the channel's id, the stamp and the `clientMessageId` begin.
    channel: usize,
    stamp: usize,
    number: usize,
    /// Of its user; never empty.
    channels: Vec<Uuid>,
    random: Random,
    sent: Arc<Sent>,
    messages: u64,
}

impl Client {
    async fn send_when_answered(mut self) -> anyhow::Result<()> {
        while !self.sent.stopping.is_cancelled() {
            if self.send(message::now()).await? == Answered::Refused {
                sleep(PAUSE_WHEN_REFUSED).await;
            }
        }
        Ok(())
    }

    async fn send_when_due(mut self, arrivals: Arc<Arrivals>) -> anyhow::Result<()> {
        let stopping = self.sent.stopping.clone();
        loop {
            let due = arrivals.take();
            let mut counts_from = due;
            if due > Instant::now() {
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    () = sleep_until(due) => {}
                }
                counts_from = Instant::now().min(due + TIMER_GRAIN);
            } else if stopping.is_cancelled() {
                return Ok(());
            }
            self.send(message::at(counts_from.into_std())).await?;
        }
    }

    async fn send(&mut self, due: u64) -> anyhow::Result<Answered> {
        if self.channels.len() > 1 {
            let channel = self.channels[self.random.below(self.channels.len())];
            let place = &mut self.request[self.channel..self.channel + Hyphenated::LENGTH];
            channel.hyphenated().encode_lower(place);
        }
        message::stamp(&mut self.request, self.stamp, due);
        self.messages += 1;
        let id = client_message_id(self.lot, self.index, self.messages);
        self.request[self.number..self.number + id.len()].copy_from_slice(id.as_bytes());
        self.sent.waits.note(self.index, Duration::from_nanos(message::now().saturating_sub(due)));
        let answer = self.connection.exchange(&self.request).await?;
        let latency = Duration::from_nanos(message::now().saturating_sub(due));
        match answer.status {
            200 | 201 => {
                self.sent.stored.fetch_add(1, Ordering::Relaxed);
                self.sent.stored_latencies.note(self.index, latency);
                Ok(Answered::Stored)
            }
            429 | 503 => {
                self.sent.refused.fetch_add(1, Ordering::Relaxed);
                self.sent.refused_latencies.note(self.index, latency);
                Ok(Answered::Refused)
            }
            status => {
                self.sent.failed.fetch_add(1, Ordering::Relaxed);
                self.sent.failed_with.store(status, Ordering::Relaxed);
                Ok(Answered::Failed)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Stored,
    Refused,
    Failed,
}

fn position(request: &[u8], of: &str) -> anyhow::Result<usize> {
    memchr::memmem::find(request, of.as_bytes()).with_context(|| format!("the request has no {of}"))
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
