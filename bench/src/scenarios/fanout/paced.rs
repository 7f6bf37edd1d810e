//! One frame a wake-up: frames in the hundred, a session having at most one of them.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::effort::Effort;
use crate::floors::process::FloorProcess;
use crate::floors::{raw_writer, ws_broadcast};
use crate::load::crowd::Crowd;
use crate::load::deliveries::Deliveries;
use crate::load::message;
use crate::load::socket_io::{Emitter, SocketIo};
use crate::meters::cpu;
use crate::site::cluster::Service;
use crate::site::population::User;

/// Frames that one order brings.
pub const FRAMES_TOGETHER: usize = 100;
/// Between two orders: on two cores most of one is left for the reader, and a thousand sessions have a frame each every
/// 20 ms.
pub const PACE: Duration = Duration::from_millis(2);

/// A process that writes frames to sockets of ours.
pub struct Writer<'a> {
    pid: u32,
    crowd: &'a Crowd,
    sockets: usize,
    way: Way,
    /// Microseconds of CPU for one frame, of each run.
    pub microseconds: Vec<f64>,
}

enum Way {
    Gateway { deliveries: Deliveries, members: usize },
    Raw(raw_writer::Orders),
    Actix(ws_broadcast::Orders),
    SocketIo { emitter: Emitter, members: usize },
}

impl<'a> Writer<'a> {
    /// Sessions in channels of so many.
    pub async fn gateway(
        gateway: &Service,
        users: &[User],
        members: usize,
        crowd: &'a Crowd,
    ) -> anyhow::Result<Self> {
        let deliveries = Deliveries::open(gateway, users, members).await?;
        Ok(Self::new(gateway.pid(), crowd, users.len(), Way::Gateway { deliveries, members }))
    }

    pub async fn raw(floor: &FloorProcess, sockets: usize, crowd: &'a Crowd) -> anyhow::Result<Self> {
        let orders = raw_writer::Orders::open(floor).await?;
        Ok(Self::new(floor.pid(), crowd, sockets, Way::Raw(orders)))
    }

    pub async fn actix(floor: &FloorProcess, sockets: usize, crowd: &'a Crowd) -> anyhow::Result<Self> {
        let orders = ws_broadcast::Orders::open(floor).await?;
        Ok(Self::new(floor.pid(), crowd, sockets, Way::Actix(orders)))
    }

    /// Sockets in rooms of so many; those of `emitter` begin at 0.
    pub fn socket_io(
        gateway: &SocketIo,
        emitter: Emitter,
        sockets: usize,
        members: usize,
        crowd: &'a Crowd,
    ) -> Self {
        Self::new(gateway.pid(), crowd, sockets, Way::SocketIo { emitter, members })
    }

    fn new(pid: u32, crowd: &'a Crowd, sockets: usize, way: Way) -> Self {
        Self { pid, crowd, sockets, way, microseconds: Vec::new() }
    }

    /// One run.
    pub async fn measure(&mut self, effort: &Effort) -> anyhow::Result<()> {
        self.write_for(effort.warm_up).await?;
        let before = cpu::of_threads(self.pid)?;
        let frames = self.write_for(effort.measured).await?;
        let used = cpu::of_threads(self.pid)?.saturating_sub(before);
        self.microseconds.push(cpu::microseconds_each(used, frames));
        Ok(())
    }

    /// How many frames have come.
    async fn write_for(&mut self, time: Duration) -> anyhow::Result<u64> {
        let mut tick = interval(PACE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ends = Instant::now() + time;
        let begins_at = self.crowd.frames();
        let (mut ordered, mut first) = (begins_at, 0);
        while Instant::now() < ends {
            tick.tick().await;
            self.way.write(first).await?;
            first = (first + FRAMES_TOGETHER) % self.sockets;
            ordered += FRAMES_TOGETHER as u64;
            // Whatever the pace: no session has two frames waiting.
            self.crowd.until(ordered).await?;
        }
        Ok(ordered - begins_at)
    }
}

impl Way {
    /// A frame to each of [`FRAMES_TOGETHER`] sockets from `first` on.
    async fn write(&mut self, first: usize) -> anyhow::Result<()> {
        match self {
            Self::Gateway { deliveries, members } => {
                let channels = first / *members..(first + FRAMES_TOGETHER) / *members;
                deliveries.post(channels, 1, message::now()).await.map(drop)
            }
            Self::Raw(orders) => orders.give(first, FRAMES_TOGETHER).await,
            Self::Actix(orders) => orders.give(first, FRAMES_TOGETHER).await,
            Self::SocketIo { emitter, members } => {
                emitter.emit(first / *members..(first + FRAMES_TOGETHER) / *members, 1).await
            }
        }
    }
}
