//! Builds the service and runs it until it is told to stop: the same in production, in tests and in one process.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};
use prometheus_client::registry::Registry as MetricsRegistry;
use shared_runtime::metrics::register_redis;
use shared_runtime::ops::Draining;
use shared_runtime::origins::parse_origins;
use shared_runtime::registry::{RedisRegistry, SessionRegistry};
use shared_runtime::request_id::identify;
use shared_runtime::secret::OptionError;
use shared_runtime::tokens::CachedVerifier;
use shared_runtime::traces::{Sampling, Service, Traces};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::body::BodyLimit;
use crate::config::Config;
use crate::delivery::registry::Registry;
use crate::delivery::{Delivery, DeliveryParts};
use crate::handlers::internal::MAX_INTERNAL_BODY_BYTES;
use crate::handlers::try_out::{self, TryOut};
use crate::limits::SendLimits;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::push::PushSender;
use crate::push::fcm::{FcmSender, FcmSetupError};
use crate::push::log::LogSender;
use crate::push::queue::PushQueue;
use crate::push::traces::PushTraces;
use crate::push::worker::PushWorker;
use crate::retention::Retention;
use crate::routes::NoOrigins;
use crate::state::State;
use crate::store::{Postgres, Store, StoreError, migrate_with};
use crate::sweeper::Sweeper;
use crate::worker_lag::Workers;
use crate::writer::Writer;
use crate::{page, routes};

/// A slow client may take this long to send its request's head.
const REQUEST_HEAD_LIMIT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Two small statements. Without them others have to wait until our lease ends.
const LEAVING_LIMIT: Duration = Duration::from_millis(500);
/// Connections that each worker holds; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// Bound by the caller, who thereby owns the ports.
pub struct Listeners {
    pub public: TcpListener,
    pub internal: TcpListener,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("DATABASE_URL: {0}")]
    Store(#[from] StoreError),
    #[error("NARU_FCM_SERVICE_ACCOUNT: {0}")]
    Fcm(#[from] FcmSetupError),
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// A service that is ready to run.
pub struct Application {
    state: web::Data<State>,
    public: Server,
    internal: Server,
    traces: Traces,
    /// Ends what works in the background, after the last request.
    background: CancellationToken,
    push_worker: JoinHandle<()>,
    outbox_keeper: JoinHandle<()>,
    grace: Duration,
}

/// What the service keeps things in. The embedded edition brings its own; nothing else differs.
pub struct Backends {
    pub store: Arc<dyn Store>,
    pub sessions: Arc<dyn SessionRegistry>,
}

/// Connects everything. Applies the migrations unless told not to; apart from that neither Postgres nor Redis
/// need be there yet.
pub async fn build(config: Config, listeners: Listeners) -> Result<Application, StartupError> {
    config.check()?;
    // A wrong service account is told before the database is waited for.
    let sender = push_sender(&config)?;
    let sessions = RedisRegistry::new(config.redis.client()?, config.redis.prefix());
    let database_url = config.database.url()?;
    let statements = config.database.statements();
    if !config.no_migrate {
        migrate_with(database_url.expose(), statements).await?;
    }
    let store = Postgres::with(database_url.expose(), config.database_connections, statements)?;
    assemble(&config, listeners, Backends { store: Arc::new(store), sessions: Arc::new(sessions) }, sender)
}

/// The same on what is there already; the options of Postgres and Redis are not looked at.
pub fn build_on(
    config: &Config,
    listeners: Listeners,
    backends: Backends,
) -> Result<Application, StartupError> {
    config.check()?;
    assemble(config, listeners, backends, push_sender(config)?)
}

fn push_sender(config: &Config) -> Result<Arc<dyn PushSender>, FcmSetupError> {
    Ok(match config.fcm() {
        Some(options) => Arc::new(FcmSender::new(&options)?),
        None => Arc::new(LogSender),
    })
}

fn assemble(
    config: &Config,
    listeners: Listeners,
    backends: Backends,
    sender: Arc<dyn PushSender>,
) -> Result<Application, StartupError> {
    let Backends { store, sessions } = backends;
    let origins = parse_origins(&config.allowed_origins)?;
    let tokens = CachedVerifier::new(config.tokens.verifier()?);
    let internal_secret = config.internal.resolve()?;

    let mut metrics_registry = MetricsRegistry::default();
    let metrics = Metrics::register(&mut metrics_registry);
    let redis_connections = sessions.connections_opened();
    register_redis(metrics_registry.sub_registry_with_prefix("naru_api"), redis_connections);
    let service = Service {
        name: "naru-api-server",
        version: env!("CARGO_PKG_VERSION"),
        instance_id: &Uuid::now_v7().to_string(),
    };
    let traces = Traces::start(&config.traces, &service, metrics.trace_spans_dropped.clone())?;
    let push_traces = PushTraces::new(&traces);
    let background = CancellationToken::new();
    let draining = Draining::default();
    let registry = Arc::new(Registry::new(sessions, metrics.clone()));
    tokio::spawn(registry.clone().keep_leases_fresh(background.clone()));

    let wake = Arc::new(Notify::new());
    let live_servers = Arc::new(AtomicU32::new(0));
    let worker = PushWorker {
        store: store.clone(),
        sender,
        metrics: metrics.clone(),
        hide_content: config.push_hide_content,
        in_flight: config.push_in_flight.into(),
        fold_window: config.push_fold_window,
        fault_pause: config.push_fault_pause,
        quotas: config.push_quotas(),
        live_servers: live_servers.clone(),
        traces: push_traces.clone(),
    };
    let push_worker = tokio::spawn(worker.run(wake.clone(), background.clone()));
    let fold_window = config.push_fold_window;
    let pushes =
        PushQueue::start(store.clone(), wake, fold_window, metrics.clone(), push_traces, background.clone());
    let outbox = Outbox::default();
    let delivery = Delivery::start(DeliveryParts {
        store: store.clone(),
        registry: registry.clone(),
        pushes,
        outbox: outbox.clone(),
        metrics: metrics.clone(),
        internal_secret: internal_secret.expose().to_owned(),
        ack_timeout: config.ack_timeout,
        max_undelivered: config.max_undelivered as usize,
        max_waiting_sends: config.max_waiting_sends as usize,
    })?;
    let writer = Writer::start(
        store.as_ref(),
        &outbox,
        delivery.clone(),
        metrics.clone(),
        config.writers(),
        config.max_waiting_sends,
    );
    let sweeper = Sweeper {
        store: store.clone(),
        outbox: outbox.clone(),
        delivery: delivery.clone(),
        metrics: metrics.clone(),
        draining: draining.clone(),
        live_servers,
    };
    let removing = outbox.clone().keep_removing(store.clone(), background.clone());
    let sweeping = sweeper.run(background.clone());
    let outbox_keeper = tokio::spawn(async move {
        tokio::join!(removing, sweeping);
    });
    if let Some(kept_for) = config.retention {
        let retention = Retention { store: store.clone(), metrics: metrics.clone(), kept_for };
        tokio::spawn(retention.run(background.clone()));
    }
    let state = web::Data::new(State {
        store,
        outbox,
        writer,
        delivery,
        registry,
        tokens,
        internal_secret,
        limits: SendLimits::new(config.send_rate, config.send_burst),
        metrics,
        metrics_registry: Arc::new(metrics_registry),
        draining,
        sampling: Sampling::new(&traces, &config.sampling),
    });

    let (public, internal) = servers(config, origins, listeners, &state)?;
    let grace = config.shutdown_grace;
    Ok(Application { state, public, internal, traces, background, push_worker, outbox_keeper, grace })
}

fn servers(
    config: &Config,
    origins: Vec<String>,
    listeners: Listeners,
    state: &web::Data<State>,
) -> Result<(Server, Server), StartupError> {
    let (public_state, internal_state) = (state.clone(), state.clone());
    let grace_seconds = config.shutdown_grace.as_secs();
    let has_page = config.web;
    let try_out = config.try_out.then(|| TryOut::new(config.tokens.clone())).transpose()?.map(web::Data::new);
    let workers = Workers::new(state.metrics.http_worker_turn.clone());
    let public = HttpServer::new(move || {
        App::new()
            .app_data(public_state.clone())
            .app_data(workers.worker())
            .configure(|services| {
                if has_page {
                    page::routes(services);
                }
                if let Some(try_out) = &try_out {
                    services.app_data(try_out.clone());
                    try_out::routes(services);
                }
                if origins.is_empty() {
                    services.app_data(NoOrigins);
                }
            })
            .wrap(Condition::new(!origins.is_empty(), routes::cors(&origins)))
            .wrap(from_fn(routes::measure))
            .wrap(from_fn(identify))
            .configure(routes::public)
    })
    .client_request_timeout(REQUEST_HEAD_LIMIT)
    .client_disconnect_timeout(Duration::ZERO)
    .keep_alive(KEEP_ALIVE)
    .max_connections(MAX_CONNECTIONS)
    .shutdown_timeout(grace_seconds)
    .disable_signals();
    let public = match config.http_workers {
        Some(workers) => public.workers(workers.into()),
        None => public,
    };
    let internal = HttpServer::new(move || {
        App::new()
            .app_data(internal_state.clone())
            .app_data(BodyLimit(MAX_INTERNAL_BODY_BYTES))
            .wrap(from_fn(identify))
            .configure(routes::internal)
    })
    // One for the gateways' calls, which wait for the database most of their time, and one more so that a large body
    // does not hold up a probe.
    .workers(2)
    .shutdown_timeout(1)
    .disable_signals();
    Ok((public.listen(listeners.public)?.run(), internal.listen(listeners.internal)?.run()))
}

impl Application {
    /// Serves until `shutdown`, then finishes what was begun: not ready, no new request, what waits is stored,
    /// what is stored is delivered, within the grace period.
    pub async fn run_until(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let nobody_waits = CancellationToken::new();
        nobody_waits.cancel();
        self.run_with_gateway_until(shutdown, CancellationToken::new(), nobody_waits).await
    }

    /// As [`run_until`](Self::run_until), for a gateway that stops together with this server: cancels `is_delivered`
    /// when the gateway will get nothing more from here, and then, within the grace period, takes what it still has to
    /// report until `gateway_has_stopped`.
    pub async fn run_with_gateway_until(
        self,
        shutdown: CancellationToken,
        is_delivered: CancellationToken,
        gateway_has_stopped: CancellationToken,
    ) -> std::io::Result<()> {
        let Self { state, public, internal, traces, background, push_worker, outbox_keeper, grace } = self;
        let (public_handle, internal_handle) = (public.handle(), internal.handle());
        let public = tokio::spawn(public);
        let internal = tokio::spawn(internal);
        shutdown.cancelled().await;

        let deadline = Instant::now() + grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        state.draining.begin();
        stop(&public_handle, left()).await;
        state.writer.close().await;
        let undelivered = state.delivery.finish(left()).await;
        if undelivered > 0 {
            warn!(entries = undelivered, "stopped before everything was delivered; the outbox keeps it");
        }
        is_delivered.cancel();
        // Acks of the last moment: they cancel pushes, so the worker goes after them. In vain is no harm.
        let _reported = tokio::time::timeout(left(), gateway_has_stopped.cancelled()).await;
        background.cancel();
        if tokio::time::timeout(left(), push_worker).await.is_err() {
            warn!("stopped with pushes in flight; their jobs are due again when their lease ends");
        }
        // What is left, and what still waited for its time, is another server's from now on. After the last heartbeat,
        // which would say again that it is ours.
        let _kept = tokio::time::timeout(left().max(LEAVING_LIMIT), outbox_keeper).await;
        state.outbox.leave(state.store.as_ref(), left().max(LEAVING_LIMIT)).await;
        traces.finish(left()).await;
        // Last, so that the probe can say until the end that the service is draining.
        internal_handle.stop(false).await;
        state.store.close().await;
        info!("stopped");
        for server in [public, internal] {
            server.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    }
}

/// Lets requests that were begun finish, within the grace period.
async fn stop(server: &ServerHandle, limit: Duration) {
    if tokio::time::timeout(limit, server.stop(true)).await.is_err() {
        server.stop(false).await;
    }
}
