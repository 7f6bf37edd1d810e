//! A private cluster of real servers and release-built services, each a process whose CPU and memory can be told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use harness::fake_fcm::FakeFcm;
use harness::ports::free_port;
use harness::postgres::Postgres;
use harness::process::ServiceProcess;
use harness::redis::Redis;
use harness::tokens::{INTERNAL_SECRET, JWT_SECRET};
use sqlx::PgPool;

use super::Site;
use super::tokens::Tokens;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    pub apis: usize,
    pub gateways: usize,
    /// Further flags, such as `--push-in-flight=100`.
    pub api_flags: Vec<String>,
    pub gateway_flags: Vec<String>,
    /// Pushes go here; `None`: to a fake FCM in this process, which counts what it gets.
    pub fcm: Option<FcmTarget>,
}

/// Something that speaks FCM's HTTP.
#[derive(Debug, Clone)]
pub struct FcmTarget {
    pub endpoint: String,
    pub service_account: String,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self { apis: 1, gateways: 1, api_flags: Vec::new(), gateway_flags: Vec::new(), fcm: None }
    }
}

/// One running service.
pub struct Service {
    process: ServiceProcess,
    pub public_port: u16,
    pub public_url: String,
    pub internal_url: String,
}

impl Service {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Everything ends when this is dropped.
pub struct Cluster {
    pub apis: Vec<Service>,
    pub gateways: Vec<Service>,
    // After the services, so that these do not complain of their end.
    _fcm: FakeFcm,
    pub postgres: Postgres,
    pub redis: Redis,
    pub database_url: String,
    pub database: PgPool,
}

impl Cluster {
    /// Starts it, and waits until every service is ready. Postgres is as durable as in production.
    pub async fn start(spec: &ClusterSpec) -> anyhow::Result<Self> {
        super::programs::find("api-server")?;
        super::programs::find("chat-gateway")?;
        let postgres = Postgres::start_durable().await;
        let redis = Redis::start_private().await;
        let fcm = FakeFcm::start();
        let database_url = postgres.fresh_database().await;
        let database = PgPool::connect(&database_url).await.context("Postgres does not answer")?;

        let fcm_target = spec.fcm.clone().unwrap_or_else(|| FcmTarget {
            endpoint: fcm.endpoint(),
            service_account: fcm.service_account_file().display().to_string(),
        });
        let common = [
            format!("--redis-url={}", redis.url()),
            format!("--jwt-secret={JWT_SECRET}"),
            format!("--internal-secret={INTERNAL_SECRET}"),
        ];
        let api_flags = [
            format!("--database-url={database_url}"),
            "--send-rate=0".to_owned(),
            format!("--fcm-endpoint={}", fcm_target.endpoint),
            format!("--fcm-service-account={}", fcm_target.service_account),
        ];
        let mut apis = Vec::new();
        for _ in 0..spec.apis {
            let flags = common.iter().chain(&api_flags).chain(&spec.api_flags);
            apis.push(start("api-server", flags, |_, _| Vec::new()).await);
        }
        let api_url = apis.first().map(|api| api.internal_url.clone()).unwrap_or_default();
        let mut gateways = Vec::new();
        for _ in 0..spec.gateways {
            let own = [format!("--api-url={api_url}")];
            let flags = common.iter().chain(&own).chain(&spec.gateway_flags);
            let addresses = |public: u16, internal: u16| {
                vec![
                    format!("--public-url=ws://127.0.0.1:{public}/ws"),
                    format!("--advertise-url=http://127.0.0.1:{internal}"),
                ]
            };
            gateways.push(start("chat-gateway", flags, addresses).await);
        }
        Ok(Self { apis, gateways, _fcm: fcm, postgres, redis, database_url, database })
    }

    /// How clients see it.
    pub fn site(&self) -> Site {
        let sockets = |gateway: &Service| format!("{}/ws", gateway.public_url.replacen("http", "ws", 1));
        Site {
            apis: self.apis.iter().map(|api| api.public_url.clone()).collect(),
            gateways: self.gateways.iter().map(sockets).collect(),
            tokens: Arc::new(Tokens::signed_with(JWT_SECRET)),
        }
    }
}

async fn start<'a>(
    name: &str,
    flags: impl Iterator<Item = &'a String>,
    addresses: impl Fn(u16, u16) -> Vec<String>,
) -> Service {
    let (public, internal) = (free_port(), free_port());
    let mut flags: Vec<String> = flags.cloned().collect();
    flags.push(format!("--listen=127.0.0.1:{public}"));
    flags.push(format!("--internal-listen=127.0.0.1:{internal}"));
    flags.extend(addresses(public, internal));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let process = ServiceProcess::start(name, &flags, &[]);
    let internal_url = format!("http://127.0.0.1:{internal}");
    process.wait_ready(&format!("{internal_url}/readyz")).await;
    Service { process, public_port: public, public_url: format!("http://127.0.0.1:{public}"), internal_url }
}

/// How long a service may take to be where a scenario needs it.
pub const SETTLING_LIMIT: Duration = Duration::from_secs(30);
