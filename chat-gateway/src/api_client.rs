//! What this gateway asks of the api-servers, over a few kept connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use shared_types::api_server_api::{
    ACKS_PATH, Ack, AckRequest, EntriesResponse, MAX_ENTRIES, RESUME_PATH, ResumeRequest, ResumeResponse,
    entries_path,
};
use shared_types::{ChannelId, GatewayId, Seq};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use url::Url;

use crate::jitter::jitter;
use crate::metrics::Metrics;

/// Of one attempt; an api-server that takes longer is in trouble.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Between attempts, doubled each time from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// Another attempt may succeed.
    #[error("no api-server answers")]
    Unavailable,
    /// It would be refused again.
    #[error("the api-server refuses the call")]
    Refused,
}

pub(crate) struct ApiClient {
    /// Who asks, for the log.
    gateway_id: GatewayId,
    client: Client,
    base_url: String,
    internal_secret: String,
    metrics: Arc<Metrics>,
    is_failing: AtomicBool,
}

impl ApiClient {
    pub(crate) fn new(
        gateway_id: GatewayId,
        base_url: &Url,
        internal_secret: &str,
        metrics: Arc<Metrics>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            .build()?;
        Ok(Self {
            gateway_id,
            client,
            base_url: base_url.as_str().trim_end_matches('/').to_owned(),
            internal_secret: internal_secret.to_owned(),
            metrics,
            is_failing: AtomicBool::new(false),
        })
    }

    pub(crate) fn gateway_id(&self) -> &GatewayId {
        &self.gateway_id
    }

    /// One attempt: whoever reports acks keeps them and comes again.
    pub(crate) async fn report_acks(&self, acks: Vec<Ack>) -> Result<(), ApiError> {
        let request = self.request(Method::POST, ACKS_PATH).json(&AckRequest { acks });
        self.attempt(request).await.map(drop)
    }

    /// Tries again for about `limit`.
    pub(crate) async fn resume(
        &self,
        request: &ResumeRequest,
        limit: Duration,
    ) -> Result<ResumeResponse, ApiError> {
        self.persist(limit, || self.request(Method::POST, RESUME_PATH).json(request)).await
    }

    /// A page of the log after `after_seq`, as long as it may be. Tries again for about `limit`.
    pub(crate) async fn entries(
        &self,
        channel_id: ChannelId,
        after_seq: Seq,
        limit: Duration,
    ) -> Result<EntriesResponse, ApiError> {
        let path = format!("{}?afterSeq={after_seq}&limit={MAX_ENTRIES}", entries_path(channel_id));
        self.persist(limit, || self.request(Method::GET, &path)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url)).bearer_auth(&self.internal_secret)
    }

    async fn persist<T: DeserializeOwned>(
        &self,
        limit: Duration,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, ApiError> {
        let give_up_at = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let answered = match self.attempt(request()).await {
                Ok(response) => match response.json().await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => Err(self.failed(&reason(&error))),
                },
                Err(error) => Err(error),
            };
            match answered {
                Err(ApiError::Unavailable) if Instant::now() + pause < give_up_at => {}
                answered => return answered,
            }
            sleep(pause / 2 + jitter(pause / 2)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.failed(&reason(&error)))?;
        match response.status() {
            status if status.is_success() => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    info!(gatewayId = %self.gateway_id, "the api-servers answer again");
                }
                Ok(response)
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(self.failed(&format!("it answered {status}")))
            }
            status => {
                self.failed(&format!("it answered {status}"));
                Err(ApiError::Refused)
            }
        }
    }

    fn failed(&self, reason: &str) -> ApiError {
        self.metrics.api_failures.inc();
        // One line when it begins; the metric tells how long it lasts.
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            warn!(gatewayId = %self.gateway_id, reason, "an api-server does not answer as it should");
        }
        ApiError::Unavailable
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
