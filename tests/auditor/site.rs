//! A whole Naru as processes of its own, with a proxy in every place where parts of it talk to each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harness::fake_fcm::FakeFcm;
use harness::ports::free_port;
use harness::postgres::Postgres;
use harness::redis::Redis;
use harness::tcp_proxy::TcpProxy;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET};

use crate::options::Surroundings;
use crate::plan::Between;
use crate::service::Service;

pub const APIS: usize = 2;
pub const GATEWAYS: usize = 3;

const START_LIMIT: Duration = Duration::from_secs(60);

/// Everything ends when this is dropped.
pub struct Site {
    pub postgres: Postgres,
    pub redis: Redis,
    pub fcm: FakeFcm,
    pub database_url: String,
    pub apis: Vec<Arc<Service>>,
    pub gateways: Vec<Arc<Service>>,
    pub links: Vec<(Between, TcpProxy)>,
    /// Public base URLs of the api-servers.
    pub api_urls: Vec<String>,
    internal_ports: Vec<u16>,
    _logs: Option<tempfile::TempDir>,
}

impl Site {
    pub async fn start(surroundings: &Surroundings) -> Self {
        let programs = programs(surroundings.programs.as_deref());
        let (folder, logs) = logs(surroundings.logs.as_deref());
        let (postgres, redis, fcm) =
            (Postgres::start_private().await, Redis::start_private().await, FakeFcm::start());
        let database_url = postgres.empty_database().await;
        let mut site = Self {
            postgres,
            redis,
            fcm,
            database_url,
            apis: Vec::new(),
            gateways: Vec::new(),
            links: Vec::new(),
            api_urls: Vec::new(),
            internal_ports: Vec::new(),
            _logs: folder,
        };
        let mut api_internal = Vec::new();
        for index in 0..APIS {
            let (public, internal) = (free_port(), free_port());
            let mut flags = site.common_flags(public, internal, &format!("api-{index}")).await;
            let database = site.link(Between::ApiAndPostgres(index), site.postgres.port()).await;
            let database_url =
                site.database_url.replace(&format!(":{}/", site.postgres.port()), &format!(":{database}/"));
            flags.push(format!("--database-url={database_url}"));
            flags.extend(["--database-connections=8", "--send-rate=0"].map(str::to_owned));
            flags.push(format!("--fcm-service-account={}", site.fcm.service_account_file().display()));
            flags.push(format!("--fcm-endpoint={}", site.fcm.endpoint()));
            flags.extend(surroundings.api_flag.iter().cloned());
            site.apis.push(Service::start(
                &format!("api-{index}"),
                &programs.join("api-server"),
                flags,
                &logs,
            ));
            site.api_urls.push(format!("http://127.0.0.1:{public}"));
            api_internal.push(internal);
            site.internal_ports.push(internal);
            // The first one migrates the database alone: what is tested here comes later.
            site.wait_ready().await;
        }
        for index in 0..GATEWAYS {
            let (public, internal) = (free_port(), free_port());
            let mut flags = site.common_flags(public, internal, &format!("gateway-{index}")).await;
            let clients = site.link(Between::ClientsAndGateway(index), public).await;
            let deliveries = site.link(Between::ApisAndGateway(index), internal).await;
            let api = site.link(Between::GatewayAndApi(index), api_internal[index % APIS]).await;
            flags.push(format!("--public-url=ws://127.0.0.1:{clients}/ws"));
            flags.push(format!("--advertise-url=http://127.0.0.1:{deliveries}"));
            flags.push(format!("--api-url=http://127.0.0.1:{api}"));
            flags.extend(
                ["--drain-window=2s", "--ping-interval=5s", "--silence-limit=12s"].map(str::to_owned),
            );
            flags.extend(surroundings.gateway_flag.iter().cloned());
            let program = programs.join("chat-gateway");
            site.gateways.push(Service::start(&format!("gateway-{index}"), &program, flags, &logs));
            site.internal_ports.push(internal);
        }
        site.wait_ready().await;
        site
    }

    /// All services, api-servers first.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.apis.iter().chain(&self.gateways)
    }

    pub fn proxy(&self, between: Between) -> &TcpProxy {
        let link = self.links.iter().find(|(known, _)| *known == between);
        link.map(|(_, proxy)| proxy).expect("there is a proxy for every pair")
    }

    /// Waits until everything is ready. Panics when it is not in time: what nobody can start cannot be audited.
    pub async fn wait_ready(&self) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without special wishes");
        for port in &self.internal_ports {
            let url = format!("http://127.0.0.1:{port}/readyz");
            harness::wait::eventually_within(START_LIMIT, &format!("{url} says ready"), async || {
                client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
    }

    async fn link(&mut self, between: Between, port: u16) -> u16 {
        let proxy = TcpProxy::start(port).await;
        let port = proxy.port();
        self.links.push((between, proxy));
        port
    }

    async fn common_flags(&mut self, public: u16, internal: u16, name: &str) -> Vec<String> {
        let index: usize = name.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or_default();
        let between = if name.starts_with("api") {
            Between::ApiAndRedis(index)
        } else {
            Between::GatewayAndRedis(index)
        };
        let redis = self.link(between, self.redis.port()).await;
        vec![
            format!("--listen=127.0.0.1:{public}"),
            format!("--internal-listen=127.0.0.1:{internal}"),
            format!("--redis-url=redis://127.0.0.1:{redis}"),
            format!("--jwt-secret={JWT_SECRET}"),
            format!("--internal-secret={INTERNAL_SECRET}"),
            "--http-workers=1".into(),
            "--shutdown-grace=6s".into(),
        ]
    }
}

fn programs(given: Option<&Path>) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let folder =
        given.map_or_else(|| own.parent().expect("a program lies in a folder").to_owned(), Path::to_owned);
    for name in ["api-server", "chat-gateway"] {
        assert!(
            folder.join(name).is_file(),
            "{name} is not in {}: cargo build --workspace --bins",
            folder.display()
        );
    }
    folder
}

fn logs(given: Option<&Path>) -> (Option<tempfile::TempDir>, PathBuf) {
    if let Some(folder) = given {
        std::fs::create_dir_all(folder).expect("the logs' folder can be made");
        return (None, folder.to_owned());
    }
    let folder = tempfile::Builder::new().prefix("naru-auditor-").tempdir().expect("a temporary folder");
    let path = folder.path().to_owned();
    (Some(folder), path)
}
