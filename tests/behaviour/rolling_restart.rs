//! All gateways are replaced one after the other while people send: nobody notices, and no phone rings.

use std::time::Duration;

use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::wait::eventually;
use harness::websocket::{Dial, WebSocketClient};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use crate::whole_cluster::{at_rest, seq};

const MEMBERS: usize = 20;
/// Nobody sends any more while the last ones are looked for.
const QUIET: Duration = Duration::from_secs(60);

/// A client as the contract wants it: it goes to the gateway that it is given, resumes, and obeys `draining`.
struct Client {
    api: Api,
    user: String,
    channel: String,
    cursor: i64,
    sessions: usize,
}

impl Client {
    /// Until it has everything up to the `seq` that is said one day.
    async fn run(mut self, mut until: watch::Receiver<Option<i64>>) -> Self {
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
            let gateway = self.api.post("/connect", &self.user, json!({})).await;
            // Its lease may not yet say that it drains; then it says so itself.
            if gateway.status == 200 {
                let dial = Dial::to(gateway.body["url"].as_str().unwrap());
                let ticket = gateway.body["ticket"].as_str().unwrap();
                if let Ok(mut socket) = dial.ticket(ticket).try_connect().await {
                    self.sessions += 1;
                    let resume = json!({"type": "resume", "cursors": {&self.channel: self.cursor}});
                    socket.send_json(&resume).await;
                    return socket;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing_repeats_nothing_and_pushes_to_nobody() {
    let builder = Cluster::builder().gateways(0).gateway_flag("--drain-window=1s");
    // At once, so that nothing but the registry keeps a push from who is between two gateways.
    let builder = builder.api_flag("--push-fold-window=0s");
    let cluster = builder.gateway_flag("--shutdown-grace=10s").start().await;
    let users: Vec<String> = (0..MEMBERS).map(|n| format!("user-{n}")).collect();
    let members: Vec<&str> = users.iter().map(String::as_str).collect();
    let channel = cluster.api(0).create_group("alice", &members, "Crew").await;
    for user in &users {
        cluster.api(1).register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let mut gateways = vec![cluster.spawn_gateway().await, cluster.spawn_gateway().await];

    let (say_end, end) = watch::channel(None);
    let clients: Vec<_> = users
        .iter()
        .map(|user| {
            let (api, user, channel) = (cluster.api(0), user.clone(), channel.clone());
            let client = Client { api, user, channel, cursor: 0, sessions: 0 };
            tokio::spawn(client.run(end.clone()))
        })
        .collect();
    eventually("everyone is here", async || {
        let mut sessions = 0.0;
        for gateway in &gateways {
            let url = format!("http://127.0.0.1:{}", gateway.internal_port);
            sessions += cluster.metric(&url, "naru_gateway_sessions").await;
        }
        sessions == MEMBERS as f64
    })
    .await;

    let (say_enough, enough) = watch::channel(false);
    let sending = {
        let (apis, channel) = ([cluster.api(0), cluster.api(1)], channel.clone());
        tokio::spawn(async move {
            let mut last = 0;
            while !*enough.borrow() {
                let sent = apis[last as usize % 2].send("alice", &channel, &format!("{last}")).await;
                last = seq(&sent);
                sleep(Duration::from_millis(5)).await;
            }
            last
        })
    };
    for _ in 0..2 {
        let old = gateways.remove(0);
        gateways.push(cluster.spawn_gateway().await);
        old.process.sigterm();
        assert!(old.process.wait_exit().await.success());
    }
    say_enough.send(true).unwrap();
    let last = sending.await.unwrap();
    // Everyone stays: who was between two gateways is looked for a few seconds later.
    at_rest(&cluster.database().await).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
    say_end.send(Some(last)).unwrap();
    for client in clients {
        let client = client.await.unwrap();
        assert_eq!(client.cursor, last);
        assert!(client.sessions >= 2, "{} has never moved", client.user);
    }
}
