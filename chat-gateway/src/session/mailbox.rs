//! What waits to be written to one session: bounded, and never waited for by whoever delivers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use shared_types::close_code;

use super::bell::Bell;
use super::frame::Frame;

/// The session takes this many frames at a time: enough to make the lock cheap, and no more in its hands than go out
/// in a few writes. So many more than the mailbox holds may wait.
const TAKEN_FRAMES: usize = 128;
/// A mailbox that has emptied keeps room for this many frames; a burst's memory goes back.
const KEPT_FRAMES: usize = 8;

/// Filled by any thread, emptied by the session's task.
#[derive(Debug)]
pub(crate) struct Mailbox {
    // A plain mutex: held for a push or a few pops, never across a wait, so it is as good as free.
    inner: Mutex<Inner>,
    /// Of the thread that the session's task runs on.
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Inner {
    frames: VecDeque<Arc<Frame>>,
    max_frames: usize,
    /// Written before everything else, and also while the frames have to wait.
    notice: Option<Arc<Frame>>,
    /// Before the next frame the session looks into the log for what it has missed.
    has_to_catch_up: bool,
    /// Once set, nothing more is taken in; the session closes with this code when the frames are written.
    closing: Option<u16>,
    waker: Option<Waker>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    Accepted,
    /// This was the frame too many: the session is told to close.
    Overflowed,
    /// It may be dropped, and was.
    Dropped,
    /// The session is closing already.
    Closed,
}

/// What the session's task does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Write(Arc<Frame>),
    CatchUp,
    Close(u16),
}

/// What the session can do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Without room on the wire: a stuck session must learn of its end too.
    End,
    /// While it resumes, frames wait. An end does not wait for them: the client resumes elsewhere anyway.
    NoticeOrEnd,
    Anything,
}

impl Mailbox {
    pub(crate) fn new(max_frames: usize, bell: Arc<Bell>) -> Self {
        Self {
            bell,
            inner: Mutex::new(Inner {
                frames: VecDeque::new(),
                max_frames,
                notice: None,
                has_to_catch_up: false,
                closing: None,
                waker: None,
            }),
        }
    }

    /// Never waits: a session that does not keep up is closed, and holds nobody up meanwhile. Frames without a
    /// position are dropped long before that.
    pub(crate) fn post(&self, frame: Arc<Frame>) -> Posted {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return Posted::Closed;
        }
        if frame.position.is_none() && inner.frames.len() > inner.max_frames / 2 {
            return Posted::Dropped;
        }
        let posted = if inner.frames.len() < inner.max_frames {
            inner.frames.push_back(frame);
            Posted::Accepted
        } else {
            // The client reads all this again when it resumes.
            inner.frames = VecDeque::new();
            inner.closing = Some(close_code::TOO_SLOW);
            Posted::Overflowed
        };
        self.wake(inner);
        posted
    }

    /// Has this written next, in place of a notice that has not been written yet.
    pub(crate) fn notify(&self, frame: Arc<Frame>) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            inner.notice = Some(frame);
            self.wake(inner);
        }
    }

    /// Something may not have come here that should have.
    pub(crate) fn catch_up(&self) {
        let mut inner = self.lock();
        inner.has_to_catch_up = true;
        self.wake(inner);
    }

    /// Takes nothing more in; what waits is written first.
    pub(crate) fn close(&self, code: u16) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            inner.closing = Some(code);
            self.wake(inner);
        }
    }

    /// What to do next, if there is something that can be done; else the task is woken when there is. Frames that can
    /// be written right after it come along in `taken`.
    pub(crate) fn poll_next(
        &self,
        cx: &Context<'_>,
        wants: Wants,
        taken: &mut VecDeque<Arc<Frame>>,
    ) -> Poll<Next> {
        let mut inner = self.lock();
        if wants != Wants::End
            && let Some(notice) = inner.notice.take()
        {
            return Poll::Ready(Next::Write(notice));
        }
        if wants == Wants::Anything && std::mem::take(&mut inner.has_to_catch_up) {
            return Poll::Ready(Next::CatchUp);
        }
        if wants == Wants::Anything
            && let Some(frame) = inner.frames.pop_front()
        {
            if !inner.frames.is_empty() {
                let more = inner.frames.len().min(TAKEN_FRAMES);
                taken.extend(inner.frames.drain(..more));
            }
            if inner.frames.is_empty() {
                inner.frames.shrink_to(KEPT_FRAMES);
            }
            return Poll::Ready(Next::Write(frame));
        }
        if (inner.frames.is_empty() || wants == Wants::NoticeOrEnd)
            && let Some(code) = inner.closing
        {
            return Poll::Ready(Next::Close(code));
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Frames that wait; what the session has taken in hand does not.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().frames.len()
    }

    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let sleeper = inner.waker.take();
        drop(inner);
        if let Some(sleeper) = sleeper {
            self.bell.ring(sleeper);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way, so a poisoned mailbox is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(max_frames: usize) -> Mailbox {
        Mailbox::new(max_frames, Arc::default())
    }

    fn poll(mailbox: &Mailbox, wants: Wants) -> Poll<Next> {
        let mut taken = VecDeque::new();
        let next = mailbox.poll_next(&Context::from_waker(Waker::noop()), wants, &mut taken);
        // As if it had not been taken yet.
        for frame in taken.into_iter().rev() {
            mailbox.lock().frames.push_front(frame);
        }
        next
    }

    fn ephemeral(word: &str) -> Arc<Frame> {
        Arc::new(Frame::from_api(&format!(r#"{{"type":"{word}"}}"#)).unwrap())
    }

    fn entry(seq: i64) -> Arc<Frame> {
        let json = format!(r#"{{"channelId":"0199aaaa-0000-7000-8000-000000000000","seq":{seq}}}"#);
        Arc::new(Frame::from_api(&json).unwrap())
    }

    fn write(frame: Arc<Frame>) -> Poll<Next> {
        Poll::Ready(Next::Write(frame))
    }

    #[test]
    fn frames_come_out_in_order_and_before_the_close() {
        let mailbox = mailbox(3);
        assert_eq!(mailbox.post(entry(1)), Posted::Accepted);
        assert_eq!(mailbox.post(entry(2)), Posted::Accepted);
        mailbox.close(1012);
        assert_eq!(mailbox.post(entry(3)), Posted::Closed);
        assert_eq!(poll(&mailbox, Wants::Anything), write(entry(1)));
        assert_eq!(poll(&mailbox, Wants::Anything), write(entry(2)));
        assert_eq!(poll(&mailbox, Wants::Anything), Poll::Ready(Next::Close(1012)));
    }

    #[test]
    fn the_frame_too_many_closes_the_session_even_when_nothing_can_be_written() {
        let mailbox = mailbox(1);
        assert_eq!(mailbox.post(entry(1)), Posted::Accepted);
        assert_eq!(poll(&mailbox, Wants::End), Poll::Pending);
        assert_eq!(mailbox.post(entry(2)), Posted::Overflowed);
        assert_eq!(mailbox.post(entry(3)), Posted::Closed);
        assert_eq!(poll(&mailbox, Wants::End), Poll::Ready(Next::Close(close_code::TOO_SLOW)));
    }

    #[test]
    fn an_ephemeral_frame_is_dropped_while_more_than_half_of_the_room_is_taken() {
        let mailbox = mailbox(4);
        for seq in 1..=2 {
            mailbox.post(entry(seq));
        }
        assert_eq!(mailbox.post(ephemeral("typing")), Posted::Accepted);
        assert_eq!(mailbox.post(ephemeral("typing")), Posted::Dropped);
        assert_eq!(mailbox.post(entry(3)), Posted::Accepted);
    }

    #[test]
    fn while_frames_have_to_wait_notices_and_the_end_do_not() {
        let mailbox = mailbox(4);
        mailbox.post(entry(1));
        assert_eq!(poll(&mailbox, Wants::NoticeOrEnd), Poll::Pending);
        mailbox.notify(ephemeral("draining"));
        assert_eq!(poll(&mailbox, Wants::NoticeOrEnd), write(ephemeral("draining")));
        mailbox.close(1012);
        assert_eq!(poll(&mailbox, Wants::NoticeOrEnd), Poll::Ready(Next::Close(1012)));
        assert_eq!(poll(&mailbox, Wants::Anything), write(entry(1)));
    }

    #[test]
    fn what_waits_is_taken_together_up_to_a_limit() {
        let mailbox = mailbox(1_000);
        let taken_of = |wants| {
            let mut taken = VecDeque::new();
            let next = mailbox.poll_next(&Context::from_waker(Waker::noop()), wants, &mut taken);
            (next, Vec::from(taken))
        };
        for seq in 1..=200 {
            mailbox.post(entry(seq));
        }
        mailbox.close(1012);
        assert_eq!(taken_of(Wants::End), (Poll::Pending, Vec::new()));
        assert_eq!(taken_of(Wants::Anything), (write(entry(1)), (2..=129).map(entry).collect()));
        assert_eq!(taken_of(Wants::Anything), (write(entry(130)), (131..=200).map(entry).collect()));
        assert_eq!(taken_of(Wants::Anything), (Poll::Ready(Next::Close(1012)), Vec::new()));
    }
}
