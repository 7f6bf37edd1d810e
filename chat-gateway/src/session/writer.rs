//! Puts frames onto a connection: a lone one as it is, those that wait together in one write.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::frame::Frame;
use super::socket::Ending;

/// Once so much is together it is written, whatever else waits: what the kernel does not take stays in the session's
/// memory. One frame may reach beyond it.
const BATCH_BYTES: usize = 64 * 1024;

thread_local! {
    /// Where frames are put together. It is needed during a write only, so each thread has one, and not each session.
    static BATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A frame that is to be written.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// To this client alone.
    Own(Bytes),
    Shared(Arc<Frame>),
}

/// What the writer is given.
#[derive(Debug)]
pub(super) enum Step {
    Write(Outgoing),
    /// What came before is written first.
    Close(u16),
}

/// One connection's.
#[derive(Debug)]
pub(super) struct Writer {
    /// What the kernel has not taken yet. While there is some, nothing more is asked for.
    unsent: Bytes,
}

impl Outgoing {
    fn wire(&self) -> &Bytes {
        match self {
            Self::Own(wire) => wire,
            Self::Shared(frame) => frame.wire(),
        }
    }
}

impl Writer {
    /// Begins with these bytes.
    pub(super) fn new(unsent: Bytes) -> Self {
        Self { unsent }
    }

    /// Writes all that `next` gives, as far as there is room; without room (`false`) it is asked for an end only.
    /// Ready only with an end. What may then still be unsent is to be had by [`Writer::into_unsent`].
    pub(super) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        mut next: impl FnMut(&mut Context<'_>, bool) -> Poll<Step>,
    ) -> Poll<Ending> {
        loop {
            match self.poll_flush(cx, stream) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                Poll::Pending => {
                    return match next(cx, false) {
                        Poll::Ready(Step::Close(code)) => Poll::Ready(Ending::Ours(code)),
                        Poll::Ready(Step::Write(_)) | Poll::Pending => Poll::Pending,
                    };
                }
            }
            let first = match ready!(next(cx, true)) {
                Step::Write(first) => first,
                Step::Close(code) => return Poll::Ready(Ending::Ours(code)),
            };
            let (written, then) = match next(cx, true) {
                Poll::Ready(Step::Write(second)) => self.write_many(cx, stream, [first, second], &mut next),
                then => (self.write(cx, stream, first.wire()), then),
            };
            if written.is_err() {
                return Poll::Ready(Ending::Gone);
            }
            match then {
                Poll::Ready(Step::Close(code)) => return Poll::Ready(Ending::Ours(code)),
                // Whoever gives will wake us.
                Poll::Pending if self.unsent.is_empty() => return Poll::Pending,
                Poll::Pending | Poll::Ready(Step::Write(_)) => {}
            }
        }
    }

    /// What is to be written before a goodbye.
    pub(super) fn into_unsent(self) -> Bytes {
        self.unsent
    }

    /// Says also how the last question was answered; `Write` means that there may be more.
    fn write_many<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        frames: [Outgoing; 2],
        next: &mut impl FnMut(&mut Context<'_>, bool) -> Poll<Step>,
    ) -> (std::io::Result<()>, Poll<Step>) {
        let mut batch = BATCH.take();
        batch.clear();
        let [first, mut last] = frames;
        batch.extend_from_slice(first.wire());
        let then = loop {
            batch.extend_from_slice(last.wire());
            if batch.len() >= BATCH_BYTES {
                break Poll::Ready(Step::Write(last));
            }
            match next(cx, true) {
                Poll::Ready(Step::Write(frame)) => last = frame,
                end => break end,
            }
        };
        let written = match self.poll_some(cx, stream, &batch) {
            Poll::Ready(Ok(taken)) => {
                self.unsent = copied(&batch[taken..]);
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => {
                self.unsent = copied(&batch);
                Ok(())
            }
        };
        // A frame of unusual length must not take its room for ever.
        batch.shrink_to(2 * BATCH_BYTES);
        BATCH.set(batch);
        (written, then)
    }

    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        wire: &Bytes,
    ) -> std::io::Result<()> {
        let taken = match self.poll_some(cx, stream, wire) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        if taken < wire.len() {
            self.unsent = wire.slice(taken..);
        }
        Ok(())
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<std::io::Result<()>> {
        while !self.unsent.is_empty() {
            let unsent = self.unsent.clone();
            let taken = ready!(self.poll_some(cx, stream, &unsent))?;
            self.unsent.advance(taken);
            if self.unsent.is_empty() {
                // Its memory goes back with the last byte.
                self.unsent = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some<W: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut W,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match ready!(Pin::new(stream).poll_write(cx, bytes)) {
            Ok(0) => Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
            taken => Poll::Ready(taken),
        }
    }
}

fn copied(bytes: &[u8]) -> Bytes {
    if bytes.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(bytes) }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::task::Waker;

    use super::*;

    /// A connection that takes so many bytes, write by write.
    #[derive(Default)]
    struct Narrow {
        room: VecDeque<usize>,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let Some(room) = self.room.pop_front() else { return Poll::Pending };
            let taken = room.min(bytes.len());
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    struct Bench {
        writer: Writer,
        stream: Narrow,
        steps: VecDeque<Step>,
    }

    impl Bench {
        fn new(frames: &[&[u8]]) -> Self {
            let steps = frames.iter().map(|frame| Step::Write(Outgoing::Own(Bytes::copy_from_slice(frame))));
            Self { writer: Writer::new(Bytes::new()), stream: Narrow::default(), steps: steps.collect() }
        }

        /// Runs while the connection takes this much in one write each.
        fn poll(&mut self, room: &[usize]) -> Poll<Ending> {
            self.stream.room = room.iter().copied().collect();
            let cx = &mut Context::from_waker(Waker::noop());
            self.writer.poll_write(cx, &mut self.stream, |_, has_room| match self.steps.front() {
                Some(Step::Write(_)) if !has_room => Poll::Pending,
                _ => self.steps.pop_front().map_or(Poll::Pending, Poll::Ready),
            })
        }

        fn writes(&mut self) -> Vec<Vec<u8>> {
            std::mem::take(&mut self.stream.writes)
        }
    }

    #[test]
    fn frames_that_wait_together_go_out_in_one_write() {
        let mut bench = Bench::new(&[b"one", b"two", b"three"]);
        assert_eq!(bench.poll(&[1_000]), Poll::Pending);
        assert_eq!(bench.writes(), [b"onetwothree"]);
    }

    #[test]
    fn a_write_is_bounded_and_what_is_left_goes_into_the_next() {
        let big = vec![b'x'; BATCH_BYTES - 1];
        let mut bench = Bench::new(&[b"a", b"b", &big, b"c", b"d"]);
        assert_eq!(bench.poll(&[usize::MAX, usize::MAX]), Poll::Pending);
        let lengths: Vec<usize> = bench.writes().iter().map(Vec::len).collect();
        assert_eq!(lengths, [BATCH_BYTES + 1, 2]);
    }

    #[test]
    fn a_write_that_was_taken_in_part_goes_on_where_it_stopped_before_anything_else_is_asked_for() {
        for frames in [&[&b"one two three"[..], b"four"][..], &[b"one two", b" three", b"four"]] {
            let mut bench = Bench::new(frames);
            let last = bench.steps.pop_back().unwrap();
            assert_eq!(bench.poll(&[3]), Poll::Pending);
            bench.steps.push_back(last);
            assert_eq!(bench.poll(&[4]), Poll::Pending);
            assert_eq!(bench.steps.len(), 1, "the last frame has to wait");
            assert_eq!(bench.poll(&[100, 100]), Poll::Pending);
            assert_eq!(bench.writes(), [&b"one"[..], b" two", b" three", b"four"]);
        }
    }

    #[test]
    fn an_end_is_told_at_once_when_there_is_no_room_and_after_the_frames_when_there_is() {
        let mut bench = Bench::new(&[b"one", b"two"]);
        bench.steps.push_back(Step::Close(1012));
        assert_eq!(bench.poll(&[1_000]), Poll::Ready(Ending::Ours(1012)));
        assert_eq!(bench.writes(), [b"onetwo"]);

        let mut bench = Bench::new(&[b"one"]);
        assert_eq!(bench.poll(&[]), Poll::Pending);
        bench.steps.push_back(Step::Close(4008));
        assert_eq!(bench.poll(&[]), Poll::Ready(Ending::Ours(4008)));
        assert_eq!(bench.writer.into_unsent()[..], *b"one");
    }

    #[test]
    fn a_connection_that_takes_nothing_is_gone() {
        assert_eq!(Bench::new(&[b"one"]).poll(&[0]), Poll::Ready(Ending::Gone));
    }
}
