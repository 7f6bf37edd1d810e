//! A gateway of a test's own, in this process. It needs nothing but a registry.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use chat_gateway::config::Config;
use chat_gateway::startup::{Listeners, build, build_on};
use clap::Parser;
use harness::ports::free_port;
use harness::redis::Redis;
use harness::registry::TestRegistry;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET, token_for};
use harness::wait::eventually;
use harness::websocket::{Dial, WebSocketClient};
use serde_json::{Value, json};
use shared_runtime::registry::Whereabouts;
use shared_types::GatewayId;
use shared_types::registry_keys::{RegistryKeys, TicketGrant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct OneGateway {
    pub id: GatewayId,
    pub public_port: u16,
    pub internal_port: u16,
    shutdown: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

/// A registry that no other test uses.
pub struct RegistryCorner {
    registry: TestRegistry,
}

impl RegistryCorner {
    /// In a Redis that the test does something to.
    pub fn of(redis: &Redis) -> Self {
        Self { registry: TestRegistry::in_redis(redis) }
    }

    pub async fn fresh() -> Self {
        Self { registry: TestRegistry::fresh().await }
    }

    /// What the keys in Redis are named; the embedded edition has none.
    pub fn keys(&self) -> RegistryKeys {
        RegistryKeys::new(self.registry.redis().1)
    }

    /// The gateways that the user's entry names.
    pub async fn gateways_of(&self, user: &str) -> Vec<GatewayId> {
        self.whereabouts_of(user).await.gateways.to_vec()
    }

    /// Whether the registry remembers that the user has just been lost, and will probably come again.
    pub async fn is_expected_back(&self, user: &str) -> bool {
        self.whereabouts_of(user).await.is_expected_back
    }

    async fn whereabouts_of(&self, user: &str) -> Whereabouts {
        let found = self.registry.open().whereabouts(&[user.parse().unwrap()]).await.unwrap();
        found.into_iter().next().unwrap()
    }

    /// The gateway's lease, as JSON.
    pub async fn lease_of(&self, gateway: &GatewayId) -> Option<Value> {
        let leases = self.registry.open().leases().await.unwrap();
        leases.get(gateway).map(|lease| serde_json::to_value(lease).unwrap())
    }

    /// Stores a ticket as `POST /connect` does.
    pub async fn ticket(&self, ticket: &str, user: &str, expires_in: i64) {
        let expires_at = shared_runtime::tokens::unix_seconds().saturating_add_signed(expires_in);
        let grant = TicketGrant { user_id: user.parse().unwrap(), expires_at };
        self.registry.open().issue_ticket(ticket, &grant).await.unwrap();
    }
}

impl OneGateway {
    /// A gateway with a corner of its own and these options besides.
    pub async fn start(options: &[&str]) -> Self {
        Self::start_in(&RegistryCorner::fresh().await, options).await
    }

    pub async fn start_in(corner: &RegistryCorner, options: &[&str]) -> Self {
        let (public_port, internal_port) = (free_port(), free_port());
        let listen = |port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let mut arguments = vec![
            "chat-gateway".to_owned(),
            format!("--advertise-url=http://127.0.0.1:{internal_port}"),
            format!("--public-url=ws://127.0.0.1:{public_port}/ws"),
            "--api-url=http://127.0.0.1:1".to_owned(),
            format!("--jwt-secret={JWT_SECRET}"),
            format!("--internal-secret={INTERNAL_SECRET}"),
            "--http-workers=2".to_owned(),
            "--drain-window=10ms".to_owned(),
        ];
        if let TestRegistry::Redis { url, prefix } = &corner.registry {
            arguments.extend([format!("--redis-url={url}"), format!("--redis-prefix={prefix}")]);
        }
        // What a test says overrides what is said here.
        let spoken = |argument: &&String| {
            let flag = argument.split('=').next().unwrap();
            !options.iter().any(|option| option.split('=').next() == Some(flag))
        };
        let arguments = arguments.iter().filter(spoken).map(String::as_str).chain(options.iter().copied());
        let config = Config::try_parse_from(arguments).unwrap();
        let listeners = Listeners { public: listen(public_port), internal: listen(internal_port) };
        let application = match &corner.registry {
            TestRegistry::Redis { .. } => build(config, listeners).await,
            TestRegistry::InProcess(registry) => build_on(config, listeners, registry.clone()).await,
        };
        let application = application.unwrap();
        let shutdown = CancellationToken::new();
        let id = application.gateway_id().clone();
        let running = tokio::spawn(application.run_until(shutdown.clone()));
        Self { id, public_port, internal_port, shutdown, running }
    }

    pub fn ws(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.public_port)
    }

    pub fn public(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.public_port)
    }

    pub fn internal(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.internal_port)
    }

    /// A session of this user that has been told `ready`.
    pub async fn session(&self, user: &str) -> WebSocketClient {
        let mut client = Dial::to(&self.ws()).bearer(&token_for(user)).connect().await;
        assert_eq!(client.next_json().await["type"], "ready");
        client
    }

    /// Delivers as an api-server does, and returns who was absent, by delivery.
    pub async fn deliver(&self, deliveries: &Value) -> HashMap<u64, Vec<String>> {
        let answer = self.try_deliver(INTERNAL_SECRET, &json!({"deliveries": deliveries}).to_string()).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        let absent = answer["absent"].as_array().unwrap().iter().map(|absent| {
            let users = absent["recipients"].as_array().unwrap();
            let users = users.iter().map(|user| user.as_str().unwrap().to_owned()).collect();
            (absent["delivery"].as_u64().unwrap(), users)
        });
        absent.collect()
    }

    /// Delivers one entry to one user. Says whether the user was there.
    pub async fn reaches(&self, user: &str, seq: i64) -> bool {
        self.deliver(&json!([{"recipients": [user], "entry": entry(seq)}])).await.is_empty()
    }

    pub async fn try_deliver(&self, secret: &str, body: &str) -> reqwest::Response {
        let request = reqwest::Client::new().post(self.internal("/ws/send/message")).bearer_auth(secret);
        request.body(body.to_owned()).send().await.unwrap()
    }

    pub async fn status(&self, url: &str) -> u16 {
        reqwest::get(url).await.unwrap().status().as_u16()
    }

    /// The value of a metric, labels included in its name; 0 when there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(self.internal("/metrics")).await.unwrap().text().await.unwrap();
        let line =
            text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub async fn until_sessions(&self, count: u32) {
        eventually(&format!("{count} sessions"), async || {
            self.metric("naru_gateway_sessions").await == f64::from(count)
        })
        .await;
    }

    /// What SIGTERM does.
    pub fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the end of a shutdown that has begun or begins now.
    pub async fn stopped(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.running).await;
        ended.expect("the gateway stops").expect("it does not panic").expect("it ends well");
    }
}

/// An entry as an api-server writes it.
pub fn entry(seq: i64) -> Value {
    json!({
        "type": "message", "channelId": "0199aaaa-0000-7000-8000-000000000000", "seq": seq,
        "senderId": "sender", "content": format!("message {seq}")
    })
}
