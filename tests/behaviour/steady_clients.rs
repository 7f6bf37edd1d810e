//! Clients as the contract wants them: whatever happens to servers, they go on, and see to it that nothing is lost.

use std::time::Duration;

use harness::api_client::Api;
use harness::tokens::token_for;
use harness::websocket::{Dial, WebSocketClient};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use crate::whole_cluster::seq;

/// Nobody sends any more while the last ones are looked for.
const QUIET: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Of one send. More would hide that a server cannot be reached.
const MAX_TRIES: usize = 20;

/// It goes to the gateway that it is given, resumes, and obeys `draining`.
pub struct Listener {
    pub api: Api,
    pub user: String,
    pub channel: String,
    pub cursor: i64,
    pub sessions: usize,
}

impl Listener {
    pub fn new(api: Api, user: &str, channel: &str) -> Self {
        Self { api, user: user.to_owned(), channel: channel.to_owned(), cursor: 0, sessions: 0 }
    }

    /// Until it has everything up to the `seq` that is said one day.
    pub async fn run(mut self, mut until: watch::Receiver<Option<i64>>) -> Self {
        loop {
            let mut socket = self.connect().await;
            let mut leave_at = None;
            loop {
                if *until.borrow() == Some(self.cursor) {
                    return self;
                }
                let leaving = async {
                    match leave_at {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                let message = tokio::select! {
                    message = socket.next_message_within(QUIET) => message,
                    () = leaving => {
                        socket.close().await;
                        break;
                    }
                    _ = until.changed() => continue,
                };
                match message {
                    Message::Text(text) => {
                        leave_at = self.hear(&serde_json::from_str(&text).unwrap()).or(leave_at);
                    }
                    // A little too late; the end of the window is the end.
                    Message::Close(Some(close)) if u16::from(close.code) == 1012 => break,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Says when to leave, if it was told.
    fn hear(&mut self, frame: &Value) -> Option<Instant> {
        assert_ne!(frame["type"], "error", "{frame}");
        if frame["type"] == "draining" {
            return Some(Instant::now() + Duration::from_millis(frame["reconnectInMs"].as_u64().unwrap()));
        }
        if frame.get("senderId").is_some() {
            self.cursor += 1;
            assert_eq!(seq(frame), self.cursor, "{} in session {}", self.user, self.sessions);
        }
        None
    }

    async fn connect(&mut self) -> WebSocketClient {
        loop {
            let gateway = post(&self.api, "/connect", &self.user, &json!({})).await;
            // Its lease may not yet say that it drains; then it says so itself.
            if let Some((200, body)) = gateway {
                let dial = Dial::to(body["url"].as_str().unwrap());
                let ticket = body["ticket"].as_str().unwrap();
                if let Ok(mut socket) = dial.ticket(ticket).try_connect().await {
                    self.sessions += 1;
                    let resume = json!({"type": "resume", "cursors": {&self.channel: self.cursor}});
                    socket.send_json(&resume).await;
                    return socket;
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// What a sender has done.
#[derive(Default)]
pub struct Sent {
    pub messages: i64,
    pub last_seq: i64,
    /// Sends that were not answered, or refused for the server's sake, and repeated.
    pub repeats: usize,
}

/// Sends one message after the other, in turn to these, until it is enough, and repeats whatever was not stored for
/// certain under the same `clientMessageId`. Panics when a message cannot be sent that way.
pub async fn keep_sending(apis: Vec<Api>, user: &str, channel: &str, enough: watch::Receiver<bool>) -> Sent {
    let mut sent = Sent::default();
    for api in apis.iter().cycle() {
        if *enough.borrow() {
            break;
        }
        let id = format!("{user}-{}", sent.messages);
        let body = json!({"channelId": channel, "content": id, "clientMessageId": id});
        let mut tries = 0;
        let entry = loop {
            tries += 1;
            assert!(tries <= MAX_TRIES, "{id} could not be sent");
            match post(api, "/send/message", user, &body).await {
                Some((200 | 201, entry)) => break entry,
                None | Some((502..=504, _)) => {}
                Some(other) => panic!("{id}: {other:?}"),
            }
            sleep(PAUSE).await;
        };
        sent.repeats += tries - 1;
        sent.messages += 1;
        sent.last_seq = sent.last_seq.max(seq(&entry));
        sleep(Duration::from_millis(5)).await;
    }
    sent
}

/// Status and body; `None` when the connection broke, as it may while a server stops.
async fn post(api: &Api, path: &str, user: &str, body: &Value) -> Option<(u16, Value)> {
    let request = api.request(Method::POST, path).bearer_auth(token_for(user)).json(body);
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    // A proxy's own answer may be no JSON.
    let text = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
