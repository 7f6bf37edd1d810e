//! The fake's HTTP: Google's token endpoint, FCM's send, and a list of what was accepted.

use std::any::Any;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::PROJECT;
use super::answers::{Behaviour, TokenBehaviour, invalid_argument, payload_too_big, permission_denied};
use super::answers::{token_refused, unauthorized};
use super::message::{self, MAX_PAYLOAD_BYTES};
use super::state::{InFlight, Shared};

/// Serves HTTP/1.1 and, for clients that begin with it, HTTP/2 on one port.
pub(super) fn start(listener: TcpListener, shared: Arc<Shared>) -> io::Result<ServerHandle> {
    let seer = Arc::clone(&shared);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&shared)))
            .route("/token", web::post().to(token))
            .route("/v1/projects/{project}/messages:send", web::post().to(send))
            .route("/pushes", web::get().to(pushes))
    })
    .on_connect(move |io, extensions| {
        seer.see(|seen| seen.connections += 1);
        extensions_of(io, extensions);
    })
    .workers(1)
    .shutdown_timeout(2)
    .disable_signals()
    .listen_auto_h2c(listener)?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

/// A second handle on a connection's socket: the only way to cut it from inside a request.
struct Socket(std::net::TcpStream);

fn extensions_of(io: &dyn Any, extensions: &mut Extensions) {
    let socket = io.downcast_ref::<TcpStream>().and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    if let Some(socket) = socket {
        extensions.insert(Socket(socket.into()));
    }
}

fn cut(request: &HttpRequest) -> HttpResponse {
    let socket = request.conn_data::<Socket>().expect("a TCP connection");
    // An error means that the other side was faster. The answer is written to nobody.
    let _ = socket.0.shutdown(Shutdown::Both);
    HttpResponse::Ok().finish()
}

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    assertion: String,
}

async fn token(
    request: HttpRequest,
    form: web::Form<TokenRequest>,
    shared: web::Data<Shared>,
) -> HttpResponse {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let held = shared.held();
    shared.see(|seen| seen.token_requests += 1);
    if form.grant_type != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
        return token_refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Invalid grant_type");
    }
    if let Err(words) = shared.account.verify(&form.assertion) {
        return token_refused(StatusCode::BAD_REQUEST, "invalid_grant", words);
    }
    let behaviour = shared.inner().token_behaviour;
    match behaviour {
        TokenBehaviour::Grant => {}
        TokenBehaviour::Hold => held.await,
        TokenBehaviour::Garbage => return HttpResponse::Ok().body("<html>welcome to the hotel's network"),
        TokenBehaviour::DropConnection => return cut(&request),
        TokenBehaviour::InvalidGrant => {
            return token_refused(StatusCode::BAD_REQUEST, "invalid_grant", "Invalid JWT Signature.");
        }
        TokenBehaviour::Unavailable => {
            return token_refused(StatusCode::SERVICE_UNAVAILABLE, "backend_error", "Try again later.");
        }
    }
    let access_token = format!("ya29.fake-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let lifetime = shared.inner().grant(access_token.clone());
    HttpResponse::Ok().json(json!({
        "access_token": access_token, "expires_in": lifetime.as_secs(), "token_type": "Bearer",
    }))
}

async fn send(
    request: HttpRequest,
    project: web::Path<String>,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    // Subscribed before the push shows as in flight: a release that follows from seeing it must reach it.
    let held = shared.held();
    let _in_flight = InFlight::enter(&shared, request.version());
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let access_token = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    if !shared.inner().is_good(access_token) {
        shared.see(|seen| seen.refused_access_tokens += 1);
        return unauthorized();
    }
    if *project != PROJECT {
        return permission_denied();
    }
    if !header(CONTENT_TYPE).starts_with("application/json") {
        return invalid_argument("content-type", header(CONTENT_TYPE));
    }
    let Ok(document) = serde_json::from_slice::<Value>(&body) else { return invalid_argument("", "no JSON") };
    let message = match message::check(&document) {
        Ok(message) => message,
        Err(violation) => return invalid_argument(&violation.0, "of another kind"),
    };
    if body.len() > MAX_PAYLOAD_BYTES {
        return payload_too_big();
    }
    let Some(target) = message::target(message) else {
        return invalid_argument("message", "topics and conditions are not served here");
    };
    shared.attempt(target);
    let behaviour = shared.inner().behaviour(target);
    if let Some(error) = behaviour.error(target) {
        if behaviour == Behaviour::Unauthorized {
            shared.inner().access_tokens.remove(access_token);
        }
        return error;
    }
    match behaviour {
        Behaviour::DropConnection => return cut(&request),
        Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
        Behaviour::Hold => held.await,
        _ => {}
    }
    if shared.prints_pushes {
        let notification = &message["notification"];
        println!("push to {target}: {} · {}", notification["title"], notification["body"]);
    }
    let name = format!("projects/{PROJECT}/messages/{}", uuid::Uuid::now_v7());
    shared.accept(message.clone());
    HttpResponse::Ok().json(json!({ "name": name }))
}

async fn pushes(shared: web::Data<Shared>) -> HttpResponse {
    let accepted = shared.inner().seen.accepted.clone();
    HttpResponse::Ok().json(accepted)
}
