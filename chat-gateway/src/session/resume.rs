//! A resume: everything after the client's cursors, channel by channel and page by page, then `resumed`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use shared_types::api_server_api::{MAX_NEW_CHANNELS, NamedChannel, ResumableChannels};
use shared_types::{ChannelId, Seq};
use tokio::time::Instant;

use super::order::{MAX_BEHIND, Order};
use crate::log_reader::{LogReader, Page, Unreadable};
use crate::resumes::Answer;

pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Page, Unreadable>> + Send>>;

/// Whose wish it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The client's, who reads new channels by REST and hears how it ended.
    Asked,
    /// The gateway's, from where the session stands: of new channels all is wanted.
    CatchUp,
}

/// One session's. While it runs, live entries wait.
pub(crate) struct Resume {
    purpose: Purpose,
    cursors: HashMap<ChannelId, Seq>,
    /// `None`: it has come.
    answer: Option<Answer>,
    /// Those that are still to be read; the last is next.
    channels: Vec<Channel>,
    reading: Option<Reading>,
    /// The answer names all channels of the user.
    is_complete: bool,
    outcome: Resumed,
}

/// What `resumed` says.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    /// Up to where the client has everything.
    pub(crate) channels: HashMap<ChannelId, Seq>,
    pub(crate) resync_required: Vec<ChannelId>,
    pub(crate) new_channels: Vec<ChannelId>,
}

#[derive(Debug)]
struct Channel {
    id: ChannelId,
    cursor: Seq,
    /// Up to here the client has everything, or it is ready to be written.
    at: Seq,
    last: Seq,
}

/// What a resume has come to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Some entries are ready to be written.
    Ready,
    Done(Resumed),
    /// The api-servers are away.
    Failed,
}

impl Resume {
    pub(crate) fn new(purpose: Purpose, cursors: HashMap<ChannelId, Seq>, answer: Answer) -> Self {
        let outcome = Resumed::default();
        let (channels, reading, is_complete) = (Vec::new(), None, false);
        Self { purpose, cursors, answer: Some(answer), channels, reading, is_complete, outcome }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Goes on reading. Called again when everything that has become ready is written: so much is in memory, no more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        order: &mut Order,
        log: &Arc<LogReader>,
    ) -> Poll<Progress> {
        if let Some(answer) = &mut self.answer {
            let Ok(there_is) = ready!(Pin::new(answer).poll(cx)) else {
                return Poll::Ready(Progress::Failed);
            };
            self.answer = None;
            self.plan(there_is, order);
        }
        loop {
            if let Some(reading) = &mut self.reading {
                let page = ready!(reading.as_mut().poll(cx));
                self.reading = None;
                let (Ok(page), Some(channel)) = (page, self.channels.last_mut()) else {
                    return Poll::Ready(Progress::Failed);
                };
                channel.take(&page, order);
            }
            let Some(channel) = self.channels.last_mut() else {
                if self.is_complete && self.purpose == Purpose::Asked {
                    order.set_complete();
                }
                return Poll::Ready(Progress::Done(std::mem::take(&mut self.outcome)));
            };
            if channel.at < channel.last {
                self.reading = Some(Box::pin(log.clone().read(channel.id, channel.at)));
            } else {
                self.outcome.channels.insert(channel.id, channel.at);
                self.channels.pop();
            }
            if order.has_ready() {
                return Poll::Ready(Progress::Ready);
            }
        }
    }

    fn plan(&mut self, there_is: ResumableChannels, order: &mut Order) {
        let now = Instant::now();
        self.is_complete = there_is.new_channels.len() < MAX_NEW_CHANNELS;
        for new in there_is.new_channels {
            if self.purpose == Purpose::CatchUp {
                // One that it had before is not new to a session that has resumed; to another nothing is promised.
                if order.is_complete() {
                    let begins_after = new.begins_after();
                    self.read(new.channel_id, begins_after, begins_after, new.last_seq);
                }
                continue;
            }
            self.outcome.new_channels.push(new.channel_id);
            if order.written(new.channel_id).is_none() {
                // What there is by now the client reads by REST.
                order.cover(new.channel_id, new.last_seq, new.last_seq, now);
            }
        }
        for (id, NamedChannel { last_seq, .. }) in there_is.channels {
            let Some(cursor) = self.cursors.remove(&id) else { continue };
            // A client that has more than there is has seen another database.
            let cursor = cursor.min(last_seq);
            let at = match order.written(id) {
                None => Some(cursor),
                Some(written) if written.first <= cursor + 1 => Some(written.last.max(cursor)),
                // Later entries have been written: earlier ones must not come after them.
                Some(_) => None,
            };
            let Some(at) = at else {
                self.outcome.resync_required.push(id);
                continue;
            };
            if last_seq - at > MAX_BEHIND && order.written(id).is_none() {
                order.cover(id, last_seq, last_seq, now);
            }
            if at >= last_seq {
                // Live entries go on from here.
                order.cover(id, at, at, now);
            }
            self.read(id, cursor, at, last_seq);
        }
        // Those that were not given back are not the user's.
        self.cursors = HashMap::new();
    }

    fn read(&mut self, id: ChannelId, cursor: Seq, at: Seq, last: Seq) {
        if last - at > MAX_BEHIND {
            self.outcome.resync_required.push(id);
        } else {
            self.channels.push(Channel { id, cursor, at, last });
        }
    }
}

impl Channel {
    /// Makes a page's entries ready, as far as they are wanted. What is not kept any more is not waited for.
    fn take(&mut self, page: &Page, order: &mut Order) {
        self.at = self.at.max(page.removed_seq.min(self.last));
        for frame in page.frames.iter() {
            if let Some(position) = frame.position
                && position.seq > self.at
                && position.seq <= self.last
            {
                order.push_ready(frame.clone());
                self.at = position.seq;
            }
        }
        order.cover(self.id, self.cursor, self.at, Instant::now());
    }
}
