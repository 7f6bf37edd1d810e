//! One WebSocket session, from the ticket to its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::device::Device;
use crate::history::{Resumed, Session};
use crate::random::Random;

const LIMIT: Duration = Duration::from_secs(5);
/// A client asks whether anybody is there this often, and gives up after that much silence.
const PING_EVERY: Duration = Duration::from_secs(2);
const SILENCE_LIMIT: Duration = Duration::from_secs(7);
const ACK_EVERY: Duration = Duration::from_millis(250);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client does with its session.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// Says goodbye.
    Close,
    /// Is gone without a word.
    Vanish,
    Background(bool),
    /// Reads nothing for a while.
    Stall(Duration),
}

/// What a session tells its client's main loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Draining(Duration),
    Ended,
}

/// An open session. Its task ends with an order, or when the server or the network end it.
pub struct OpenSession {
    pub orders: mpsc::Sender<Order>,
    pub news: mpsc::Receiver<News>,
    pub has_resumed: bool,
}

/// Gets a ticket, connects, and asks to resume where `resumes` says so; otherwise the caller syncs.
pub async fn open(device: &Arc<Device>, random: &mut Random, resumes: bool) -> Result<OpenSession, String> {
    let run = &device.run;
    let api = random.index(run.rest.servers());
    let answer = run.rest.call(api, Method::POST, "/connect", &device.user, None).await?;
    let (200, connection) = answer else { return Err(format!("no ticket: {}", answer.0)) };
    let (Some(url), Some(ticket)) = (connection["url"].as_str(), connection["ticket"].as_str()) else {
        return Err(format!("no ticket: {connection}"));
    };
    let socket = timeout(LIMIT, connect_async(format!("{url}?ticket={ticket}"))).await;
    let (mut socket, _) =
        socket.map_err(|_| "no answer to the upgrade")?.map_err(|error| error.to_string())?;
    let ready = timeout(LIMIT, next_frame(&mut socket)).await.map_err(|_| "not ready in time")?;
    let ready = ready.map_err(|how| format!("{how} before ready"))?;
    if ready["type"] != "ready" {
        return Err(format!("the first frame is {ready}"));
    }
    let index = {
        let now = run.now();
        let gateway = ready["gatewayId"].as_str().unwrap_or_default().to_owned();
        let mut history = run.history();
        history.sessions.push(Session { device: device.index, gateway, ready: now, ..Session::default() });
        history.sessions.len() - 1
    };
    if resumes {
        let cursors = device.cursors();
        let named: HashMap<&str, i64> =
            cursors.iter().map(|(_, id, cursor)| (id.as_str(), *cursor)).collect();
        let frame = json!({"type": "resume", "cursors": named});
        let asked = cursors.iter().map(|(channel, _, cursor)| (*channel, *cursor)).collect();
        run.history().sessions[index].cursors = Some(asked);
        if socket.send(Message::text(frame.to_string())).await.is_err() {
            let now = run.now();
            run.history().sessions[index].ended = Some((now, "broken".into()));
            return Err("broken before the resume".into());
        }
    }
    let (orders, inbox) = mpsc::channel(8);
    let (outbox, news) = mpsc::channel(8);
    let task = Task { device: Arc::clone(device), index, socket, news: outbox, unacked: BTreeSet::new() };
    tokio::spawn(task.run(inbox));
    if !resumes {
        device.sync_all();
    }
    Ok(OpenSession { orders, news, has_resumed: resumes })
}

struct Task {
    device: Arc<Device>,
    index: usize,
    socket: Socket,
    news: mpsc::Sender<News>,
    /// Channels of which something new has come.
    unacked: BTreeSet<usize>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let (mut acks, mut pings) = (interval(ACK_EVERY), interval(PING_EVERY));
        let mut heard_at = Instant::now();
        let how = loop {
            tokio::select! {
                frame = next_frame(&mut self.socket) => match frame {
                    Ok(frame) => {
                        heard_at = Instant::now();
                        self.take(&frame);
                    }
                    Err(how) => break how,
                },
                order = orders.recv() => match order {
                    Some(Order::Background(value)) => self.background(value).await,
                    Some(Order::Stall(time)) => tokio::time::sleep(time).await,
                    Some(Order::Close) => {
                        self.ended("own");
                        let goodbye = async {
                            let _ = self.socket.close(None).await;
                            while let Some(Ok(_)) = self.socket.next().await {}
                        };
                        let _ = timeout(LIMIT, goodbye).await;
                        return;
                    }
                    Some(Order::Vanish) | None => break "vanished".into(),
                },
                _ = acks.tick() => self.ack().await,
                _ = pings.tick() => {
                    if heard_at.elapsed() > SILENCE_LIMIT {
                        break "silent".into();
                    }
                    let _ = timeout(LIMIT, self.socket.send(Message::text("{\"type\":\"ping\"}"))).await;
                }
            }
        };
        self.ended(&how);
        let _ = self.news.try_send(News::Ended);
    }

    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap_or_default() {
            "resumed" => self.resumed(frame),
            "draining" => {
                let pause = Duration::from_millis(frame["reconnectInMs"].as_u64().unwrap_or_default());
                let _ = self.news.try_send(News::Draining(pause));
            }
            "error" => {
                let now = self.device.run.now();
                let text = format!("t{now} session {}: {frame}", self.index);
                self.device.note(text);
                // No resume now: a client that does not ask again syncs.
                if frame["code"] == "overloaded" {
                    self.device.sync_all();
                }
            }
            "pong" | "read" | "delivered" | "typing" | "presence" => {}
            _ if frame["seq"].is_i64() => {
                let channel = self.device.see(frame, Some(self.index));
                self.unacked.extend(channel);
            }
            _ => {}
        }
    }

    fn resumed(&mut self, frame: &Value) {
        let ids = |field: &str| -> Vec<String> {
            let listed = frame[field].as_array().into_iter().flatten();
            listed.filter_map(|id| Some(id.as_str()?.to_owned())).collect()
        };
        let (resync, new) = (ids("resyncRequired"), ids("newChannels"));
        let at = self.device.run.now();
        {
            let mut history = self.device.run.history();
            let resync = resync.iter().map(|id| history.channel(id)).collect();
            history.sessions[self.index].resumed = Some(Resumed { at, resync });
        }
        // What the server says that the client has not got yet is read by REST.
        self.device.sync(resync.into_iter().chain(new).collect());
    }

    async fn background(&mut self, value: bool) {
        // Before it is sent when it takes the foreground away, so that nothing counts as foreground that was none.
        let now = self.device.run.now();
        self.device.run.history().sessions[self.index].background.push((now, value));
        let frame = json!({"type": "background", "value": value});
        let _ = timeout(LIMIT, self.socket.send(Message::text(frame.to_string()))).await;
    }

    async fn ack(&mut self) {
        for channel in std::mem::take(&mut self.unacked) {
            let Some((id, cursor)) = self.device.acked_up_to(channel) else { continue };
            let frame = json!({"type": "ack", "channelId": id, "seq": cursor});
            // A broken socket shows when it is read from.
            let _ = timeout(LIMIT, self.socket.send(Message::text(frame.to_string()))).await;
        }
    }

    fn ended(&self, how: &str) {
        let now = self.device.run.now();
        self.device.run.history().sessions[self.index].ended = Some((now, how.to_owned()));
    }
}

/// The next JSON frame, or how the session ended.
async fn next_frame(socket: &mut Socket) -> Result<Value, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| "a frame that is no JSON".into());
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |frame| frame.code.into());
                // The library answers; the server ends the connection.
                return Err(format!("closed with {code}"));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(format!("broken: {error}")),
            None => return Err("broken".into()),
        }
    }
}
