//! Puts the gateway together and runs it: the same code in production, in tests and in `standalone`.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use shared_runtime::ops::Draining;
use shared_runtime::registry::{RedisRegistry, SessionRegistry};
use shared_runtime::request_id::identify;
use shared_runtime::secret::OptionError;
use shared_runtime::traces::{Service, Traces};
use shared_types::GatewayId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::acks::Acks;
use crate::api_client::ApiClient;
use crate::auth::AllowedOrigins;
use crate::config::{Config, ProcessOptions};
use crate::drain::drain;
use crate::listener::limit_stalled_writes;
use crate::log_reader::LogReader;
use crate::metrics::Metrics;
use crate::registry::{Registry, Setup};
use crate::resumes::Resumes;
use crate::routes;
use crate::session::bell::Bell;
use crate::session::hub::Hub;
use crate::session::socket::SocketLimits;
use crate::state::Gateway;
use crate::upgrade::upgrades;

/// What a client may send in one message.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// A lane sends one request at a time and there is a lane for each api-server, so two threads serve many.
const INTERNAL_WORKERS: usize = 2;
/// Longer than api-servers keep idle connections: the side that closes first should be the side that sends.
const INTERNAL_KEEP_ALIVE: Duration = Duration::from_secs(120);
/// What a stopping gateway spends on reporting its last acks. Without api-servers, their price is a push too many.
const ACKS_LIMIT: Duration = Duration::from_secs(1);
/// Part of the grace period that is kept for the last acks (1 s), leaving the registry (3 s) and stopping the
/// listeners (1 s).
const FAREWELL: Duration = Duration::from_secs(5);
/// What goodbyes get that are still being written when the last session has ended; meanwhile the registry is left.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// What requests get to end after that.
const LISTENER_STOP_SECONDS: u64 = 1;

/// The caller owns the ports.
pub struct Listeners {
    pub public: TcpListener,
    pub internal: TcpListener,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("cannot serve: {0}")]
    Serve(#[from] io::Error),
    #[error("cannot call api-servers: {0}")]
    Client(#[from] reqwest::Error),
}

/// A gateway that is ready to run.
pub struct Application {
    gateway: Data<Gateway>,
    process: ProcessOptions,
    public: Server,
    internal: Server,
    keeper: JoinHandle<()>,
    /// An application that is dropped without having run leaves no task behind.
    _retire: DropGuard,
}

/// Checks the options and takes up the lease. Redis may be away: the gateway starts, is not ready, and keeps trying.
pub async fn build(config: Config, listeners: Listeners) -> Result<Application, StartupError> {
    let registry = RedisRegistry::new(config.redis.client()?, config.redis.prefix());
    build_on(config, listeners, Arc::new(registry)).await
}

/// The same on a registry that is there already; the Redis options are not looked at.
pub async fn build_on(
    config: Config,
    listeners: Listeners,
    session_registry: Arc<dyn SessionRegistry>,
) -> Result<Application, StartupError> {
    config.check()?;
    let sessions = &config.sessions;
    let gateway_id = GatewayId::generate();
    let metrics = Arc::new(Metrics::new(session_registry.connections_opened()));
    let hub = Arc::new(Hub::new(sessions.max_sessions.get(), sessions.max_sessions_per_user.get()));
    let setup = Setup {
        registry: session_registry.clone(),
        gateway_id: gateway_id.clone(),
        advertise_url: config.advertise_url.clone(),
        public_url: config.public_url.clone(),
        metrics: metrics.clone(),
    };
    let (registry, mut keeper) = Registry::new(hub.clone(), setup);
    let internal_secret = config.internal_secret.resolve()?;
    let api = Arc::new(ApiClient::new(
        gateway_id.clone(),
        &config.api_url,
        internal_secret.expose(),
        metrics.clone(),
    )?);
    let service = Service {
        name: "naru-chat-gateway",
        version: env!("CARGO_PKG_VERSION"),
        instance_id: &gateway_id.to_string(),
    };
    let traces = Traces::start(&config.traces, &service, metrics.trace_spans_dropped.clone())?;
    let gateway = Data::new(Gateway {
        gateway_id,
        hub,
        registry,
        session_registry,
        log_reader: LogReader::new(api.clone(), metrics.clone()),
        resumes: Resumes::start(api.clone()),
        acks: Acks::new(api, metrics.clone()),
        metrics,
        traces,
        verifier: config.tokens.verifier()?,
        internal_secret,
        allowed_origins: AllowedOrigins::parse(&config.allowed_origins)?,
        socket_limits: SocketLimits {
            max_message_bytes: MAX_MESSAGE_BYTES,
            ping_interval: sessions.ping_interval,
            silence_limit: sessions.silence_limit,
            write_limit: sessions.write_limit,
        },
        mailbox_frames: sessions.mailbox_frames.get(),
        sockets: TaskTracker::new(),
        draining: Draining::default(),
        drain_requested: CancellationToken::new(),
    });
    let public = serve_public(&gateway, &config, listeners.public)?;
    let internal = serve_internal(&gateway, listeners.internal)?;
    keeper.begin().await;
    let retire = gateway.registry.retiring().drop_guard();
    let keeper = tokio::spawn(keeper.run());
    tokio::spawn(gateway.acks.clone().run(gateway.registry.retiring()));
    info!(gatewayId = %gateway.gateway_id, "gateway built");
    Ok(Application { gateway, process: config.process, public, internal, keeper, _retire: retire })
}

/// As `HttpServer` does it, except that a WebSocket takes its connection out of it.
fn serve_public(gateway: &Data<Gateway>, config: &Config, listener: TcpListener) -> io::Result<Server> {
    let (gateway, with_echo) = (gateway.clone(), config.ws_echo);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let write_limit = config.sessions.write_limit;
    let builder = Server::build();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .workers(config.process.http_workers.map_or(cores, NonZeroUsize::get))
        // Per thread, and only those that are not sessions yet: sessions are counted by the hub, so this must not be
        // what turns them away.
        .max_concurrent_connections(config.sessions.max_sessions.get().saturating_add(1024))
        .shutdown_timeout(LISTENER_STOP_SECONDS)
        .disable_signals()
        .listen("public", listener, move || {
            // On each thread.
            let (gateway, bell, stopping) = (gateway.clone(), Data::from(Bell::hang()), stopping.clone());
            let application = move || {
                let app = App::new()
                    .app_data(gateway.clone())
                    .app_data(bell.clone())
                    .configure(|app| routes::public(app, with_echo))
                    .wrap(from_fn(identify));
                // What it says of the server's address is not asked for.
                map_config(app.into_factory(), |()| AppConfig::default())
            };
            HttpService::build()
                // Idle connections end at once when the server stops.
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .on_connect_ext(move |connection, _| limit_stalled_writes(connection, write_limit))
                // Entries are small and far apart: each goes out by itself, not when the one before has been
                // acknowledged.
                .tcp_nodelay(true)
                // What has been answered ends at once instead of lingering.
                .client_disconnect_timeout(Duration::ZERO)
                .upgrade(upgrades(application()))
                .finish(application())
                .tcp()
        })?;
    Ok(server.run())
}

fn serve_internal(gateway: &Data<Gateway>, listener: TcpListener) -> io::Result<Server> {
    let gateway = gateway.clone();
    let server = HttpServer::new(move || {
        App::new().app_data(gateway.clone()).configure(routes::internal).wrap(from_fn(identify))
    })
    .workers(INTERNAL_WORKERS)
    .keep_alive(INTERNAL_KEEP_ALIVE)
    .tcp_nodelay(true)
    .shutdown_timeout(LISTENER_STOP_SECONDS)
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

impl Application {
    /// New at each start.
    pub fn gateway_id(&self) -> &GatewayId {
        &self.gateway.gateway_id
    }

    /// Serves until `shutdown`, then drains, leaves the registry and stops, within the grace period.
    pub async fn run_until(self, shutdown: CancellationToken) -> io::Result<()> {
        let Self { gateway, process, public, internal, keeper, _retire } = self;
        let handles = [public.handle(), internal.handle()];
        let mut servers = tokio::spawn(async { tokio::try_join!(public, internal).map(drop) });
        let draining = tokio::spawn(drain_when_asked(gateway.clone(), process.clone()));

        let ended = tokio::select! {
            ended = &mut servers => Some(ended.unwrap_or_else(|error| Err(io::Error::other(error)))),
            () = shutdown.cancelled() => None,
        };
        let stop_by = Instant::now() + process.shutdown_grace;
        // Deliveries are still served: sessions get their entries until each is closed.
        gateway.drain_requested.cancel();
        if tokio::time::timeout_at(stop_by, draining).await.is_err() {
            warn!(gatewayId = %gateway.gateway_id, "the drain did not end in time");
        }
        // What was acked until the last session ended; those who acked it are not to be pushed to.
        gateway.acks.flush_by(Instant::now() + ACKS_LIMIT).await;
        gateway.registry.retire();
        gateway.sockets.close();
        let (left, _said, ()) = tokio::join!(
            timeout(FAREWELL, keeper),
            timeout(GOODBYE_LIMIT, gateway.sockets.wait()),
            // Whoever is still written to is out of its trace.
            gateway.traces.finish(FAREWELL)
        );
        if left.is_err() {
            warn!(gatewayId = %gateway.gateway_id, "the registry was not left in time");
        }
        for handle in &handles {
            handle.stop(true).await;
        }
        match ended {
            Some(ended) => ended,
            None => servers.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        }
    }
}

async fn drain_when_asked(gateway: Data<Gateway>, process: ProcessOptions) {
    gateway.drain_requested.cancelled().await;
    let farewell = FAREWELL.min(process.shutdown_grace / 2);
    let deadline = Instant::now() + (process.shutdown_grace - farewell);
    drain(&gateway, process.drain_window, deadline).await;
}
