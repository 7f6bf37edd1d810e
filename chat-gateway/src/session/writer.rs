//! Puts frames onto a connection: a lone one as it is, those that wait together in one write.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use shared_runtime::traces::Span;
use tokio::io::AsyncWrite;

use super::frame::Frame;
use super::socket::Ending;

/// Once so much is together it is written, whatever else waits: what the kernel does not take stays in the session's
/// memory. One frame may reach beyond it.
const BATCH_BYTES: usize = 32 * 1024;

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
    /// Spans of frames in it, until the kernel has them. Nearly always empty, and then nothing is allocated.
    writes: Vec<Span>,
}

impl Outgoing {
    fn begin_write(&self) -> Option<Span> {
        match self {
            Self::Own(_) => None,
            Self::Shared(frame) => frame.begin_write(),
        }
    }

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
        Self { unsent, writes: Vec::new() }
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
                Poll::Ready(Ok(())) => self.end_writes(),
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
            self.writes.extend(first.begin_write());
            let (written, then) = match next(cx, true) {
                Poll::Ready(Step::Write(second)) => self.write_many(cx, stream, [first, second], &mut next),
                then => (self.write(cx, stream, first.wire()), then),
            };
            if written.is_err() {
                return Poll::Ready(Ending::Gone);
            }
            if self.unsent.is_empty() {
                self.end_writes();
            }
            match then {
                Poll::Ready(Step::Close(code)) => return Poll::Ready(Ending::Ours(code)),
                // Whoever gives will wake us.
                Poll::Pending if self.unsent.is_empty() => return Poll::Pending,
                Poll::Pending | Poll::Ready(Step::Write(_)) => {}
            }
        }
    }

    /// Whether the kernel has taken everything.
    pub(super) fn has_sent_all(&self) -> bool {
        self.unsent.is_empty()
    }

    /// The kernel has everything.
    fn end_writes(&mut self) {
        for mut span in std::mem::take(&mut self.writes) {
            span.set("outcome", "written");
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
            self.writes.extend(last.begin_write());
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
mod tests;
