//! What a cluster is made of.

use api_server::startup::Backends;
use clap::Parser;
use tokio_util::sync::CancellationToken;

use super::flags::Flags;
use super::service::{Ports, Service};
use super::{Cluster, http_client};
use crate::edition::Edition;
use crate::fake_fcm::FakeFcm;
use crate::redis::Redis;
use crate::registry::TestRegistry;
use crate::runtime::in_background;
use crate::storage::TestStorage;
use crate::tcp_proxy::TcpProxy;
use crate::tokens::{INTERNAL_SECRET, JWT_SECRET};

/// A cluster in the making: two api-servers and two gateways unless told otherwise.
pub struct ClusterBuilder {
    apis: usize,
    gateways: usize,
    api_flags: Flags,
    gateway_flags: Flags,
    removed: Vec<&'static str>,
    database_url: Option<String>,
    redis_url: Option<String>,
    has_proxies: bool,
    waits: bool,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            apis: 2,
            gateways: 2,
            api_flags: Flags::default(),
            gateway_flags: Flags::default(),
            removed: Vec::new(),
            database_url: None,
            redis_url: None,
            has_proxies: false,
            waits: true,
        }
    }
}

impl ClusterBuilder {
    pub fn apis(mut self, count: usize) -> Self {
        self.apis = count;
        self
    }

    pub fn gateways(mut self, count: usize) -> Self {
        self.gateways = count;
        self
    }

    /// A flag for the api-servers, `--name=value` or `--name`, in place of the harness's own of that name.
    pub fn api_flag(mut self, flag: impl Into<String>) -> Self {
        self.api_flags.set(flag);
        self
    }

    /// A flag for the gateways.
    pub fn gateway_flag(mut self, flag: impl Into<String>) -> Self {
        self.gateway_flags.set(flag);
        self
    }

    /// A flag for all services.
    pub fn flag(self, flag: impl Into<String>) -> Self {
        let flag = flag.into();
        self.api_flag(flag.clone()).gateway_flag(flag)
    }

    /// Leaves one of the harness's own flags away, such as `--jwt-secret`.
    pub fn without_flag(mut self, name: &'static str) -> Self {
        self.removed.push(name);
        self
    }

    /// Another Postgres than a fresh database of the shared server: a private one, or behind a proxy.
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        Edition::need_services("a Postgres of one's own");
        self.database_url = Some(url.into());
        self
    }

    /// Another Redis than the shared one: a private one, or behind a proxy.
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        Edition::need_services("a Redis of one's own");
        self.redis_url = Some(url.into());
        self
    }

    /// Puts a proxy before each gateway's internal listener, through which api-servers deliver:
    /// [`Cluster::gateway_proxy`].
    pub fn gateway_proxies(mut self) -> Self {
        self.has_proxies = true;
        self
    }

    /// Does not wait until all services are ready, for tests in which something is missing.
    pub fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Starts everything.
    pub async fn start(self) -> Cluster {
        let storage = match &self.database_url {
            Some(url) => TestStorage::Postgres { url: url.clone() },
            None => TestStorage::fresh().await,
        };
        let registry = match &self.redis_url {
            Some(url) => TestRegistry::at(url.clone(), Redis::shared().await.fresh_prefix()),
            None => TestRegistry::fresh().await,
        };
        let fcm = FakeFcm::start();

        let mut common = Flags::default();
        if let TestRegistry::Redis { url, prefix } = &registry {
            common.set(format!("--redis-url={url}"));
            common.set(format!("--redis-prefix={prefix}"));
        }
        common.set(format!("--jwt-secret={JWT_SECRET}"));
        common.set(format!("--internal-secret={INTERNAL_SECRET}"));
        // Many clusters share a few cores, and a dropped one should be gone soon.
        common.set("--http-workers=1");
        common.set("--shutdown-grace=5s");

        let mut api_flags = common.clone();
        if let TestStorage::Postgres { url } = &storage {
            api_flags.set(format!("--database-url={url}"));
        }
        api_flags.set("--database-connections=6");
        api_flags.set("--send-rate=0");
        api_flags.set(format!("--fcm-service-account={}", fcm.service_account_file().display()));
        api_flags.set(format!("--fcm-endpoint={}", fcm.endpoint()));
        self.finish(&mut api_flags, &self.api_flags);
        let mut apis = Vec::new();
        for _ in 0..self.apis {
            apis.push(start_api(api_flags.clone(), &storage, &registry).await);
        }

        let mut gateway_flags = common;
        // Gateways need the address only; a cluster without an api-server has none to name.
        let api_port = apis.first().map_or(1, |api| api.internal_port);
        gateway_flags.set(format!("--api-url=http://127.0.0.1:{api_port}"));
        gateway_flags.set("--drain-window=100ms");
        self.finish(&mut gateway_flags, &self.gateway_flags);
        let (mut gateways, mut gateway_proxies) = (Vec::new(), Vec::new());
        for _ in 0..self.gateways {
            let ports = Ports::take();
            let (public_port, internal_port) = ports.numbers;
            let mut flags = gateway_flags.clone();
            add_gateway_addresses(&mut flags, public_port, internal_port);
            if self.has_proxies {
                let proxy = TcpProxy::start(internal_port).await;
                flags.set(format!("--advertise-url=http://127.0.0.1:{}", proxy.port()));
                gateway_proxies.push(proxy);
            }
            gateways.push(start_gateway(ports, &flags, &registry).await);
        }

        let client = http_client();
        let cluster = Cluster {
            fcm,
            apis,
            gateways,
            gateway_proxies,
            api_flags,
            gateway_flags,
            client,
            registry,
            storage,
        };
        if self.waits {
            cluster.wait_ready().await;
        }
        cluster
    }

    fn finish(&self, flags: &mut Flags, own: &Flags) {
        for name in &self.removed {
            flags.remove(name);
        }
        flags.set_all(own);
    }
}

pub(super) fn add_addresses(flags: &mut Flags, public_port: u16, internal_port: u16) {
    flags.set(format!("--listen=127.0.0.1:{public_port}"));
    flags.set(format!("--internal-listen=127.0.0.1:{internal_port}"));
}

pub(super) fn add_gateway_addresses(flags: &mut Flags, public_port: u16, internal_port: u16) {
    add_addresses(flags, public_port, internal_port);
    flags.set(format!("--advertise-url=http://127.0.0.1:{internal_port}"));
    // Unless clients are to come through something else.
    if !flags.has("--public-url") {
        flags.set(format!("--public-url=ws://127.0.0.1:{public_port}/ws"));
    }
}

// The same code as in production, and as in `standalone`.
async fn start_api(mut flags: Flags, storage: &TestStorage, registry: &TestRegistry) -> Service {
    let Ports { public, internal, numbers: (public_port, internal_port) } = Ports::take();
    add_addresses(&mut flags, public_port, internal_port);
    let config =
        api_server::config::Config::try_parse_from(flags.as_slice()).unwrap_or_else(|e| panic!("{e}"));
    let listeners = api_server::startup::Listeners { public, internal };
    let built = match Edition::under_test() {
        Edition::Services => in_background(api_server::startup::build(config, listeners)).await,
        Edition::Embedded => {
            in_background(async {
                let backends = Backends { store: storage.open_embedded().await, sessions: registry.open() };
                api_server::startup::build_on(&config, listeners, backends)
            })
            .await
        }
    };
    let application = built.unwrap_or_else(|e| panic!("the api-server does not start: {e}"));
    let shutdown = CancellationToken::new();
    Service::start((public_port, internal_port), shutdown.clone(), application.run_until(shutdown))
}

async fn start_gateway(ports: Ports, flags: &Flags, registry: &TestRegistry) -> Service {
    let Ports { public, internal, numbers } = ports;
    let program = ["chat-gateway".to_owned()];
    let arguments = program.iter().chain(flags.as_slice());
    let config = chat_gateway::config::Config::try_parse_from(arguments).unwrap_or_else(|e| panic!("{e}"));
    let listeners = chat_gateway::startup::Listeners { public, internal };
    let built = match Edition::under_test() {
        Edition::Services => in_background(chat_gateway::startup::build(config, listeners)).await,
        Edition::Embedded => {
            in_background(chat_gateway::startup::build_on(config, listeners, registry.open())).await
        }
    };
    let application = built.unwrap_or_else(|e| panic!("the gateway does not start: {e}"));
    let shutdown = CancellationToken::new();
    Service::start(numbers, shutdown.clone(), application.run_until(shutdown))
}
