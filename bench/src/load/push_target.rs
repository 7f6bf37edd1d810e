//! The receiving end of pushes: FCM's answer to whatever is posted, at once or after a while, and no more work than that.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::Version;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;

/// What Google's looks like: `projects/{project}/messages/{id}`.
const ANSWER: &str = r#"{"name":"projects/naru-fake/messages/0:1700000000000000%0123456789abcdef"}"#;
const SEND_PATH: &str = "/v1/projects/{project}/messages:send";

/// A server of this process, on a thread of its own. Ends when dropped.
pub struct PushTarget {
    endpoint: String,
    got: Arc<Got>,
    handle: ServerHandle,
}

struct Got {
    pushes: AtomicU64,
    over_http1: AtomicU64,
    delay_ms: AtomicU64,
    body: Mutex<Bytes>,
}

impl PushTarget {
    /// Starts on a free port: HTTP/2 for whoever begins with it, as our client does without TLS.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let got = Arc::new(Got {
            pushes: AtomicU64::new(0),
            over_http1: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            body: Mutex::new(Bytes::new()),
        });
        let state = web::Data::from(got.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(state.clone()).route(SEND_PATH, web::post().to(answer))
        })
        .workers(1)
        .shutdown_timeout(1)
        .disable_signals()
        .listen_auto_h2c(listener)?
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { endpoint, got, handle })
    }

    /// As `--fcm-endpoint` takes it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where the pushes of the fake project go.
    pub fn send_url(&self) -> String {
        format!("{}{}", self.endpoint, SEND_PATH.replace("{project}", harness::fake_fcm::PROJECT))
    }

    /// How long each answer takes from now on.
    pub fn answer_after(&self, delay: Duration) {
        self.got.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Pushes answered so far.
    pub fn pushes(&self) -> u64 {
        self.got.pushes.load(Ordering::Relaxed)
    }

    /// Those of them that did not come over HTTP/2: a run with these is no good.
    pub fn pushes_over_http1(&self) -> u64 {
        self.got.over_http1.load(Ordering::Relaxed)
    }

    /// The body of the push that came last; empty before the first one.
    pub fn last_body(&self) -> Bytes {
        self.got.body.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for PushTarget {
    fn drop(&mut self) {
        // The order is given when this is called; nobody has to wait for it.
        drop(self.handle.stop(false));
    }
}

async fn answer(request: HttpRequest, body: Bytes, got: web::Data<Got>) -> HttpResponse {
    *got.body.lock().unwrap_or_else(PoisonError::into_inner) = body;
    let delay = Duration::from_millis(got.delay_ms.load(Ordering::Relaxed));
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if request.version() != Version::HTTP_2 {
        got.over_http1.fetch_add(1, Ordering::Relaxed);
    }
    got.pushes.fetch_add(1, Ordering::Relaxed);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(ANSWER)
}
