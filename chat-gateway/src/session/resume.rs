//! A resume: everything after the client's cursors, channel by channel and page by page, then `resumed`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use shared_types::api_server_api::ResumableChannels;
use shared_types::{ChannelId, Seq};
use tokio::time::Instant;

use super::order::Order;
use crate::log_reader::{LogReader, Page, Unreadable};
use crate::resumes::Answer;

/// A channel further behind is read by REST: a page's worth of scrolling at a time, not all of it over the socket.
const MAX_BEHIND: Seq = 1_000;

pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Page, Unreadable>> + Send>>;

/// One session's. While it runs, live entries wait.
pub(crate) struct Resume {
    cursors: HashMap<ChannelId, Seq>,
    /// `None`: it has come.
    answer: Option<Answer>,
    /// Those that are still to be read; the last is next.
    channels: Vec<Channel>,
    reading: Option<Reading>,
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
    pub(crate) fn new(cursors: HashMap<ChannelId, Seq>, answer: Answer) -> Self {
        let outcome = Resumed::default();
        Self { cursors, answer: Some(answer), channels: Vec::new(), reading: None, outcome }
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
                return Poll::Ready(Progress::Done(std::mem::take(&mut self.outcome)));
            };
            channel.skip_written(order);
            if channel.at < channel.last {
                self.reading = Some(Box::pin(log.clone().read(channel.id, channel.at)));
            } else {
                self.outcome.channels.insert(channel.id, channel.last);
                self.channels.pop();
            }
            if order.has_ready() {
                return Poll::Ready(Progress::Ready);
            }
        }
    }

    fn plan(&mut self, there_is: ResumableChannels, order: &mut Order) {
        let now = Instant::now();
        self.outcome.new_channels = there_is.new_channels;
        for (id, last) in there_is.channels {
            let Some(cursor) = self.cursors.remove(&id) else { continue };
            let is_too_far = last - cursor > MAX_BEHIND;
            if is_too_far || cursor >= last {
                // Live entries go on from here. A client that has more than there is has seen another database.
                order.cover(id, last + 1, last, now);
            }
            match is_too_far {
                true => self.outcome.resync_required.push(id),
                false => self.channels.push(Channel { id, cursor, at: cursor.min(last), last }),
            }
        }
        // Those that were not given back are not the user's.
        self.cursors = HashMap::new();
    }
}

impl Channel {
    /// What this session has written already, because it came before the resume did, is not written again.
    fn skip_written(&mut self, order: &Order) {
        if let Some(written) = order.written(self.id)
            && written.first <= self.at + 1
        {
            self.at = self.at.max(written.last.min(self.last));
        }
    }

    /// Makes a page's entries ready, as far as they are wanted.
    fn take(&mut self, page: &Page, order: &mut Order) {
        let written = order.written(self.id).filter(|written| written.first > self.at);
        let upto = written.map_or(self.last, |written| self.last.min(written.first - 1));
        for frame in page.iter() {
            if let Some(position) = frame.position
                && position.seq > self.at
                && position.seq <= upto
            {
                order.push_ready(frame.clone());
                self.at = position.seq;
            }
        }
        order.cover(self.id, self.cursor + 1, self.at, Instant::now());
    }
}
