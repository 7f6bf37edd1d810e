//! The life of a session, from `ready` to its close.

use std::time::Duration;

use actix_web::web::Data;
use actix_ws::Message;
use shared_runtime::tokens::{InvalidToken, unix_seconds};
use shared_types::close_code;
use shared_types::frames::{ClientFrame, ServerFrame};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::client_frame::{self, BadFrame};
use super::socket::{Ending, Received, Socket};
use crate::auth::Identity;
use crate::registry::Membership;
use crate::state::Gateway;

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
    mut socket: Socket,
) {
    let session_id = membership.session().id;
    socket.reply(text(&ServerFrame::Ready {
        session_id,
        user_id: identity.user_id.clone(),
        gateway_id: gateway.gateway_id.clone(),
        ping_interval_ms: u64::try_from(gateway.socket_limits.ping_interval.as_millis()).unwrap_or(u64::MAX),
    }));
    let mut conversation =
        Conversation { gateway: &gateway, membership: &membership, identity, bad_frames: 0 };
    let ending = conversation.hold(&mut socket).await;
    // Before the goodbye, which may take a while: whoever delivers from now on must hear that nobody is here.
    drop(membership);
    debug!(%session_id, ?ending, "session ended");
    gateway.metrics.closed(ending);
    socket.close(ending).await;
}

struct Conversation<'a> {
    gateway: &'a Gateway,
    membership: &'a Membership,
    identity: Identity,
    bad_frames: u32,
}

impl Conversation<'_> {
    async fn hold(&mut self, socket: &mut Socket) -> Ending {
        let mut clock = std::pin::pin!(sleep_until(self.next_clock_check()));
        loop {
            let received = tokio::select! {
                received = socket.receive(Some(&self.membership.session().mailbox)) => received,
                () = &mut clock => {
                    if self.identity.expires_at <= unix_seconds() {
                        return Ending::Ours(close_code::UNAUTHORIZED);
                    }
                    clock.as_mut().reset(self.next_clock_check());
                    continue;
                }
            };
            let answer = match received {
                Ok(Received::Text(frame)) => self.hear(&frame).await,
                Ok(Received::Binary(_)) => Err(Answer::Bad(BadFrame::invalid("Frames are text."))),
                Err(ending) => return ending,
            };
            match answer {
                Ok(reply) => {
                    self.bad_frames = 0;
                    // A new token may have moved the expiry.
                    clock.as_mut().reset(self.next_clock_check());
                    if let Some(reply) = reply {
                        socket.reply(text(&reply));
                    }
                }
                Err(Answer::Bad(bad)) => {
                    self.bad_frames += 1;
                    if self.bad_frames >= MAX_BAD_FRAMES {
                        return Ending::Ours(close_code::BAD_FRAMES);
                    }
                    socket.reply(text(&ServerFrame::Error { code: bad.code, detail: bad.detail }));
                }
                Err(Answer::Close(code)) => return Ending::Ours(code),
            }
        }
    }

    /// Does what a frame asks for.
    async fn hear(&mut self, frame: &str) -> Result<Option<ServerFrame>, Answer> {
        match client_frame::parse(frame).map_err(Answer::Bad)? {
            ClientFrame::Ping => Ok(Some(ServerFrame::Pong)),
            ClientFrame::Background { value } => {
                self.membership.session().set_background(value);
                Ok(None)
            }
            ClientFrame::Auth { token } => self.renew(&token).await,
            // Acks say what was delivered; nothing depends on them yet.
            ClientFrame::Ack { .. } => Ok(None),
            ClientFrame::Resume { .. } => Ok(Some(resume_elsewhere())),
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

/// Gaps are filled over REST; a client that asks for it here is told so, and not counted as broken for asking.
fn resume_elsewhere() -> ServerFrame {
    ServerFrame::Error {
        code: "invalid_request",
        detail: "This gateway does not resume: fetch what you missed by POST /sync.".into(),
    }
}

/// A frame as it goes out.
pub(crate) fn text(frame: &ServerFrame) -> Message {
    // Strings and numbers only: writing them cannot fail.
    Message::Text(serde_json::to_string(frame).unwrap_or_default().into())
}
