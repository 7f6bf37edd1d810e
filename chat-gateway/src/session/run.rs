//! The life of a session, from `ready` to its close.

use std::time::Duration;

use actix_web::web::Data;
use shared_runtime::tokens::{InvalidToken, unix_seconds};
use shared_types::close_code;
use shared_types::frames::{ClientFrame, ServerFrame};
use tokio::time::Instant;
use tracing::debug;

use super::client_frame::{self, BadFrame};
use super::frame::wire_of;
use super::outbound::Outbound;
use super::socket::{Ending, Received, Socket};
use crate::auth::Identity;
use crate::registry::Membership;
use crate::state::Gateway;
use crate::upgrade::Connection;

/// Bad frames in a row that a client may send before it is taken for broken.
const MAX_BAD_FRAMES: u32 = 3;
/// Expiry is looked at this often at least, because clocks are set and jump.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Runs one session to its end. Its user is claimed in the registry already, so entries may be waiting; `ready`
/// goes before them.
pub(crate) async fn run(
    gateway: Data<Gateway>,
    identity: Identity,
    membership: Membership,
    connection: Connection,
) {
    let session_id = membership.session().id;
    let ready = ServerFrame::Ready {
        session_id,
        user_id: identity.user_id.clone(),
        gateway_id: gateway.gateway_id.clone(),
        ping_interval_ms: u64::try_from(gateway.socket_limits.ping_interval.as_millis()).unwrap_or(u64::MAX),
    };
    let mut socket = Socket::open(connection, &wire_of(&ready), gateway.socket_limits);
    let outbound = Outbound::new(gateway.clone(), identity.user_id.clone(), membership.session().clone());
    let mut conversation =
        Conversation { gateway: &gateway, membership: &membership, outbound, identity, bad_frames: 0 };
    let ending = conversation.hold(&mut socket).await;
    drop(conversation);
    // Before the goodbye, which may take a while: whoever delivers from now on must hear that nobody is here.
    membership.end(is_expected_back(ending, gateway.draining.is_draining()));
    debug!(sessionId = %session_id, ?ending, "session ended");
    gateway.metrics.closed(ending);
    // Boxed: while the session lasts there is no room for this.
    Box::pin(socket.close(ending)).await;
}

/// Whether the client will probably connect again at once, here or elsewhere, so that a push can wait for that.
fn is_expected_back(ending: Ending, is_draining: bool) -> bool {
    match ending {
        // It does what it was told by `draining`.
        Ending::ByClient(_) => is_draining,
        // The connection broke, or we ended it: by close code, a client comes again, with a new token if need be.
        Ending::Gone | Ending::Ours(_) => true,
        // It has not been heard of for a minute; one that could have come back has done so.
        Ending::Silent => false,
    }
}

struct Conversation<'a> {
    gateway: &'a Gateway,
    membership: &'a Membership,
    outbound: Outbound,
    identity: Identity,
    bad_frames: u32,
}

impl Conversation<'_> {
    async fn hold(&mut self, socket: &mut Socket) -> Ending {
        let mut clock_check = self.next_clock_check();
        loop {
            let answer = match socket.receive(Some(&mut self.outbound), Some(clock_check)).await {
                Ok(Some(received)) => {
                    self.outbound.let_go();
                    self.act_on(received).await
                }
                Ok(None) if self.identity.expires_at <= unix_seconds() => {
                    return Ending::Ours(close_code::UNAUTHORIZED);
                }
                Ok(None) => {
                    clock_check = self.next_clock_check();
                    continue;
                }
                Err(ending) => return ending,
            };
            match answer {
                Ok(reply) => {
                    self.bad_frames = 0;
                    // A new token may have moved the expiry.
                    clock_check = self.next_clock_check();
                    if let Some(reply) = reply {
                        socket.reply(wire_of(&reply));
                    }
                }
                Err(Answer::Bad(bad)) => {
                    self.bad_frames += 1;
                    if self.bad_frames >= MAX_BAD_FRAMES {
                        return Ending::Ours(close_code::BAD_FRAMES);
                    }
                    let error = ServerFrame::Error { code: bad.code, detail: bad.detail };
                    socket.reply(wire_of(&error));
                }
                Err(Answer::Close(code)) => return Ending::Ours(code),
            }
        }
    }

    /// Does what a frame asks for.
    async fn act_on(&mut self, received: Received) -> Result<Option<ServerFrame>, Answer> {
        let Received::Text(frame) = received else {
            return Err(Answer::Bad(BadFrame::invalid("Frames are text.")));
        };
        match client_frame::parse(&frame).map_err(Answer::Bad)? {
            ClientFrame::Ping => Ok(Some(ServerFrame::Pong)),
            ClientFrame::Background { value } => {
                self.membership.session().set_background(value);
                Ok(None)
            }
            // Boxed: it is rare, and large.
            ClientFrame::Auth { token } => Box::pin(self.renew(&token)).await,
            ClientFrame::Ack { channel_id, seq } => {
                let session = self.membership.session();
                session.set_acked();
                self.outbound.has_acked(channel_id, seq);
                // More than was written here too: it may have been fetched by REST.
                self.gateway.acks.record(&self.identity.user_id, channel_id, seq, !session.is_background());
                Ok(None)
            }
            ClientFrame::Resume { cursors } => Ok(self.outbound.begin_resume(cursors)),
        }
    }

    /// A newer token for the same user moves the session's end; it never brings it nearer.
    async fn renew(&mut self, token: &str) -> Result<Option<ServerFrame>, Answer> {
        match self.gateway.verifier.verify(token).await {
            Ok(claims) if claims.sub == self.identity.user_id => {
                self.identity.expires_at = self.identity.expires_at.max(claims.exp);
                Ok(None)
            }
            // Our trouble, not the client's: it may try again while its old token lasts.
            Err(InvalidToken::KeysUnavailable) => Ok(Some(ServerFrame::Error {
                code: "overloaded",
                detail: InvalidToken::KeysUnavailable.to_string(),
            })),
            Ok(_) | Err(_) => Err(Answer::Close(close_code::UNAUTHORIZED)),
        }
    }

    fn next_clock_check(&self) -> Instant {
        let left = Duration::from_secs(self.identity.expires_at.saturating_sub(unix_seconds()));
        Instant::now() + left.min(CLOCK_CHECK)
    }
}

/// What a frame gets that is not simply obeyed.
enum Answer {
    Bad(BadFrame),
    Close(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<A, B, C, D, Future>(_: impl FnOnce(A, B, C, D) -> Future) -> usize {
        size_of::<Future>()
    }

    #[test]
    fn the_task_of_a_session_stays_small() {
        // Every session has it, mostly idle. What is rare and large in it is to be boxed.
        assert!(bytes_of(run) <= 1_536, "{} bytes", bytes_of(run));
    }
}
