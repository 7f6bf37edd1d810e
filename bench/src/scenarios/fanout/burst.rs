//! As many frames as a gateway writes.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::effort::Effort;
use crate::load::crowd::Crowd;
use crate::load::deliveries::Deliveries;
use crate::load::message;
use crate::load::socket_io::{Emitter, SocketIo};
use crate::meters::cpu;
use crate::site::Site;
use crate::site::cluster::Service;
use crate::site::population::User;

pub const MEMBERS: usize = 100;
/// Of each channel in one request.
pub const ENTRIES_TOGETHER: usize = 100;
/// Frames of a session that have not been read when more are posted: with those, below the 1,024 of a mailbox, and
/// enough that the gateway never waits for us.
pub const AHEAD: u64 = 400;

pub struct Burst {
    pid: u32,
    crowd: Crowd,
    way: Way,
    /// To each session.
    posted: u64,
    /// Frames in a CPU second of the gateway, of each run.
    pub per_core: Vec<f64>,
    /// Frames in a second by the clock.
    pub per_second: Vec<f64>,
}

enum Way {
    Gateway(Deliveries),
    SocketIo { emitter: Emitter, rooms: Range<usize> },
}

impl Burst {
    pub async fn prepare(site: &Site, gateway: &Service, users: &[User]) -> anyhow::Result<Self> {
        let deliveries = Deliveries::open(gateway, users, MEMBERS).await?;
        Ok(Self::new(gateway.pid(), Crowd::connect(site, users).await?, Way::Gateway(deliveries)))
    }

    /// The same of Socket.IO; the crowd's sockets are in these rooms, [`MEMBERS`] in each.
    pub fn socket_io(gateway: &SocketIo, emitter: Emitter, rooms: Range<usize>, crowd: Crowd) -> Self {
        Self::new(gateway.pid(), crowd, Way::SocketIo { emitter, rooms })
    }

    fn new(pid: u32, crowd: Crowd, way: Way) -> Self {
        Self { pid, crowd, way, posted: 0, per_core: Vec::new(), per_second: Vec::new() }
    }

    /// One run.
    pub async fn measure(&mut self, effort: &Effort) -> anyhow::Result<()> {
        self.post_for(effort.warm_up).await?;
        let (before, began) = (cpu::of_threads(self.pid)?, Instant::now());
        let frames = self.post_for(effort.measured).await? as f64;
        let elapsed = began.elapsed();
        let used = cpu::of_threads(self.pid)?.saturating_sub(before);
        self.per_core.push(frames / used.as_secs_f64());
        self.per_second.push(frames / elapsed.as_secs_f64());
        Ok(())
    }

    /// How many frames have come.
    async fn post_for(&mut self, time: Duration) -> anyhow::Result<u64> {
        let ends = Instant::now() + time;
        let mut frames = 0;
        while Instant::now() < ends {
            frames += self.way.write().await?;
            self.posted += ENTRIES_TOGETHER as u64;
            self.crowd.until_each(self.posted.saturating_sub(AHEAD)).await?;
        }
        self.crowd.until_each(self.posted).await?;
        Ok(frames)
    }
}

impl Way {
    /// [`ENTRIES_TOGETHER`] frames to every socket: how many these are.
    async fn write(&mut self) -> anyhow::Result<u64> {
        match self {
            Self::Gateway(deliveries) => {
                let channels = 0..deliveries.channels();
                deliveries.post(channels, ENTRIES_TOGETHER, message::now()).await
            }
            Self::SocketIo { emitter, rooms } => {
                emitter.emit(rooms.clone(), ENTRIES_TOGETHER).await?;
                Ok((rooms.len() * MEMBERS * ENTRIES_TOGETHER) as u64)
            }
        }
    }
}
