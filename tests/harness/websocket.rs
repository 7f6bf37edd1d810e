//! A well-behaved WebSocket client, and one that does not read.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request, Uri};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a frame may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection to be made.
#[derive(Clone)]
pub struct Dial {
    request: Request<()>,
    receive_buffer_bytes: Option<u32>,
}

/// What a server answered that refused the upgrade.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub body: String,
}

impl Dial {
    /// `ws://host:port/path`
    pub fn to(url: &str) -> Self {
        let request = url.into_client_request().unwrap_or_else(|e| panic!("{url}: {e}"));
        Self { request, receive_buffer_bytes: None }
    }

    /// Authenticates by token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Authenticates by a ticket of `POST /connect`.
    pub fn ticket(mut self, ticket: &str) -> Self {
        let url = format!("{}?ticket={ticket}", self.request.uri());
        *self.request.uri_mut() = url.parse().unwrap_or_else(|e| panic!("{url}: {e}"));
        self
    }

    /// Adds a header, such as `origin`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// The kernel takes little on behalf of a client that does not read, so that the server soon notices.
    pub fn slow_reader(mut self) -> Self {
        self.receive_buffer_bytes = Some(4_096);
        self
    }

    /// Connects; panics when refused.
    pub async fn connect(self) -> WebSocketClient {
        let url = self.request.uri().clone();
        self.try_connect().await.unwrap_or_else(|refusal| panic!("{url} refused: {refusal:?}"))
    }

    /// Connects, and expects to be refused.
    pub async fn refused(self) -> Refusal {
        let url = self.request.uri().clone();
        self.try_connect().await.err().unwrap_or_else(|| panic!("{url} let us in"))
    }

    /// Connects; panics only when nobody answers.
    pub async fn try_connect(self) -> Result<WebSocketClient, Refusal> {
        let url = self.request.uri().clone();
        let stream = open(&url, self.receive_buffer_bytes).await;
        match timeout(LIMIT, client_async(self.request, stream)).await {
            Ok(Ok((stream, _))) => Ok(WebSocketClient { stream }),
            Ok(Err(Error::Http(answer))) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(Refusal { status: answer.status().as_u16(), body: String::from_utf8_lossy(body).into() })
            }
            Ok(Err(error)) => panic!("{url}: {error}"),
            Err(_) => panic!("{url}: no answer to the upgrade within {LIMIT:?}"),
        }
    }
}

/// A connection to the URL's host and port.
pub(crate) async fn open(url: &Uri, receive_buffer_bytes: Option<u32>) -> TcpStream {
    let host = url.authority().expect("the URL names a host").as_str();
    let address = lookup_host(host).await.ok().and_then(|mut found| found.next());
    let address = address.unwrap_or_else(|| panic!("{host} is no address with a port"));
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.expect("a socket");
    if let Some(bytes) = receive_buffer_bytes {
        // Before connecting: afterwards the window has been promised already.
        socket.set_recv_buffer_size(bytes).expect("the buffer can be small");
    }
    socket.connect(address).await.unwrap_or_else(|e| panic!("{address}: {e}"))
}

/// An open connection. It answers pings while it is read from, and only then.
pub struct WebSocketClient {
    stream: WebSocketStream<TcpStream>,
}

impl WebSocketClient {
    /// The next JSON frame. Panics when the session is closed or nothing comes.
    pub async fn next_json(&mut self) -> Value {
        match self.next_message().await {
            Message::Text(text) => {
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {text}"))
            }
            other => panic!("not a JSON frame: {other:?}"),
        }
    }

    /// The next frame that is an entry of a log; others are skipped.
    pub async fn next_entry(&mut self) -> Value {
        loop {
            let frame = self.next_json().await;
            if frame.get("seq").is_some() && frame.get("senderId").is_some() {
                return frame;
            }
        }
    }

    /// The next frame of this type; others are skipped.
    pub async fn next_of_type(&mut self, wanted: &str) -> Value {
        loop {
            let frame = self.next_json().await;
            if frame["type"] == wanted {
                return frame;
            }
        }
    }

    /// The code with which the server closes; whatever comes before is skipped.
    pub async fn expect_close(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next_message().await {
                return frame.map_or_else(|| panic!("closed without a code"), |frame| frame.code.into());
            }
        }
    }

    /// Waits until the connection ends without a word, as when the server was killed.
    pub async fn expect_break(&mut self) {
        let broken = async {
            while let Some(Ok(message)) = self.stream.next().await {
                assert!(!message.is_close(), "closed in good order: {message:?}");
            }
        };
        timeout(LIMIT, broken).await.expect("the connection breaks");
    }

    /// Checks that no entry comes for a while.
    pub async fn expect_no_entry(&mut self, period: Duration) {
        if let Ok(entry) = timeout(period, self.next_entry()).await {
            panic!("nobody should have sent this: {entry}");
        }
    }

    /// Sends a frame.
    pub async fn send_json(&mut self, frame: &Value) {
        self.send(Message::text(frame.to_string())).await;
    }

    /// Sends any message: text that is no JSON, binary, a ping.
    pub async fn send(&mut self, message: Message) {
        timeout(LIMIT, self.stream.send(message))
            .await
            .expect("the server reads")
            .expect("the session is open");
    }

    /// The next message that is neither ping nor pong; those are the library's business.
    pub async fn next_message(&mut self) -> Message {
        self.next_message_within(LIMIT).await
    }

    /// As [`WebSocketClient::next_message`], for what takes its time by design.
    pub async fn next_message_within(&mut self, limit: Duration) -> Message {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return message,
                    Some(Err(error)) => panic!("the connection broke: {error}"),
                    None => panic!("the connection is closed"),
                }
            }
        };
        timeout(limit, next).await.unwrap_or_else(|_| panic!("no frame within {limit:?}"))
    }

    /// Says goodbye and waits until the server has closed the connection.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
        let drained = timeout(LIMIT, async { while let Some(Ok(_)) = self.stream.next().await {} }).await;
        drained.expect("the server answers the closing handshake");
    }
}
