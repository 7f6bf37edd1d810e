//! Calls a gateway, until it answers or is given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use shared_types::GatewayId;
use shared_types::gateway_api::{DELIVER_PATH, DeliverResponse, TRACES_HEADER};
use tracing::{info, warn};

use super::registry::Registry;
use crate::metrics::Metrics;
use crate::queue_wait::QueueWait;

/// A gateway only enqueues; one that takes longer is in trouble.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Longer than a lease lasts: one that holds its lease and cannot be reached is given up.
const GIVE_UP: Duration = Duration::from_secs(15);

/// What every lane calls through.
pub(super) struct GatewayClient {
    client: reqwest::Client,
    registry: Arc<Registry>,
    metrics: Metrics,
    internal_secret: String,
}

impl GatewayClient {
    pub(super) fn new(
        registry: Arc<Registry>,
        metrics: Metrics,
        internal_secret: String,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            .build()?;
        Ok(Self { client, registry, metrics, internal_secret })
    }

    /// Asks until the gateway answers or is given up, which is when its lease ends. Its sessions may still live
    /// while it restarts its listener or its network heals; only the lease says that they do not.
    /// `wait` is told whether the gateway fails meanwhile; `traces` says what of the body is traced.
    pub(super) async fn deliver(
        &self,
        gateway: &GatewayId,
        wait: &QueueWait,
        body: Bytes,
        traces: Option<HeaderValue>,
    ) -> Option<DeliverResponse> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut attempts = 0_u32;
        while let Some(url) = self.registry.url_of(gateway) {
            attempts += 1;
            match self.try_post(&url, body.clone(), traces.clone()).await {
                Ok(answer) => {
                    wait.works();
                    self.metrics.count_gateway_request("delivered");
                    if attempts > 1 {
                        info!(gatewayId = %gateway, attempts, "the gateway answers again");
                    }
                    return Some(answer);
                }
                Err(reason) => {
                    wait.fails();
                    self.metrics.count_gateway_request("failed");
                    if attempts == 1 {
                        warn!(gatewayId = %gateway, reason, "a gateway does not take deliveries");
                    }
                }
            }
            if started.elapsed() > GIVE_UP {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
        // What the next one of this lane finds is another matter.
        wait.works();
        self.metrics.count_gateway_request("given_up");
        warn!(gatewayId = %gateway, attempts, "gave up on a gateway: its recipients are looked up again");
        None
    }

    async fn try_post(
        &self,
        url: &str,
        body: Bytes,
        traces: Option<HeaderValue>,
    ) -> Result<DeliverResponse, String> {
        let mut request = self
            .client
            .post(format!("{url}{DELIVER_PATH}"))
            .bearer_auth(&self.internal_secret)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(traces) = traces {
            request = request.header(TRACES_HEADER, traces);
        }
        let response = request.send().await.map_err(|error| reason(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        response.json().await.map_err(|error| reason(&error))
    }
}

/// What went wrong, with its causes and without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut words =
        String::from(if error.is_timeout() { "it did not answer in time" } else { "the call failed" });
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
