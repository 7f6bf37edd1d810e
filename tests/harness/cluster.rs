//! A whole Naru: api-servers and gateways in this process, on a database and a registry of their own.

mod builder;
mod flags;
mod service;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use shared_runtime::registry::SessionRegistry;
use sqlx::PgPool;

use self::flags::Flags;
use self::service::Service;
use crate::api_client::{Answer, Api};
use crate::edition::Edition;
use crate::fake_fcm::FakeFcm;
use crate::ports::free_port;
use crate::process::ServiceProcess;
use crate::registry::TestRegistry;
use crate::storage::{Tables, TestStorage};
use crate::tcp_proxy::TcpProxy;
use crate::tokens::{INTERNAL_SECRET, token_for};
use crate::wait::eventually;
use crate::websocket::{Dial, WebSocketClient};

pub use self::builder::ClusterBuilder;

/// Everything ends when this is dropped.
pub struct Cluster {
    pub fcm: FakeFcm,
    apis: Vec<Service>,
    gateways: Vec<Service>,
    gateway_proxies: Vec<TcpProxy>,
    api_flags: Flags,
    gateway_flags: Flags,
    client: Client,
    registry: TestRegistry,
    // After the services: its folder goes when they have been told to stop.
    storage: TestStorage,
}

/// A gateway as a program, for tests that kill it.
pub struct GatewayProcess {
    pub process: ServiceProcess,
    pub public_port: u16,
    pub internal_port: u16,
}

/// An api-server as a program, for tests that kill it.
pub struct ApiProcess {
    pub process: ServiceProcess,
    pub api: Api,
    pub public_port: u16,
    pub internal_port: u16,
}

impl Cluster {
    /// Two api-servers and two gateways, without a rate limit.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// For anything else than two and two.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The public API of an api-server, from 0.
    pub fn api(&self, index: usize) -> Api {
        Api::at(format!("http://127.0.0.1:{}", self.apis[index].public_port), self.client.clone())
    }

    /// The internal base URL of an api-server: metrics, probes.
    pub fn api_internal_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.apis[index].internal_port)
    }

    /// Where clients connect to a gateway, from 0.
    pub fn gateway_url(&self, index: usize) -> String {
        websocket_url(self.gateways[index].public_port)
    }

    /// The internal base URL of a gateway: deliveries, metrics, probes.
    pub fn gateway_internal_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.gateways[index].internal_port)
    }

    /// What stands before a gateway's internal listener in a cluster with proxies.
    pub fn gateway_proxy(&self, index: usize) -> &TcpProxy {
        &self.gateway_proxies[index]
    }

    /// A session of the user on this gateway, after its `ready`: from now on everybody finds it.
    pub async fn connect(&self, gateway: usize, user: &str) -> WebSocketClient {
        connect(&self.gateway_url(gateway), user).await
    }

    /// A connection to this gateway in the making, with the user's token.
    pub fn dial(&self, gateway: usize, user: &str) -> Dial {
        Dial::to(&self.gateway_url(gateway)).bearer(&token_for(user))
    }

    /// `POST` to a gateway's internal listener with the right secret.
    pub async fn post_internal(&self, gateway: usize, path: &str, body: &serde_json::Value) -> Answer {
        let url = format!("{}{path}", self.gateway_internal_url(gateway));
        Answer::of(self.client.post(url).bearer_auth(INTERNAL_SECRET).json(body)).await
    }

    /// The value of a metric's sample, such as `name_total{label="x"}`; 0 while it is not there.
    pub async fn metric(&self, internal_url: &str, sample: &str) -> f64 {
        let text = Answer::of(self.client.get(format!("{internal_url}/metrics"))).await.expect(200);
        let text = text.as_str().unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().expect("a sample is a number"))
    }

    /// The client with which [`Cluster::api`] calls, for whatever else speaks HTTP.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The database of either edition, for tests that look behind the API.
    pub async fn tables(&self) -> Tables {
        self.storage.tables().await
    }

    /// A few connections to Postgres, for tests that concern it; the embedded edition has none.
    pub async fn database(&self) -> PgPool {
        Edition::need_services("a cluster's Postgres");
        match self.storage.tables().await {
            Tables::Postgres(pool) => pool,
            Tables::Sqlite(_) => unreachable!("services have Postgres"),
        }
    }

    /// Who is connected where, as the services see it.
    pub fn registry(&self) -> Arc<dyn SessionRegistry> {
        self.registry.open()
    }

    /// What every key of this cluster in Redis begins with; the embedded edition has none.
    pub fn redis_prefix(&self) -> &str {
        self.registry.redis().1
    }

    /// Stops an api-server as SIGTERM does, and waits for its end.
    pub async fn stop_api(&self, index: usize) {
        self.apis[index].stop().await;
    }

    /// Stops a gateway as SIGTERM does, and waits for its end.
    pub async fn stop_gateway(&self, index: usize) {
        self.gateways[index].stop().await;
    }

    /// One more gateway, as a process. Its index is no other's: use its `connect`.
    pub async fn spawn_gateway(&self) -> GatewayProcess {
        Edition::need_services("a gateway as a process");
        let (public_port, internal_port) = (free_port(), free_port());
        let mut flags = self.gateway_flags.clone();
        builder::add_gateway_addresses(&mut flags, public_port, internal_port);
        let process = spawn("chat-gateway", &flags, internal_port).await;
        GatewayProcess { process, public_port, internal_port }
    }

    /// One more api-server, as a process.
    pub async fn spawn_api(&self) -> ApiProcess {
        Edition::need_services("an api-server as a process");
        let (public_port, internal_port) = (free_port(), free_port());
        let mut flags = self.api_flags.clone();
        builder::add_addresses(&mut flags, public_port, internal_port);
        let process = spawn("api-server", &flags, internal_port).await;
        let api = Api::at(format!("http://127.0.0.1:{public_port}"), self.client.clone());
        ApiProcess { process, api, public_port, internal_port }
    }

    /// Waits until all services are ready: the database answers, and Redis.
    pub async fn wait_ready(&self) {
        for service in self.apis.iter().chain(&self.gateways) {
            let url = format!("http://127.0.0.1:{}/readyz", service.internal_port);
            eventually(&format!("{url} says ready"), async || {
                self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
    }
}

impl GatewayProcess {
    /// A session of the user on this gateway, after its `ready`.
    pub async fn connect(&self, user: &str) -> WebSocketClient {
        connect(&websocket_url(self.public_port), user).await
    }
}

async fn connect(url: &str, user: &str) -> WebSocketClient {
    let mut socket = Dial::to(url).bearer(&token_for(user)).connect().await;
    let ready = socket.next_json().await;
    assert_eq!(ready["type"], "ready", "{ready}");
    socket
}

async fn spawn(name: &str, flags: &Flags, internal_port: u16) -> ServiceProcess {
    let flags: Vec<&str> = flags.as_slice().iter().map(String::as_str).collect();
    let process = ServiceProcess::start(name, &flags, &[]);
    process.wait_ready(&format!("http://127.0.0.1:{internal_port}/readyz")).await;
    process
}

fn websocket_url(port: u16) -> String {
    format!("ws://127.0.0.1:{port}/ws")
}

/// One slow test machine must not look like a server that hangs.
fn http_client() -> Client {
    let client = Client::builder().timeout(Duration::from_secs(30)).no_proxy().build();
    client.expect("a client without special wishes")
}
