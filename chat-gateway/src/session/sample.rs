//! How long entries take to get here, measured with a few: from the commit to the socket, and to the client's ack.

use shared_types::{ChannelId, Seq, Timestamp};

use super::frame::{Frame, Position};
use crate::metrics::Metrics;

/// One session's. Nothing is allocated while nothing is measured, and at most two entries are.
#[derive(Debug, Default)]
pub(super) struct Samples(Option<Box<Running>>);

#[derive(Debug, Default)]
struct Running {
    /// When the entry was written that the kernel has still to take.
    unwritten: Option<Timestamp>,
    /// Stays until it is acked: one that gave way to newer ones would hide that acks are late.
    unacked: Option<(Position, Timestamp)>,
}

impl Samples {
    /// This frame goes out now. `acks`: the client says what it has got.
    pub(super) fn note(&mut self, frame: &Frame, acks: bool) {
        let (Some(created_at), Some(position)) = (frame.sampled, frame.position) else { return };
        let running = self.0.get_or_insert_default();
        running.unwritten = Some(created_at);
        if acks && running.unacked.is_none() {
            running.unacked = Some((position, created_at));
        }
    }

    /// The kernel has taken all that has gone out.
    pub(super) fn written(&mut self, metrics: &Metrics) {
        let Some(running) = &mut self.0 else { return };
        if let Some(created_at) = running.unwritten.take() {
            metrics.commit_to_write.observe(created_at.elapsed().as_secs_f64());
        }
        if running.unacked.is_none() {
            self.0 = None;
        }
    }

    /// The client has everything of the channel up to `seq`.
    pub(super) fn acked(&mut self, channel_id: ChannelId, seq: Seq, metrics: &Metrics) {
        let Some(running) = &mut self.0 else { return };
        let is_acked = |(position, _): &mut (Position, Timestamp)| {
            position.channel_id == channel_id && position.seq <= seq
        };
        if let Some((_, created_at)) = running.unacked.take_if(is_acked) {
            metrics.commit_to_ack.observe(created_at.elapsed().as_secs_f64());
        }
    }
}
