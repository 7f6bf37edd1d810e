//! What a session writes next: its mailbox in order, gaps filled, a resume before all that is live.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::web::Data;
use shared_types::api_server_api::ResumeSession;
use shared_types::frames::ServerFrame;
use shared_types::{ChannelId, Seq, UserId, close_code};
use tokio::time::{Instant, Sleep, sleep_until};

use super::fill::{Fill, GivenUp};
use super::frame::{Frame, Position};
use super::hub::Session;
use super::mailbox::{Next, Wants};
use super::order::{Offered, Order};
use super::resume::{Progress, Purpose, Resume, Resumed};
use super::sample::Samples;
use super::writer::{Outgoing, Step};
use crate::metrics::{GapOutcome, ResumeOutcome};
use crate::state::Gateway;

/// Live entries wait this long for the client's first frame, which may be `resume`: what it brings comes before them. As
/// long as a round trip takes in most mobile networks; a client that has nothing to say waits it once.
const FIRST_FRAME_WAIT: Duration = Duration::from_millis(250);

/// The session's task alone uses it.
pub(crate) struct Outbound {
    gateway: Data<Gateway>,
    user_id: UserId,
    session: Arc<Session>,
    /// From the mailbox, to be written next. Nothing is allocated while it is empty.
    taken: VecDeque<Arc<Frame>>,
    order: Order,
    /// Until then the client's first frame is waited for. `None`: it has come, or need not.
    first_frame_due: Option<Instant>,
    // Boxed, as they are seldom there: an idle session keeps a pointer for each.
    resume: Option<Box<Resume>>,
    /// One at a time: gaps are rare, and a session is one consumer.
    fill: Option<Box<Fill>>,
    timer: Option<Pin<Box<Sleep>>>,
    samples: Samples,
}

impl Outbound {
    pub(crate) fn new(gateway: Data<Gateway>, user_id: UserId, session: Arc<Session>) -> Self {
        // What is held is as much as may wait in the mailbox: together a client may be this far behind.
        let order = Order::new(gateway.mailbox_frames);
        let first_frame_due = Some(Instant::now() + FIRST_FRAME_WAIT);
        let (taken, resume, fill, timer) = (VecDeque::new(), None, None, None);
        let samples = Samples::default();
        Self { gateway, user_id, session, taken, order, first_frame_due, resume, fill, timer, samples }
    }

    /// Live entries wait for the client's first frame no longer.
    pub(crate) fn let_go(&mut self) {
        if self.first_frame_due.take().is_some() {
            self.timer = None;
        }
    }

    /// Begins a resume, or says what is to be answered instead.
    pub(crate) fn begin_resume(&mut self, cursors: HashMap<ChannelId, Seq>) -> Option<ServerFrame> {
        // One that the client does not know of gives way to its own.
        if self.resume.as_ref().is_some_and(|running| running.purpose() == Purpose::Asked) {
            self.gateway.metrics.resumed(ResumeOutcome::Refused);
            return Some(error("invalid_request", "A resume is running: wait for its `resumed`."));
        }
        if self.start_resume(Purpose::Asked, cursors) {
            return None;
        }
        self.gateway.metrics.resumed(ResumeOutcome::Overloaded);
        Some(overloaded())
    }

    /// Nobody may have found this session for a while, and what was sent then it did not get. It resumes by itself,
    /// from where it stands, and says nothing of it.
    fn begin_catching_up(&mut self) -> Option<Step> {
        let cursors = self.order.cursors();
        if cursors.is_empty() && !self.order.is_complete() {
            return None;
        }
        let has_begun = self.start_resume(Purpose::CatchUp, cursors);
        (!has_begun).then(|| Step::Close(self.give_up()))
    }

    /// Says whether the api-servers are being asked: not when too many wait for their answers.
    fn start_resume(&mut self, purpose: Purpose, cursors: HashMap<ChannelId, Seq>) -> bool {
        let channels = cursors.keys().copied().collect();
        let session = ResumeSession { user_id: self.user_id.clone(), channels };
        let Some(answer) = self.gateway.resumes.ask(session) else { return false };
        self.resume = Some(Box::new(Resume::new(purpose, cursors, answer)));
        true
    }

    /// What to write next, or that the session has to end; else the task is woken when there is something. Without
    /// room on the wire only an end is reported.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, has_room: bool) -> Poll<Step> {
        loop {
            let is_early = self.first_frame_due.is_some();
            // Between two frames of one channel nothing of it may come, but a notice may.
            let frames_wait = is_early || self.resume.is_some() || self.order.has_ready();
            if has_room
                && !frames_wait
                && let Some(frame) = self.next_taken()
            {
                match self.take(frame) {
                    Some(step) => return Poll::Ready(step),
                    None => continue,
                }
            }
            let wants = match (has_room, frames_wait) {
                (false, _) => Wants::End,
                (true, true) => Wants::NoticeOrEnd,
                (true, false) => Wants::Anything,
            };
            match self.session.mailbox.poll_next(cx, wants, &mut self.taken) {
                // The client goes on elsewhere, with what it was sent here.
                Poll::Ready(Next::Close(_)) if is_early => {
                    self.let_go();
                    continue;
                }
                Poll::Ready(Next::Close(code)) if self.has_to_finish_first(code) => {}
                Poll::Ready(Next::Close(code)) => return Poll::Ready(Step::Close(code)),
                Poll::Ready(Next::Write(frame)) => match self.take(frame) {
                    Some(step) => return Poll::Ready(step),
                    None => continue,
                },
                Poll::Ready(Next::CatchUp) => match self.begin_catching_up() {
                    Some(step) => return Poll::Ready(step),
                    None => continue,
                },
                Poll::Pending => {}
            }
            if !has_room {
                return Poll::Pending;
            }
            if let Some(due) = self.first_frame_due {
                ready!(self.poll_timer(due, cx));
                self.let_go();
                continue;
            }
            if let Some(frame) = self.order.pop_ready() {
                return Poll::Ready(self.write(frame));
            }
            let went_on = if self.resume.is_some() { self.poll_resume(cx) } else { self.poll_gaps(cx) };
            match went_on {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(code)) => return Poll::Ready(Step::Close(code)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A drain lets a session have what it was sent before; that ends, because filling a gap does.
    fn has_to_finish_first(&self, code: u16) -> bool {
        let waits = !self.taken.is_empty() || self.order.has_ready() || self.order.is_holding();
        code == close_code::RESTART && self.resume.is_none() && waits
    }

    fn next_taken(&mut self) -> Option<Arc<Frame>> {
        let frame = self.taken.pop_front();
        if frame.is_none() && self.taken.capacity() > 0 {
            self.taken = VecDeque::new();
        }
        frame
    }

    fn take(&mut self, frame: Arc<Frame>) -> Option<Step> {
        if let Some(Position { channel_id, seq }) = frame.position
            && frame.tells_of_joining(&self.user_id)
            && self.order.written(channel_id).is_none()
        {
            // What was there before is history.
            self.order.cover(channel_id, seq - 1, seq - 1, Instant::now());
        }
        match self.order.offer(frame, Instant::now) {
            Offered::Write(frame) => Some(self.write(frame)),
            Offered::Held => None,
            Offered::Duplicate => {
                self.gateway.metrics.duplicates.inc();
                None
            }
            Offered::TooManyHeld => Some(Step::Close(close_code::TOO_SLOW)),
        }
    }

    fn write(&mut self, frame: Arc<Frame>) -> Step {
        self.samples.note(&frame, self.session.acks());
        Step::Write(Outgoing::Shared(frame))
    }

    /// The kernel has all that was to be written.
    pub(super) fn has_written(&mut self) {
        self.samples.written(&self.gateway.metrics);
    }

    /// The client has everything of the channel up to `seq`.
    pub(super) fn has_acked(&mut self, channel_id: ChannelId, seq: Seq) {
        self.samples.acked(channel_id, seq, &self.gateway.metrics);
    }

    fn poll_resume(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), u16>> {
        let Some(resume) = &mut self.resume else { return Poll::Ready(Ok(())) };
        let purpose = resume.purpose();
        let answer = match ready!(resume.poll(cx, &mut self.order, &self.gateway.log_reader)) {
            Progress::Ready => return Poll::Ready(Ok(())),
            Progress::Done(resumed) if purpose == Purpose::CatchUp => {
                self.resume = None;
                let has_all = resumed.resync_required.is_empty();
                return Poll::Ready(if has_all { Ok(()) } else { Err(self.give_up()) });
            }
            Progress::Failed if purpose == Purpose::CatchUp => {
                self.resume = None;
                return Poll::Ready(Err(self.give_up()));
            }
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
                && let Poll::Ready(filled) = fill.poll(cx, &mut self.order, &self.gateway)
            {
                self.fill = None;
                if let Err(GivenUp) = filled {
                    return Poll::Ready(Err(self.give_up()));
                }
            }
            let may_fill = self.fill.is_none();
            if let Some(missing) = self.order.take_due(Instant::now(), may_fill) {
                match Fill::start(missing, &self.gateway, &self.user_id) {
                    Ok(fill) => self.fill = Some(Box::new(fill)),
                    Err(GivenUp) => return Poll::Ready(Err(self.give_up())),
                }
                continue;
            }
            if self.order.has_ready() {
                return Poll::Ready(Ok(()));
            }
            let Some(due) = self.order.next_due(may_fill) else {
                self.timer = None;
                return Poll::Pending;
            };
            ready!(self.poll_timer(due, cx));
        }
    }

    fn give_up(&self) -> u16 {
        self.gateway.metrics.gap(GapOutcome::GivenUp);
        // Elsewhere the client may get what is missing here.
        close_code::TOO_SLOW
    }

    fn poll_timer(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx)
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
