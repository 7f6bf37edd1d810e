//! The product's writer in this process, with what it cannot be without, as the api-server puts it together.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_server::config::Config;
use api_server::delivery::registry::Registry;
use api_server::delivery::{Delivery, DeliveryParts};
use api_server::metrics::Metrics;
use api_server::outbox::Outbox;
use api_server::push::queue::PushQueue;
use api_server::push::traces::PushTraces;
use api_server::store::{Postgres, Store};
use api_server::writer::Writer;
use prometheus_client::registry::Registry as MetricsRegistry;
use shared_runtime::registry::InProcessRegistry;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::batch_sizes::BatchSizes;

/// With nobody to deliver to, what was stored last is done within moments.
const FINISHING_LIMIT: Duration = Duration::from_secs(10);

/// The writer and the delivery behind it, with a registry that knows of no session.
pub(super) struct Naru {
    pub(super) writer: Writer,
    delivery: Delivery,
    outbox: Outbox,
    store: Arc<dyn Store>,
    metrics: MetricsRegistry,
    background: CancellationToken,
    outbox_keeper: JoinHandle<()>,
}

impl Naru {
    /// With the api-server's own defaults.
    pub(super) fn start(database_url: &str) -> anyhow::Result<Self> {
        let config = Config::try_parse_from(std::iter::empty::<OsString>())?;
        let store: Arc<dyn Store> = Arc::new(Postgres::new(database_url, config.database_connections)?);
        let mut metrics_registry = MetricsRegistry::default();
        let metrics = Metrics::register(&mut metrics_registry);
        let background = CancellationToken::new();
        let outbox = Outbox::default();
        let sessions = Arc::new(InProcessRegistry::default());
        let wake = Arc::new(Notify::new());
        let pushes = PushQueue::start(
            store.clone(),
            wake,
            config.push_fold_window,
            metrics.clone(),
            PushTraces::default(),
            background.clone(),
        );
        let delivery = Delivery::start(DeliveryParts {
            store: store.clone(),
            registry: Arc::new(Registry::new(sessions, metrics.clone())),
            pushes,
            outbox: outbox.clone(),
            metrics: metrics.clone(),
            internal_secret: String::new(),
            ack_timeout: config.ack_timeout,
            max_undelivered: config.max_undelivered as usize,
            max_waiting_sends: config.max_waiting_sends as usize,
        })?;
        let writer = Writer::start(
            store.as_ref(),
            &outbox,
            delivery.clone(),
            metrics,
            config.writers(),
            config.max_waiting_sends,
        );
        let outbox_keeper = tokio::spawn(outbox.clone().keep_removing(store.clone(), background.clone()));
        Ok(Self { writer, delivery, outbox, store, metrics: metrics_registry, background, outbox_keeper })
    }

    /// The batches so far.
    pub(super) fn batch_sizes(&self) -> anyhow::Result<BatchSizes> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics)?;
        BatchSizes::parse(&text)
    }

    /// Stores and delivers what there is, and ends.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.writer.close().await;
        let undelivered = self.delivery.finish(FINISHING_LIMIT).await;
        self.background.cancel();
        self.outbox_keeper.await.context("the outbox is not kept")?;
        self.outbox.leave(self.store.as_ref(), FINISHING_LIMIT).await;
        self.store.close().await;
        if undelivered > 0 {
            bail!("{undelivered} messages to nobody were not done within {FINISHING_LIMIT:?}");
        }
        Ok(())
    }
}
