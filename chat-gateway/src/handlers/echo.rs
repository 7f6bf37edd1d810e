//! `GET /ws/echo`: sends every message back through the framing of `/ws`, for conformance suites.

use actix_web::rt::spawn;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::session::socket::{Received, Socket, SocketLimits};
use crate::session::wire::{Opcode, encode};
use crate::state::Gateway;
use crate::upgrade::Handshake;

/// The public suites send messages of up to 16 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

pub(crate) async fn echo(
    gateway: Data<Gateway>,
    request: HttpRequest,
) -> Result<HttpResponse, actix_web::Error> {
    let handshake = Handshake::of(&request)?;
    let limits = SocketLimits { max_message_bytes: MAX_MESSAGE_BYTES, ..gateway.socket_limits };
    let answer = handshake.accept(&request, move |connection| {
        let socket = Socket::open(connection, &[], limits);
        spawn(gateway.sockets.track_future(send_back(socket)));
    });
    Ok(answer)
}

async fn send_back(mut socket: Socket) {
    let ending = loop {
        match socket.receive(None, None).await {
            Ok(Some(Received::Text(text))) => socket.reply(encode(Opcode::Text, text.as_bytes())),
            Ok(Some(Received::Binary(bytes))) => socket.reply(encode(Opcode::Binary, &bytes)),
            Ok(None) => {}
            Err(ending) => break ending,
        }
    };
    socket.close(ending).await;
}
