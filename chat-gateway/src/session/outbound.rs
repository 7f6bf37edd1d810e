//! What a session writes next: its mailbox in order, gaps filled, a resume before all that is live.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::web::Data;
use shared_types::api_server_api::ResumeSession;
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, Seq, UserId, close_code};
use tokio::time::{Instant, Sleep, sleep_until};

use super::frame::Frame;
use super::hub::Session;
use super::mailbox::{Next, Wants};
use super::order::{Gap, Offered, Order};
use super::resume::{Progress, Reading, Resume, Resumed};
use crate::metrics::{GapOutcome, ResumeOutcome};
use crate::state::Gateway;

/// The session's task alone uses it.
pub(crate) struct Outbound {
    gateway: Data<Gateway>,
    user_id: UserId,
    session: Arc<Session>,
    order: Order,
    // Boxed, as they are seldom there: an idle session keeps a pointer for each.
    resume: Option<Box<Resume>>,
    fill: Option<Box<Fill>>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A gap that is being read from the log. One at a time: gaps are rare, and a session is one consumer.
struct Fill {
    gap: Gap,
    reading: Reading,
}

impl Outbound {
    pub(crate) fn new(gateway: Data<Gateway>, user_id: UserId, session: Arc<Session>) -> Self {
        // What is held is as much as may wait in the mailbox: together a client may be this far behind.
        let order = Order::new(gateway.mailbox_frames);
        Self { gateway, user_id, session, order, resume: None, fill: None, timer: None }
    }

    /// Begins a resume, or says what is to be answered instead.
    pub(crate) fn begin_resume(&mut self, cursors: HashMap<ChannelId, Seq>) -> Option<ServerFrame> {
        if self.resume.is_some() {
            self.gateway.metrics.resumed(ResumeOutcome::Refused);
            return Some(error("invalid_request", "A resume is running: wait for its `resumed`."));
        }
        let session =
            ResumeSession { user_id: self.user_id.clone(), channels: cursors.keys().copied().collect() };
        let Some(answer) = self.gateway.resumes.ask(session) else {
            self.gateway.metrics.resumed(ResumeOutcome::Overloaded);
            return Some(overloaded());
        };
        self.resume = Some(Box::new(Resume::new(cursors, answer)));
        None
    }

    /// What to write next, or that the session has to end; else the task is woken when there is something. Without
    /// room on the wire only an end is reported.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Next> {
        loop {
            let wants = match (has_room, self.resume.is_some() || self.order.has_ready()) {
                (false, _) => Wants::End,
                (true, true) => Wants::NoticeOrEnd,
                (true, false) => Wants::Anything,
            };
            // Between two frames of one channel nothing of it may come, but a notice may.
            match self.session.mailbox.poll_next(cx, wants) {
                Poll::Ready(Next::Close(code)) if self.has_to_finish_first(code) => {}
                Poll::Ready(Next::Close(code)) => return Poll::Ready(Next::Close(code)),
                Poll::Ready(Next::Write(frame)) => match self.take(frame) {
                    Some(next) => return Poll::Ready(next),
                    None => continue,
                },
                Poll::Pending => {}
            }
            if !has_room {
                return Poll::Pending;
            }
            if let Some(frame) = self.order.pop_ready() {
                return Poll::Ready(Next::Write(frame));
            }
            let went_on = if self.resume.is_some() { self.poll_resume(cx) } else { self.poll_gaps(cx) };
            match went_on {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(code)) => return Poll::Ready(Next::Close(code)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A drain lets a session have what it was sent before; that ends, because filling a gap does.
    fn has_to_finish_first(&self, code: u16) -> bool {
        let waits = self.order.has_ready() || self.order.is_holding();
        code == close_code::RESTART && self.resume.is_none() && waits
    }

    fn take(&mut self, frame: Arc<Frame>) -> Option<Next> {
        match self.order.offer(frame, Instant::now()) {
            Offered::Write(frame) => Some(Next::Write(frame)),
            Offered::Held => None,
            Offered::Duplicate => {
                self.gateway.metrics.duplicates.inc();
                None
            }
            Offered::TooManyHeld => Some(Next::Close(close_code::TOO_SLOW)),
        }
    }

    fn poll_resume(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), u16>> {
        let Some(resume) = &mut self.resume else { return Poll::Ready(Ok(())) };
        let answer = match std::task::ready!(resume.poll(cx, &mut self.order, &self.gateway.log_reader)) {
            Progress::Ready => return Poll::Ready(Ok(())),
            Progress::Done(resumed) => {
                self.report(&resumed);
                self.gateway.metrics.resumed(ResumeOutcome::Resumed);
                ServerFrame::from(resumed)
            }
            Progress::Failed => {
                self.gateway.metrics.resumed(ResumeOutcome::Failed);
                overloaded()
            }
        };
        self.resume = None;
        self.order.push_ready(Arc::new(Frame::of(&answer)));
        Poll::Ready(Ok(()))
    }

    /// What was written, or was there before, is on the device.
    fn report(&self, resumed: &Resumed) {
        let is_foreground = !self.session.is_background();
        for (channel_id, seq) in resumed.channels.iter().filter(|(_, seq)| **seq > 0) {
            self.gateway.acks.record(&self.user_id, *channel_id, *seq, is_foreground);
        }
    }

    /// Ready when more may be written, or with the code that ends the session.
    fn poll_gaps(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), u16>> {
        loop {
            if let Some(fill) = &mut self.fill
                && let Poll::Ready(page) = fill.reading.as_mut().poll(cx)
            {
                let gap = fill.gap;
                self.fill = None;
                let Ok(page) = page else {
                    self.gateway.metrics.gap(GapOutcome::GivenUp);
                    // Elsewhere the client may get what is missing here.
                    return Poll::Ready(Err(close_code::TOO_SLOW));
                };
                self.order.fill(gap, &page, Instant::now());
                self.gateway.metrics.gap(GapOutcome::Filled);
            }
            let may_fill = self.fill.is_none();
            if let Some(gap) = self.order.take_due(Instant::now(), may_fill) {
                let reading = Box::pin(self.gateway.log_reader.clone().read(gap.channel_id, gap.after));
                self.fill = Some(Box::new(Fill { gap, reading }));
                continue;
            }
            if self.order.has_ready() {
                return Poll::Ready(Ok(()));
            }
            let Some(due) = self.order.next_due(may_fill) else {
                self.timer = None;
                return Poll::Pending;
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            std::task::ready!(timer.as_mut().poll(cx));
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if self.resume.is_some() {
            self.gateway.metrics.resumed(ResumeOutcome::CutOff);
        }
    }
}

impl From<Resumed> for ServerFrame {
    fn from(resumed: Resumed) -> Self {
        let Resumed { channels, resync_required, new_channels } = resumed;
        Self::Resumed { channels, resync_required, new_channels }
    }
}

fn overloaded() -> ServerFrame {
    error(
        "overloaded",
        "Resuming is not possible now: ask again in a moment, or fetch what you missed by POST /sync.",
    )
}

fn error(code: &'static str, detail: &str) -> ServerFrame {
    ServerFrame::Error { code, detail: detail.into() }
}
