//! From ended spans to the collector: a bounded queue and one task. Nobody who records a span ever waits.

use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::secret::OptionError;

/// Spans that may wait, about half a kilobyte each. They are what a trace can do without: beyond it they are dropped.
const QUEUE: usize = 4_096;
/// Spans of one request to the collector.
const MAX_BATCH: usize = 512;
/// The spans of one message end within moments of each other and go together.
const GATHERING: Duration = Duration::from_millis(200);
/// For one lot, with the exporter's own repeats. What waits meanwhile waits in the queue.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A process that stops waits no longer for its collector.
const LONGEST_FINISH: Duration = Duration::from_secs(2);
/// Between two complaints about a collector that is away.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Where spans are left.
pub(super) struct Recorder {
    queue: mpsc::Sender<SpanData>,
    dropped: Counter,
    scope: InstrumentationScope,
}

impl Recorder {
    pub(super) fn record(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }
}

/// The task that sends them. Ends after [`Exporter::finish`], or when the last recorder is dropped.
pub(super) struct Exporter {
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporter {
    pub(super) fn start(
        collector: &Url,
        resource: &Resource,
        dropped: Counter,
    ) -> Result<(Recorder, Self), OptionError> {
        let invalid = |error: &dyn std::error::Error| OptionError::Invalid {
            name: "NARU_OTLP_ENDPOINT",
            rule: format!("cannot be used: {error}"),
        };
        let client =
            reqwest::Client::builder().no_proxy().timeout(EXPORT_LIMIT).connect_timeout(CONNECT_LIMIT);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client.build().map_err(|error| invalid(&error))?)
            .with_endpoint(collector.as_str())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_LIMIT)
            .build()
            .map_err(|error| invalid(&error))?;
        exporter.set_resource(resource);
        let (queue, spans) = mpsc::channel(QUEUE);
        let stopping = CancellationToken::new();
        let sending =
            Sending { exporter, dropped: dropped.clone(), stopping: stopping.clone(), complained_at: None };
        let task = tokio::spawn(sending.run(spans));
        let recorder = Recorder { queue, dropped, scope: InstrumentationScope::builder("naru").build() };
        Ok((recorder, Self { stopping, task }))
    }

    pub(super) async fn finish(mut self, limit: Duration) {
        self.stopping.cancel();
        if timeout(limit.min(LONGEST_FINISH), &mut self.task).await.is_err() {
            self.task.abort();
            warn!("stopped before the collector had taken the last spans");
        }
    }
}

struct Sending {
    exporter: SpanExporter,
    dropped: Counter,
    stopping: CancellationToken,
    /// `None` while the collector takes what it is sent.
    complained_at: Option<Instant>,
}

impl Sending {
    async fn run(mut self, mut spans: mpsc::Receiver<SpanData>) {
        let stopping = self.stopping.clone();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                // What is in the queue when it closes is still sent.
                () = stopping.cancelled(), if !spans.is_closed() => {
                    spans.close();
                    continue;
                }
                taken = spans.recv_many(&mut batch, MAX_BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            if batch.len() < MAX_BATCH {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = sleep(GATHERING) => {}
                }
                while batch.len() < MAX_BATCH
                    && let Ok(span) = spans.try_recv()
                {
                    batch.push(span);
                }
            }
            self.send(batch).await;
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => {
                if self.complained_at.take().is_some() {
                    info!("the collector takes traces again");
                }
            }
            Err(error) => {
                self.dropped.inc_by(spans as u64);
                if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_PAUSE) {
                    self.complained_at = Some(Instant::now());
                    warn!(%error, spans, "the collector does not take traces; they are dropped");
                }
            }
        }
    }
}
