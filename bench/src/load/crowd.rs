//! Many sockets, of a gateway or of a floor, and how many frames each has got.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::websocket::ListeningSocket;
use crate::site::Site;
use crate::site::population::User;

/// Connections in the making: below any server's accept queue.
const CONNECTING_AT_ONCE: usize = 128;
/// Frames come within milliseconds; a debug build on a busy machine takes seconds for tens of thousands.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest that a timer measures.
const POLL: Duration = Duration::from_millis(1);

/// All its sockets end when this is dropped.
pub struct Crowd {
    heard: Arc<Heard>,
    tasks: JoinSet<()>,
}

struct Heard {
    /// One counter a socket: none is shared by two tasks.
    frames: Vec<AtomicU64>,
    has_lost_one: AtomicBool,
}

impl Crowd {
    /// `count` sockets; `open` is given the number of each.
    pub async fn open<Opening>(count: usize, open: impl Fn(usize) -> Opening) -> anyhow::Result<Self>
    where
        Opening: Future<Output = anyhow::Result<ListeningSocket>>,
    {
        let sockets: Vec<ListeningSocket> =
            stream::iter(0..count).map(open).buffer_unordered(CONNECTING_AT_ONCE).try_collect().await?;
        let heard = Arc::new(Heard {
            frames: (0..count).map(|_| AtomicU64::new(0)).collect(),
            has_lost_one: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for (index, socket) in sockets.into_iter().enumerate() {
            tasks.spawn(listen(index, socket, heard.clone()));
        }
        Ok(Self { heard, tasks })
    }

    /// A session for each of the users.
    pub async fn connect(site: &Site, users: &[User]) -> anyhow::Result<Self> {
        let open = |index: usize| ListeningSocket::open(site.gateway(index), &users[index].token);
        Self::open(users.len(), open).await
    }

    /// Ends all sockets, and waits until they are closed.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }

    /// Frames that all together have got.
    pub fn frames(&self) -> u64 {
        self.heard.frames.iter().map(|frames| frames.load(Ordering::Relaxed)).sum()
    }

    /// Frames of the socket that has got fewest.
    pub fn fewest(&self) -> u64 {
        self.heard.frames.iter().map(|frames| frames.load(Ordering::Relaxed)).min().unwrap_or(0)
    }

    /// Waits until all together have got so many.
    pub async fn until(&self, frames: u64) -> anyhow::Result<()> {
        self.until_it(|crowd| crowd.frames() >= frames).await
    }

    /// Waits until each has got so many.
    pub async fn until_each(&self, frames: u64) -> anyhow::Result<()> {
        self.until_it(|crowd| crowd.fewest() >= frames).await
    }

    async fn until_it(&self, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            if self.heard.has_lost_one.load(Ordering::Relaxed) {
                bail!("a socket has ended");
            }
            if Instant::now() > limit {
                bail!("frames are missing: {} have come", self.frames());
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}

async fn listen(index: usize, mut socket: ListeningSocket, heard: Arc<Heard>) {
    while let Ok(frames) = socket.next(|_| ()).await {
        heard.frames[index].fetch_add(frames as u64, Ordering::Relaxed);
    }
    heard.has_lost_one.store(true, Ordering::Relaxed);
}
