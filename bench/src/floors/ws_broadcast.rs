//! A bare actix-ws server that writes a text to every socket.

use actix_web::web::{self, Data, Path, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt};
use actix_ws::{Message, Session};
use anyhow::Context;
use bytestring::ByteString;
use tokio::sync::Mutex;

use super::process::FloorProcess;
use crate::load::websocket::ListeningSocket;

/// What [`super::serve`] calls it.
pub const NAME: &str = "ws-broadcast";
/// More than there are file descriptors for.
const MAX_SOCKETS: usize = 100_000;
/// It verifies no token.
const NO_TOKEN: &str = "none";

struct Room {
    text: ByteString,
    sessions: Mutex<Vec<Option<Session>>>,
}

/// Serves until it is killed, with as many workers as there are cores. `frame_bytes` is the length of the text.
pub async fn serve(address: &str, frame_bytes: u16) -> anyhow::Result<()> {
    let text = "x".repeat(usize::from(frame_bytes)).into();
    let room = Data::new(Room { text, sessions: Mutex::default() });
    let app = move || {
        App::new()
            .app_data(room.clone())
            .route("/sockets/{index}", web::get().to(enter))
            .route("/orders", web::get().to(obey))
    };
    HttpServer::new(app).bind(address)?.run().await.context("the server ends")
}

async fn enter(
    request: HttpRequest,
    payload: Payload,
    index: Path<usize>,
    room: Data<Room>,
) -> actix_web::Result<HttpResponse> {
    if *index >= MAX_SOCKETS {
        return Ok(HttpResponse::NotFound().finish());
    }
    let (response, mut session, mut messages) = actix_ws::handle(&request, payload)?;
    rt::spawn(async move {
        let mut sessions = room.sessions.lock().await;
        if sessions.len() <= *index {
            sessions.resize_with(*index + 1, || None);
        }
        sessions[*index] = Some(session.clone());
        drop(sessions);
        // Tells that orders reach this socket from now on. Whoever has gone is noticed below.
        let _gone = session.text(room.text.clone()).await;
        while let Some(Ok(_)) = messages.recv().await {}
    });
    Ok(response)
}

/// Orders are texts: the first socket, a space, how many.
async fn obey(request: HttpRequest, payload: Payload, room: Data<Room>) -> actix_web::Result<HttpResponse> {
    let (response, mut session, mut orders) = actix_ws::handle(&request, payload)?;
    rt::spawn(async move {
        let _gone = session.text("ready").await;
        while let Some(Ok(Message::Text(order))) = orders.recv().await {
            let Some((Ok(first), Ok(count))) =
                order.split_once(' ').map(|(first, count)| (first.parse(), count.parse()))
            else {
                return;
            };
            let mut sessions = room.sessions.lock().await;
            for session in sessions.iter_mut().skip(first).take(count).flatten() {
                let _gone = session.text(room.text.clone()).await;
            }
        }
    });
    Ok(response)
}

/// The end that orders are given over.
pub struct Orders(ListeningSocket);

impl Orders {
    pub async fn open(floor: &FloorProcess) -> anyhow::Result<Self> {
        let url = format!("ws://{}/orders", floor.address());
        ListeningSocket::open(&url, NO_TOKEN).await.map(Self)
    }

    /// A frame to each of `count` sockets from `first` on.
    pub async fn give(&mut self, first: usize, count: usize) -> anyhow::Result<()> {
        self.0.send(&format!("{first} {count}")).await.context("the floor has ended")
    }
}

/// The socket with this number.
pub async fn listen(floor: &FloorProcess, index: usize) -> anyhow::Result<ListeningSocket> {
    ListeningSocket::open(&format!("ws://{}/sockets/{index}", floor.address()), NO_TOKEN).await
}
