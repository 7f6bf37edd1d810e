//! The WebSocket of one session on its TCP connection: reads, pings, silence, and the closing handshake.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use bytes::{Buf, Bytes};
use bytestring::ByteString;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::decoder::{Decoder, Fault, Incoming};
use super::outbound::Outbound;
use super::wire::{self, Opcode};
use super::writer::{Outgoing, Step, Writer};
use crate::jitter::jitter;
use crate::upgrade::Connection;

/// What is read at once: most of what clients send is far shorter, and the echo gets long messages.
const READ_BYTES: usize = 64 * 1024;

/// A client that never stops sending has its connection reset.
const MAX_FORGOTTEN_READS: usize = 16;

thread_local! {
    /// What is read lies here until it is decoded, which is at once: an idle session has no buffer.
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What every socket of this process obeys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketLimits {
    pub(crate) max_message_bytes: usize,
    pub(crate) ping_interval: Duration,
    pub(crate) silence_limit: Duration,
    pub(crate) write_limit: Duration,
}

/// A message for the session to act on. Everything else is dealt with here.
#[derive(Debug)]
pub(crate) enum Received {
    Text(ByteString),
    Binary(Bytes),
}

/// Why a socket has ended or has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client began the closing handshake, with this code.
    ByClient(Option<u16>),
    /// We close, with this code.
    Ours(u16),
    /// The connection is gone.
    Gone,
    /// Nothing came for too long; whoever is silent does not read a close frame either.
    Silent,
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::Ours(fault.close_code())
    }
}

/// One task owns it; a blocked write stops neither its timers nor its end.
pub(crate) struct Socket {
    stream: TcpStream,
    writer: Writer,
    /// What was read and not yet decoded, because a message before it had to be acted on.
    input: Bytes,
    decoder: Decoder,
    /// The one answer that waits to be written. While it waits nothing is read: a client that does not read our
    /// answers cannot make us gather them.
    reply: Option<Bytes>,
    limits: SocketLimits,
    heard_at: Instant,
    ping_at: Instant,
    timer: Pin<Box<Sleep>>,
    timer_set_to: Instant,
}

impl Socket {
    /// Begins with the answer to the handshake and, in the same packet, the greeting.
    pub(crate) fn open(connection: Connection, greeting: &[u8], limits: SocketLimits) -> Self {
        let now = Instant::now();
        // Sessions that came in one storm do not ping in one.
        let ping_at = now + limits.ping_interval / 2 + jitter(limits.ping_interval / 2);
        Self {
            stream: connection.stream,
            writer: Writer::new([&connection.head, greeting].concat().into()),
            input: connection.read,
            decoder: Decoder::new(limits.max_message_bytes),
            reply: None,
            limits,
            heard_at: now,
            ping_at,
            timer: Box::pin(sleep_until(ping_at)),
            // It is not until it has been polled.
            timer_set_to: now,
        }
    }

    /// Answers what was received last, with a frame as it goes out. It is written before anything that waits.
    pub(crate) fn reply(&mut self, wire: Bytes) {
        self.reply = Some(wire);
    }

    /// Writes what waits until something is received, or until then: `None`. May be dropped and called again at any
    /// time, by the same task.
    pub(crate) async fn receive(
        &mut self,
        mut outbound: Option<&mut Outbound>,
        until: Option<Instant>,
    ) -> Result<Option<Received>, Ending> {
        poll_fn(|cx| self.poll_receive(cx, outbound.as_deref_mut(), until)).await
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut outbound: Option<&mut Outbound>,
        until: Option<Instant>,
    ) -> Poll<Result<Option<Received>, Ending>> {
        loop {
            if let Poll::Ready(ending) = self.poll_write(cx, outbound.as_deref_mut()) {
                return Poll::Ready(Err(ending));
            }
            if let Poll::Ready(time) = self.poll_timer(cx, until) {
                return Poll::Ready(time.map(|()| None));
            }
            if self.reply.is_some() {
                // Not `Pending` at once: the timer may just have put a ping here that can be written now.
                match self.poll_write(cx, outbound.as_deref_mut()) {
                    Poll::Ready(ending) => return Poll::Ready(Err(ending)),
                    Poll::Pending if self.reply.is_some() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            match ready!(self.poll_read(cx))? {
                Incoming::Text(text) => return Poll::Ready(Ok(Some(Received::Text(text)))),
                Incoming::Binary(bytes) => return Poll::Ready(Ok(Some(Received::Binary(bytes)))),
                Incoming::Ping(payload) => self.reply = Some(wire::encode(Opcode::Pong, &payload)),
                Incoming::Pong => {}
                Incoming::Close(code) => return Poll::Ready(Err(Ending::ByClient(code))),
            }
        }
    }

    /// Hands on everything that waits, as far as there is room. Ready only with an end.
    fn poll_write(&mut self, cx: &mut Context<'_>, mut outbound: Option<&mut Outbound>) -> Poll<Ending> {
        let reply = &mut self.reply;
        let ending = self.writer.poll_write(cx, &mut self.stream, |cx, has_room| {
            match (reply.take_if(|_| has_room), outbound.as_deref_mut()) {
                (Some(reply), _) => Poll::Ready(Step::Write(Outgoing::Own(reply))),
                (None, Some(outbound)) => outbound.poll_next(cx, has_room),
                (None, None) => Poll::Pending,
            }
        });
        if let Some(outbound) = outbound
            && self.writer.has_sent_all()
        {
            outbound.has_written();
        }
        ending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Ending>> {
        loop {
            if !self.input.is_empty() {
                let mut rest = &self.input[..];
                let incoming = self.decoder.decode(&mut rest)?;
                let decoded = self.input.len() - rest.len();
                self.input.advance(decoded);
                if self.input.is_empty() {
                    self.input = Bytes::new();
                }
                if let Some(incoming) = incoming {
                    return Poll::Ready(Ok(self.heard(incoming)));
                }
            }
            let mut room = READ.take();
            room.resize(READ_BYTES, 0);
            let read = self.poll_read_into(cx, &mut room);
            READ.set(room);
            if let Some(incoming) = ready!(read)? {
                return Poll::Ready(Ok(self.heard(incoming)));
            }
        }
    }

    /// Reads once and decodes what has come.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<Option<Incoming>, Ending>> {
        let mut buffer = ReadBuf::new(room);
        if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).is_err() {
            return Poll::Ready(Err(Ending::Gone));
        }
        let mut rest = buffer.filled();
        if rest.is_empty() {
            return Poll::Ready(Err(Ending::Gone));
        }
        let incoming = self.decoder.decode(&mut rest)?;
        if !rest.is_empty() {
            self.input = Bytes::copy_from_slice(rest);
        }
        Poll::Ready(Ok(incoming))
    }

    fn heard(&mut self, incoming: Incoming) -> Incoming {
        self.heard_at = Instant::now();
        incoming
    }

    /// Pings when it is time, ends a silent session, and is otherwise ready when `until` has come. One timer for all
    /// three; what it is set for, it is not asked again before, because every frame would pay for that.
    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<Result<(), Ending>> {
        loop {
            let now = Instant::now();
            if now < self.timer_set_to && until.is_none_or(|until| self.timer_set_to <= until) {
                return Poll::Pending;
            }
            let silent_at = self.heard_at + self.limits.silence_limit;
            if now >= silent_at {
                return Poll::Ready(Err(Ending::Silent));
            }
            if until.is_some_and(|until| now >= until) {
                return Poll::Ready(Ok(()));
            }
            if now >= self.ping_at {
                self.ping_at = now + self.limits.ping_interval;
                // While an answer waits, the client is not reading; a ping would tell it nothing.
                self.reply.get_or_insert_with(|| wire::encode(Opcode::Ping, &[]));
            }
            let next = self.ping_at.min(silent_at).min(until.unwrap_or(silent_at));
            self.timer.as_mut().reset(next);
            // A task that has done much in this turn is told to come again before it has set anything.
            self.timer_set_to = if has_budget_remaining() { next } else { now };
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// Says goodbye, if there is somebody to say it to, and ends the connection.
    pub(crate) async fn close(self, ending: Ending) {
        let code = match ending {
            Ending::ByClient(code) => code,
            Ending::Ours(code) => Some(code),
            Ending::Gone | Ending::Silent => return,
        };
        let Self { mut stream, writer, limits, .. } = self;
        let last = [writer.into_unsent(), wire::encode_close(code)].concat();
        let saying = async {
            stream.write_all(&last).await?;
            stream.shutdown().await
        };
        // A reader that is stuck may never make room.
        let _said = timeout(limits.write_limit, saying).await;
        forget_input(&stream);
    }
}

/// Takes what has come already, because a connection that is closed with bytes unread is reset, and a client may lose
/// our goodbye by that. What is still on its way is not waited for.
fn forget_input(stream: &TcpStream) {
    let mut room = READ.take();
    room.resize(READ_BYTES, 0);
    for _ in 0..MAX_FORGOTTEN_READS {
        if !matches!(stream.try_read(&mut room), Ok(1..)) {
            break;
        }
    }
    READ.set(room);
}
