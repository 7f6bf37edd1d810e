//! The hot paths alone, for the micro-benchmarks of `bench`. Nothing else may use this.

use std::sync::Arc;

use tokio::time::Instant;

use super::frame::Frame;
use super::order::{Offered, Order};

/// As it is shared by everyone who gets it.
#[derive(Clone)]
pub struct SharedFrame(Arc<Frame>);

impl SharedFrame {
    /// What a gateway does with an entry that an api-server has sent; `None`: it is none.
    pub fn from_api(json: &str) -> Option<Self> {
        Frame::from_api(json).ok().map(|frame| Self(Arc::new(frame)))
    }
}

/// What one session keeps in order.
pub struct Sequence {
    order: Order,
    now: Instant,
}

impl Sequence {
    /// At most so many frames wait for those before them.
    pub fn new(max_held_frames: usize) -> Self {
        Self { order: Order::new(max_held_frames), now: Instant::now() }
    }

    /// Takes a frame as it has arrived: how many may be written now.
    pub fn offer(&mut self, frame: SharedFrame) -> usize {
        let now = self.now;
        let own = usize::from(matches!(self.order.offer(frame.0, || now), Offered::Write(_)));
        own + std::iter::from_fn(|| self.order.pop_ready()).count()
    }
}
