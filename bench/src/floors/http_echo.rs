//! A bare actix-web server that answers a POST with its body.

use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{App, HttpResponse, HttpServer};

use super::process::FloorProcess;
use crate::site::Site;

/// As `floors::serve` knows it.
pub const NAME: &str = "http-echo";
/// An answer is padded to the length of the entry that a Naru answers with.
const ANSWER_BYTES: usize = 400;

/// A process that answers at once what a Naru answers when it has stored a message. It ends when this is dropped.
pub struct HttpEcho {
    pub site: Site,
    _process: FloorProcess,
}

impl HttpEcho {
    /// `like` is the site whose clients will send to it.
    pub async fn start(like: &Site) -> anyhow::Result<Self> {
        let process = FloorProcess::start(NAME, &[]).await?;
        let apis = vec![format!("http://{}", process.address())];
        Ok(Self { site: Site { apis, ..like.clone() }, _process: process })
    }
}

/// Serves until the process ends. As many threads as the real service has: one for each core.
pub async fn serve(address: &str) -> anyhow::Result<()> {
    let server = HttpServer::new(|| App::new().route("/send/message", web::post().to(echo)));
    server.disable_signals().bind(address)?.run().await?;
    Ok(())
}

async fn echo(body: Bytes) -> HttpResponse {
    let mut answer = BytesMut::with_capacity(ANSWER_BYTES.max(body.len()));
    answer.extend_from_slice(&body);
    if answer.len() < ANSWER_BYTES {
        answer.resize(ANSWER_BYTES, b' ');
    }
    HttpResponse::Created().content_type("application/json").body(answer.freeze())
}
