//! The WebSocket of one session: reads, timed writes, pings, silence, and the closing handshake.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use actix_ws::{CloseCode, CloseReason, Message};
use bytes::Bytes;
use bytestring::ByteString;
use futures_util::{Sink, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::decoder::{Decoder, Fault, Incoming};
use super::outbound::{Outbound, Step};
use crate::jitter::jitter;

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
    payload: Payload,
    /// What was read and not yet decoded.
    chunk: Bytes,
    decoder: Decoder,
    writer: actix_ws::Session,
    /// The one answer that waits to be written. While it waits nothing is read: a client that does not read our
    /// answers cannot make us gather them.
    reply: Option<Message>,
    limits: SocketLimits,
    heard_at: Instant,
    ping_at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    /// Answers the upgrade. The request is a valid handshake; checked by whoever authenticates it.
    pub(crate) async fn upgrade(
        request: &HttpRequest,
        payload: web::Payload,
        limits: SocketLimits,
    ) -> Result<(HttpResponse, Self), actix_web::Error> {
        // actix-ws makes the answer and the writing half. The reading half is ours (see `decoder`), so it gets none.
        let nothing = web::Payload::from_request(request, &mut Payload::None).await?;
        let (response, writer, _) = actix_ws::handle(request, nothing)?;
        let now = Instant::now();
        // Sessions that came in one storm do not ping in one.
        let ping_at = now + limits.ping_interval / 2 + jitter(limits.ping_interval / 2);
        let socket = Self {
            payload: payload.into_inner(),
            chunk: Bytes::new(),
            decoder: Decoder::new(limits.max_message_bytes),
            writer,
            reply: None,
            limits,
            heard_at: now,
            ping_at,
            timer: Box::pin(sleep_until(ping_at)),
        };
        Ok((response, socket))
    }

    /// Answers what was received last (or, before that, greets). It is written before anything that waits.
    pub(crate) fn reply(&mut self, message: Message) {
        self.reply = Some(message);
    }

    /// Writes what waits until something is received. May be dropped and called again at any time.
    pub(crate) async fn receive(&mut self, mut outbound: Option<&mut Outbound>) -> Result<Received, Ending> {
        poll_fn(|cx| self.poll_receive(cx, outbound.as_deref_mut())).await
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut outbound: Option<&mut Outbound>,
    ) -> Poll<Result<Received, Ending>> {
        loop {
            if let Poll::Ready(ending) = self.poll_write(cx, outbound.as_deref_mut()) {
                return Poll::Ready(Err(ending));
            }
            if let Poll::Ready(ending) = self.poll_timer(cx) {
                return Poll::Ready(Err(ending));
            }
            if self.reply.is_some() {
                // Not `Pending` at once: the timer may just have put a ping here that can be written now.
                match self.poll_write(cx, outbound.as_deref_mut()) {
                    Poll::Ready(ending) => return Poll::Ready(Err(ending)),
                    Poll::Pending if self.reply.is_some() => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            match std::task::ready!(self.poll_read(cx))? {
                Incoming::Text(text) => return Poll::Ready(Ok(Received::Text(text))),
                Incoming::Binary(bytes) => return Poll::Ready(Ok(Received::Binary(bytes))),
                Incoming::Ping(payload) => self.reply = Some(Message::Pong(payload)),
                Incoming::Pong => {}
                Incoming::Close(code) => return Poll::Ready(Err(Ending::ByClient(code))),
            }
        }
    }

    /// Hands on everything that waits, as far as there is room. Ready only with an end.
    fn poll_write(&mut self, cx: &mut Context<'_>, mut outbound: Option<&mut Outbound>) -> Poll<Ending> {
        loop {
            let has_room = match Pin::new(&mut self.writer).poll_ready(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_closed)) => return Poll::Ready(Ending::Gone),
                Poll::Pending => false,
            };
            let message = match (self.reply.take_if(|_| has_room), outbound.as_deref_mut()) {
                (Some(reply), _) => reply,
                (None, None) => return Poll::Pending,
                (None, Some(outbound)) => match std::task::ready!(outbound.poll_next(cx, has_room)) {
                    Step::Write(frame) => Message::Text(frame.text.clone()),
                    Step::Close(code) => return Poll::Ready(Ending::Ours(code)),
                },
            };
            if Pin::new(&mut self.writer).start_send(message).is_err() {
                return Poll::Ready(Ending::Gone);
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Ending>> {
        loop {
            if let Some(incoming) = self.decoder.decode(&mut self.chunk)? {
                self.heard_at = Instant::now();
                return Poll::Ready(Ok(incoming));
            }
            // Gives the connection's read buffer back before more is read into it.
            self.chunk = Bytes::new();
            match std::task::ready!(self.payload.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(_)) | None => return Poll::Ready(Err(Ending::Gone)),
            }
        }
    }

    /// Pings when it is time and ends a silent session. Ready only with an end.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let silent_at = self.heard_at + self.limits.silence_limit;
            if now >= silent_at {
                return Poll::Ready(Ending::Silent);
            }
            if now >= self.ping_at {
                self.ping_at = now + self.limits.ping_interval;
                // While an answer waits, the client is not reading; a ping would tell it nothing.
                self.reply.get_or_insert(Message::Ping(Bytes::new()));
            }
            self.timer.as_mut().reset(self.ping_at.min(silent_at));
        }
        Poll::Pending
    }

    /// Says goodbye, if there is somebody to say it to, and lets the connection end.
    pub(crate) async fn close(self, ending: Ending) {
        let reason = match ending {
            Ending::ByClient(None) => None,
            Ending::ByClient(Some(code)) | Ending::Ours(code) => {
                Some(CloseReason::from(CloseCode::from(code)))
            }
            Ending::Gone | Ending::Silent => return,
        };
        // A reader that is stuck may never make room; the kernel ends its connection after the same limit.
        let _said = timeout(self.limits.write_limit, self.writer.close(reason)).await;
    }
}
