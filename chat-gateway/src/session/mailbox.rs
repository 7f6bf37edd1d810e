//! What waits to be written to one session: bounded, and never waited for by whoever delivers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use shared_types::close_code;

/// A mailbox that has emptied keeps room for this many frames; a burst's memory goes back.
const KEPT_FRAMES: usize = 8;

/// Filled by any thread, emptied by the session's task.
#[derive(Debug)]
pub(crate) struct Mailbox {
    // A plain mutex: held for a push or a pop, never across a wait, so it is as good as free.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    frames: VecDeque<ByteString>,
    max_frames: usize,
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
    /// The session is closing already.
    Closed,
}

/// What the session's task does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Write(ByteString),
    Close(u16),
}

impl Mailbox {
    pub(crate) fn new(max_frames: usize) -> Self {
        Self { inner: Mutex::new(Inner { frames: VecDeque::new(), max_frames, closing: None, waker: None }) }
    }

    /// Never waits: a session that does not keep up is closed, and holds nobody up meanwhile.
    pub(crate) fn post(&self, frame: ByteString) -> Posted {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return Posted::Closed;
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
        inner.wake();
        posted
    }

    /// Takes nothing more in; what waits is written first.
    pub(crate) fn close(&self, code: u16) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            inner.closing = Some(code);
            inner.wake();
        }
    }

    /// What to do next, if there is something that can be done; else the task is woken when there is. Without
    /// room on the wire only an end is reported: a stuck session must learn of it too.
    pub(crate) fn poll_next(&self, cx: &Context<'_>, has_room: bool) -> Poll<Next> {
        let mut inner = self.lock();
        if has_room && let Some(frame) = inner.frames.pop_front() {
            if inner.frames.is_empty() {
                inner.frames.shrink_to(KEPT_FRAMES);
            }
            return Poll::Ready(Next::Write(frame));
        }
        if inner.frames.is_empty()
            && let Some(code) = inner.closing
        {
            return Poll::Ready(Next::Close(code));
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way, so a poisoned mailbox is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(mailbox: &Mailbox) -> Poll<Next> {
        mailbox.poll_next(&Context::from_waker(Waker::noop()), true)
    }

    #[test]
    fn frames_come_out_in_order_and_before_the_close() {
        let mailbox = Mailbox::new(3);
        assert_eq!(mailbox.post("a".into()), Posted::Accepted);
        assert_eq!(mailbox.post("b".into()), Posted::Accepted);
        mailbox.close(1012);
        assert_eq!(mailbox.post("c".into()), Posted::Closed);
        assert_eq!(next(&mailbox), Poll::Ready(Next::Write("a".into())));
        assert_eq!(next(&mailbox), Poll::Ready(Next::Write("b".into())));
        assert_eq!(next(&mailbox), Poll::Ready(Next::Close(1012)));
    }

    #[test]
    fn the_frame_too_many_closes_the_session_even_when_nothing_can_be_written() {
        let mailbox = Mailbox::new(1);
        let without_room = || mailbox.poll_next(&Context::from_waker(Waker::noop()), false);
        assert_eq!(mailbox.post("a".into()), Posted::Accepted);
        assert_eq!(without_room(), Poll::Pending);
        assert_eq!(mailbox.post("b".into()), Posted::Overflowed);
        assert_eq!(mailbox.post("c".into()), Posted::Closed);
        assert_eq!(without_room(), Poll::Ready(Next::Close(close_code::TOO_SLOW)));
    }
}
