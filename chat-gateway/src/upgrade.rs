//! Takes a connection out of HTTP once a handler has answered 101 and said who is to have it.
//!
//! A WebSocket that lives inside the HTTP server's connection costs what that one costs: its parser, its buffers, its
//! timers, and a stream of frames that pass through a queue and an encoder each. Here the socket itself changes hands
//! after the answer, and nothing of HTTP is left.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use actix_codec::Framed;
use actix_http::ws::{HandshakeError, handshake_response, verify_handshake};
use actix_http::{HttpMessage, Request, Response, h1};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes_limited};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio_util::codec::Encoder;
use tracing::debug;

/// Problem documents and what probes answer are far below; nothing else is answered to a handshake.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// A connection that is no longer HTTP's.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// What the client sent right behind its handshake.
    pub(crate) read: Bytes,
    /// The answer to the handshake. It is still to be written, before everything else.
    pub(crate) head: Bytes,
}

type Successor = Box<dyn FnOnce(Connection)>;

/// That a request asks for its connection, and may have it.
#[derive(Clone, Default)]
pub(crate) struct Handshake {
    successor: Rc<RefCell<Option<Successor>>>,
}

impl Handshake {
    /// Of a request that is a valid handshake on a connection that can change hands.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, HandshakeError> {
        verify_handshake(request.head())?;
        // Some that look valid HTTP understands otherwise: with a body, or with more protocols to choose from.
        request.extensions().get::<Self>().cloned().ok_or(HandshakeError::NoWebsocketUpgrade)
    }

    /// The answer 101, after which the connection is this successor's.
    pub(crate) fn accept(
        self,
        request: &HttpRequest,
        successor: impl FnOnce(Connection) + 'static,
    ) -> HttpResponse {
        self.successor.replace(Some(Box::new(successor)));
        handshake_response(request.head()).finish().map_into_boxed_body().into()
    }
}

/// What the HTTP server does with handshakes: the same application answers them that answers everything else.
pub(crate) fn upgrades<F, B>(
    application: F,
) -> impl ServiceFactory<
    (Request, Framed<TcpStream, h1::Codec>),
    Config = (),
    Response = (),
    Error = Infallible,
    InitError = F::InitError,
>
where
    F: ServiceFactory<Request, Config = ()> + 'static,
    F::Response: Into<Response<B>>,
    F::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let application = Rc::new(application);
    fn_factory(move || {
        let application = application.clone();
        async move {
            let service = Rc::new(application.new_service(()).await?);
            Ok(fn_service(move |(request, framed)| {
                let service = service.clone();
                async move {
                    upgrade(&*service, request, framed).await;
                    Ok(())
                }
            }))
        }
    })
}

async fn upgrade<S, B>(service: &S, request: Request, framed: Framed<TcpStream, h1::Codec>)
where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let handshake = Handshake::default();
    request.extensions_mut().insert(handshake.clone());
    let response = match service.call(request).await {
        Ok(response) => response.into().map_into_boxed_body(),
        Err(error) => error.into(),
    };
    let mut parts = framed.into_parts();
    let successor = handshake.successor.take();
    let answered = match (response.status(), successor) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(successor)) => {
            let message = h1::Message::Item((response.drop_body(), BodySize::None));
            parts.codec.encode(message, &mut parts.write_buf).map(|()| {
                // Copied, because the buffers have room for far more.
                let (read, head) = (copied(&parts.read_buf), copied(&parts.write_buf));
                successor(Connection { stream: parts.io, read, head });
            })
        }
        (_, _) => refuse(response, parts.io, parts.codec, parts.write_buf).await,
    };
    if let Err(error) = answered {
        debug!(%error, "a handshake was not answered");
    }
}

/// Answers with something else than 101. The connection ends with it: what follows a handshake is nobody's request.
async fn refuse(
    mut response: Response<BoxBody>,
    mut stream: TcpStream,
    mut codec: h1::Codec,
    mut wire: BytesMut,
) -> std::io::Result<()> {
    response.head_mut().set_connection_type(ConnectionType::Close);
    let (head, body) = response.into_parts();
    let body = match to_bytes_limited(body, MAX_REFUSAL_BYTES).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Err(std::io::Error::other(error.to_string())),
        Err(error) => return Err(std::io::Error::other(error)),
    };
    codec.encode(h1::Message::Item((head, BodySize::Sized(body.len() as u64))), &mut wire)?;
    codec.encode(h1::Message::Chunk(Some(body)), &mut wire)?;
    codec.encode(h1::Message::Chunk(None), &mut wire)?;
    stream.write_all(&wire).await?;
    stream.shutdown().await
}

fn copied(buffer: &BytesMut) -> Bytes {
    if buffer.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(buffer) }
}
