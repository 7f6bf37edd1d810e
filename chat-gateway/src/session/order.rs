//! Each channel's entries in `seq` order, none twice: what a session has written, and what waits for a gap.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shared_types::{ChannelId, Seq};
use tokio::time::Instant;

use super::channel_hash::ChannelHash;
use super::frame::Frame;

/// What is on its way by another api-server arrives within this; what does not is read from the log. Also how long
/// the first entry of a channel waits for one before it.
const GAP_WAIT: Duration = Duration::from_millis(100);

/// A channel further behind is read by REST: a page's worth of scrolling at a time, not all of it over the socket.
pub(super) const MAX_BEHIND: Seq = 1_000;

/// One session's; its task alone uses it. Nothing is allocated before the first entry. It grows with the channels
/// that the session resumes or gets entries of (33 bytes each), and those are its user's.
#[derive(Debug)]
pub(crate) struct Order {
    written: HashMap<ChannelId, Written, ChannelHash>,
    /// A channel that is unknown is one that the user has come to in this session, and gets from there on.
    is_complete: bool,
    /// Channels with entries that wait: as a rule none, seldom more than one.
    held: Vec<Held>,
    held_frames: usize,
    max_held_frames: usize,
    /// In order, to be written next.
    ready: VecDeque<Arc<Frame>>,
}

/// The client has everything from `first` to `last`; nothing yet, if `last` is before `first`. Live entries follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

#[derive(Debug)]
struct Held {
    channel_id: ChannelId,
    /// Ascending by `seq`, none twice, never empty.
    frames: Vec<Arc<Frame>>,
    /// `None`: an api-server is being asked.
    due: Option<Instant>,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Its turn. What it made ready comes after it.
    Write(Arc<Frame>),
    /// Written before, or waiting already.
    Duplicate,
    Held,
    /// More wait than may: the session has to end.
    TooManyHeld,
}

/// What an api-server has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Entries(Gap),
    /// Where the user's part of this channel begins.
    Beginning(ChannelId),
}

/// What is missing: entries after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) channel_id: ChannelId,
    pub(crate) after: Seq,
}

impl Order {
    pub(crate) fn new(max_held_frames: usize) -> Self {
        Self {
            written: HashMap::default(),
            is_complete: false,
            held: Vec::new(),
            held_frames: 0,
            max_held_frames,
            ready: VecDeque::new(),
        }
    }

    /// Takes a frame as it has arrived. The clock is looked at only if something waits.
    pub(crate) fn offer(&mut self, frame: Arc<Frame>, now: impl FnOnce() -> Instant) -> Offered {
        let Some(position) = frame.position else { return Offered::Write(frame) };
        match self.written.get_mut(&position.channel_id) {
            Some(written) if position.seq <= written.last => Offered::Duplicate,
            Some(written) if position.seq == written.last + 1 => {
                written.last = position.seq;
                self.settle(position.channel_id, now);
                Offered::Write(frame)
            }
            None if position.seq == 1 => {
                self.written.insert(position.channel_id, Written { first: 1, last: 1 });
                self.settle(position.channel_id, now);
                Offered::Write(frame)
            }
            _ => self.hold(position.channel_id, frame, now()),
        }
    }

    /// The next of what has become ready.
    pub(crate) fn pop_ready(&mut self) -> Option<Arc<Frame>> {
        let frame = self.ready.pop_front();
        if frame.is_none() && self.ready.capacity() > 0 {
            self.ready = VecDeque::new();
        }
        frame
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Has this written after everything that is ready.
    pub(crate) fn push_ready(&mut self, frame: Arc<Frame>) {
        self.ready.push_back(frame);
    }

    /// When there is something to do for what is held. Without `may_fill`, what is missing has to wait.
    pub(crate) fn next_due(&self, may_fill: bool) -> Option<Instant> {
        let waits = |held: &&Held| may_fill || self.begins_by_itself(held.channel_id);
        self.held.iter().filter(waits).filter_map(|held| held.due).min()
    }

    /// Does what is due: first entries become ready, and what is missing, if `may_fill`, is the caller's to ask for.
    pub(crate) fn take_due(&mut self, now: Instant, may_fill: bool) -> Option<Missing> {
        let is_due = |held: &Held| held.due.is_some_and(|due| due <= now);
        while let Some(held) =
            self.held.iter().find(|held| is_due(held) && self.begins_by_itself(held.channel_id))
        {
            // Nothing lower has come, so nothing lower is on its way: the session begins here.
            let (channel_id, first) = (held.channel_id, seq_of(&held.frames[0]));
            self.written.insert(channel_id, Written { first, last: first - 1 });
            self.settle(channel_id, || now);
        }
        let held = self.held.iter_mut().find(|held| may_fill && is_due(held))?;
        held.due = None;
        let channel_id = held.channel_id;
        Some(match self.written.get(&channel_id) {
            Some(written) => Missing::Entries(Gap { channel_id, after: written.last }),
            None => Missing::Beginning(channel_id),
        })
    }

    /// Takes with which entry the user joined; `None`: they have left. What lies before the entries that wait becomes
    /// a gap. `false`: it is more than may be filled in.
    #[must_use]
    pub(crate) fn begin(&mut self, channel_id: ChannelId, joined: Option<Seq>, now: Instant) -> bool {
        let Some(held) = self.held.iter_mut().find(|held| held.channel_id == channel_id) else { return true };
        // There is nothing more to wait for.
        held.due = Some(now);
        if self.written.contains_key(&channel_id) {
            return true;
        }
        let before_held = seq_of(&held.frames[0]) - 1;
        let last = joined.map_or(before_held, |joined| (joined - 1).clamp(0, before_held));
        self.cover(channel_id, last, last, now);
        before_held - last <= MAX_BEHIND
    }

    /// Whether a channel that is unknown is one that the user has only just come to.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The last that was written of each channel.
    pub(crate) fn cursors(&self) -> HashMap<ChannelId, Seq> {
        self.written.iter().map(|(channel_id, written)| (*channel_id, written.last)).collect()
    }

    /// From now on a channel that is unknown is one that the user has only just come to.
    pub(crate) fn set_complete(&mut self) {
        self.is_complete = true;
    }

    /// Takes what the log has after the gap's beginning, up to what was held: more the user may have no right to. Nothing
    /// is kept up to `removed_seq`, so that is not waited for.
    pub(crate) fn fill(&mut self, gap: Gap, removed_seq: Seq, page: &[Arc<Frame>], now: Instant) {
        let Some(held) = self.held.iter_mut().find(|held| held.channel_id == gap.channel_id) else { return };
        // What is missing after this page is asked for at once.
        held.due = Some(now);
        let (Some(lowest), Some(highest)) = (held.frames.first().map(seq_of), held.frames.last().map(seq_of))
        else {
            return;
        };
        let Some(written) = self.written.get_mut(&gap.channel_id) else { return };
        written.last = written.last.max(removed_seq.min(lowest - 1));
        for frame in page {
            let seq = seq_of(frame);
            if seq == written.last + 1 && seq <= highest {
                written.last = seq;
                self.ready.push_back(frame.clone());
            }
        }
        self.settle(gap.channel_id, || now);
    }

    /// What the client has of a channel.
    pub(crate) fn written(&self, channel_id: ChannelId) -> Option<Written> {
        self.written.get(&channel_id).copied()
    }

    /// The client has everything after `cursor` up to `last`. Nothing of what was written may be after `cursor` with a
    /// gap between.
    pub(crate) fn cover(&mut self, channel_id: ChannelId, cursor: Seq, last: Seq, now: Instant) {
        let written = self.written.entry(channel_id).or_insert(Written { first: cursor + 1, last });
        written.first = written.first.min(cursor + 1);
        written.last = written.last.max(last);
        self.settle(channel_id, || now);
    }

    /// Whether the first entry of this channel that comes is its beginning.
    fn begins_by_itself(&self, channel_id: ChannelId) -> bool {
        !self.is_complete && !self.written.contains_key(&channel_id)
    }

    fn hold(&mut self, channel_id: ChannelId, frame: Arc<Frame>, now: Instant) -> Offered {
        let index = self.held.iter().position(|held| held.channel_id == channel_id);
        let place = index.map(|index| {
            let frames = &self.held[index].frames;
            (index, frames.binary_search_by_key(&seq_of(&frame), seq_of))
        });
        if matches!(place, Some((_, Ok(_)))) {
            return Offered::Duplicate;
        }
        if self.held_frames == self.max_held_frames {
            return Offered::TooManyHeld;
        }
        self.held_frames += 1;
        match place {
            Some((index, Ok(at) | Err(at))) => self.held[index].frames.insert(at, frame),
            None => self.held.push(Held { channel_id, frames: vec![frame], due: Some(now + GAP_WAIT) }),
        }
        Offered::Held
    }

    /// Makes ready what was held and has its turn; forgets what has been written.
    fn settle(&mut self, channel_id: ChannelId, now: impl FnOnce() -> Instant) {
        let Some(index) = self.held.iter().position(|held| held.channel_id == channel_id) else { return };
        let Some(written) = self.written.get_mut(&channel_id) else { return };
        let held = &mut self.held[index];
        let mut settled = 0;
        for frame in &held.frames {
            let seq = seq_of(frame);
            if seq > written.last + 1 {
                break;
            }
            settled += 1;
            if seq == written.last + 1 {
                written.last = seq;
                self.ready.push_back(frame.clone());
            }
        }
        held.frames.drain(..settled);
        self.held_frames -= settled;
        if held.frames.is_empty() {
            self.held.swap_remove(index);
            self.held.shrink_to(0);
        } else if settled > 0 {
            // Another gap: it too gets its time, unless it is being filled.
            held.due = held.due.map(|_| now() + GAP_WAIT);
        }
    }
}

/// Only frames with a position are ever held or filled in.
fn seq_of(frame: &Arc<Frame>) -> Seq {
    frame.position.map_or(0, |position| position.seq)
}

#[cfg(test)]
mod tests;
