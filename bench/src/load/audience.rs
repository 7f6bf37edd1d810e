//! Many sessions that listen, and what they have got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::latencies::Latencies;
use super::message;
use super::websocket::ListeningSocket;
use crate::site::Site;
use crate::site::population::User;

/// Connections in the making: below any server's accept queue.
const CONNECTING_AT_ONCE: usize = 128;
const POLL: Duration = Duration::from_millis(5);

/// Ends all its sessions when dropped.
pub struct Audience {
    heard: Arc<Heard>,
    tasks: JoinSet<()>,
}

/// What all sessions together have got.
pub struct Heard {
    /// Messages of ours; other frames are not counted.
    frames: AtomicU64,
    /// Sessions that have ended.
    ended: AtomicU64,
    /// From when a message was due to be sent until its frame was read.
    pub latencies: Latencies,
}

impl Audience {
    /// A session for each of the users, spread over the gateways in turn.
    pub async fn connect(site: &Site, users: &[User]) -> anyhow::Result<Self> {
        let heard = Arc::new(Heard {
            frames: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            latencies: Latencies::new()?,
        });
        let at_once = Arc::new(Semaphore::new(CONNECTING_AT_ONCE));
        let mut connecting = JoinSet::new();
        for (index, user) in users.iter().enumerate() {
            let (url, token) = (site.gateway(index).to_owned(), user.token.clone());
            let permit = at_once.clone().acquire_owned().await?;
            connecting.spawn(async move {
                let socket = ListeningSocket::open(&url, &token).await;
                drop(permit);
                (index, socket)
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(connected) = connecting.join_next().await {
            let (index, socket) = connected?;
            let socket = socket.with_context(|| format!("session {index} does not begin"))?;
            tasks.spawn(listen(index, socket, heard.clone()));
        }
        Ok(Self { heard, tasks })
    }

    /// Messages that have come so far, at all sessions together.
    pub fn frames(&self) -> u64 {
        self.heard.frames.load(Ordering::Relaxed)
    }

    /// Sessions that have ended by themselves: a run in which this is not 0 is no good.
    pub fn ended(&self) -> u64 {
        self.heard.ended.load(Ordering::Relaxed)
    }

    pub fn latencies(&self) -> &Latencies {
        &self.heard.latencies
    }

    pub fn sessions(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until so many messages have come so far, or nothing more has come for `patience`.
    pub async fn until_frames(&self, frames: u64, patience: Duration) {
        let (mut before, mut ends) = (self.frames(), tokio::time::Instant::now() + patience);
        while before < frames && tokio::time::Instant::now() < ends {
            tokio::time::sleep(POLL).await;
            let now = self.frames();
            if now > before {
                (before, ends) = (now, tokio::time::Instant::now() + patience);
            }
        }
    }

    /// Waits until nothing has come for `quiet`, at most `limit`.
    pub async fn until_quiet(&self, quiet: Duration, limit: Duration) {
        let ends = tokio::time::Instant::now() + limit;
        let mut before = self.frames();
        while tokio::time::Instant::now() < ends {
            tokio::time::sleep(quiet).await;
            let now = self.frames();
            if now == before {
                return;
            }
            before = now;
        }
    }
}

async fn listen(index: usize, mut socket: ListeningSocket, heard: Arc<Heard>) {
    loop {
        let mut messages = 0;
        let look = |frame: &[u8]| {
            if let Some(due) = message::due(frame) {
                messages += 1;
                heard.latencies.note(index, Duration::from_nanos(message::now().saturating_sub(due)));
            }
        };
        if socket.next(look).await.is_err() {
            heard.ended.fetch_add(1, Ordering::Relaxed);
            return;
        }
        heard.frames.fetch_add(messages, Ordering::Relaxed);
    }
}
