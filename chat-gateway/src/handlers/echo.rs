//! `GET /ws/echo`: sends every message back through the framing of `/ws`, for conformance suites.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::Message;

use crate::session::socket::{Received, Socket, SocketLimits};
use crate::state::Gateway;

/// The public suites send messages of up to 16 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

pub(crate) async fn echo(
    gateway: Data<Gateway>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let limits = SocketLimits { max_message_bytes: MAX_MESSAGE_BYTES, ..gateway.socket_limits };
    let (response, mut socket) = Socket::upgrade(&request, payload, limits).await?;
    actix_web::rt::spawn(async move {
        let ending = loop {
            match socket.receive(None).await {
                Ok(Received::Text(text)) => socket.reply(Message::Text(text)),
                Ok(Received::Binary(bytes)) => socket.reply(Message::Binary(bytes)),
                Err(ending) => break ending,
            }
        };
        socket.close(ending).await;
    });
    Ok(response)
}
