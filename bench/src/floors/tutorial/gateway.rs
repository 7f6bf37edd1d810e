//! The tutorial's gateway: sessions in a map, one `session.text` for each POST.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use actix_web::error::ErrorInternalServerError;
use actix_web::web::{self, Data, Json, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt};
use actix_ws::{Message, Session};
use anyhow::Context;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, cmd};

use super::{KEEP_ALIVE, PUSH_PATH, Push, registry_key, user_of};

struct Parts {
    sessions: RwLock<HashMap<String, Session>>,
    redis: MultiplexedConnection,
    /// Where the api finds us.
    url: String,
}

/// Serves until the process ends.
pub async fn serve(address: &str, redis_url: &str) -> anyhow::Result<()> {
    let redis = Client::open(redis_url)?.get_multiplexed_async_connection().await;
    let parts = Data::new(Parts {
        sessions: RwLock::default(),
        redis: redis.context("Redis does not answer")?,
        url: format!("http://{address}"),
    });
    let app = move || {
        App::new()
            .app_data(parts.clone())
            .route("/ws", web::get().to(connect))
            .route(PUSH_PATH, web::post().to(push))
    };
    HttpServer::new(app).keep_alive(KEEP_ALIVE).disable_signals().bind(address)?.run().await?;
    Ok(())
}

async fn connect(request: HttpRequest, body: Payload, parts: Data<Parts>) -> actix_web::Result<HttpResponse> {
    let Some(user) = user_of(&request) else { return Ok(HttpResponse::Unauthorized().finish()) };
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    parts.sessions.write().unwrap_or_else(PoisonError::into_inner).insert(user.clone(), session.clone());
    cmd("SET")
        .arg(registry_key(&user))
        .arg(&parts.url)
        .query_async::<()>(&mut parts.redis.clone())
        .await
        .map_err(ErrorInternalServerError)?;
    rt::spawn(async move {
        let _gone = session.text(r#"{"type":"ready"}"#).await;
        while let Some(Ok(message)) = messages.recv().await {
            match message {
                Message::Ping(payload) => {
                    let _gone = session.pong(&payload).await;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        parts.sessions.write().unwrap_or_else(PoisonError::into_inner).remove(&user);
    });
    Ok(response)
}

async fn push(push: Json<Push>, parts: Data<Parts>) -> HttpResponse {
    let Push { recipient, entry } = push.into_inner();
    let session = parts.sessions.read().unwrap_or_else(PoisonError::into_inner).get(&recipient).cloned();
    let Some(mut session) = session else { return HttpResponse::NotFound().finish() };
    match session.text(String::from(Box::<str>::from(entry))).await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(_closed) => HttpResponse::Gone().finish(),
    }
}
