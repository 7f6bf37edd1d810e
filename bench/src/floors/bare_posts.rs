//! POSTs over HTTP/2 as fast as they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::effort::Effort;
use crate::meters::rate::Rate;

/// As long as those that the fake grants.
const ACCESS_TOKEN: &str = "Bearer ya29.fake-000000";

/// Posts this body to this URL with so many requests in flight, over one connection, as the push worker's client has
/// one. Nothing else is done: no queue, no database, no outcome but the status.
pub async fn measure(effort: &Effort, url: &str, body: Bytes, in_flight: usize) -> anyhow::Result<Rate> {
    let client = Client::builder().http2_prior_knowledge().no_proxy().build()?;
    let (answered, stopping) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let mut posting = JoinSet::new();
    for _ in 0..in_flight {
        let poster = Poster {
            client: client.clone(),
            url: url.parse()?,
            body: body.clone(),
            answered: answered.clone(),
            stopping: stopping.clone(),
        };
        posting.spawn(poster.run());
    }
    let rate = Rate::of(effort, || answered.load(Ordering::Relaxed), || ()).await;
    stopping.cancel();
    // Each has its last answer: none is left for what is measured next.
    while let Some(ended) = posting.join_next().await {
        ended??;
    }
    Ok(rate)
}

struct Poster {
    client: Client,
    url: Url,
    body: Bytes,
    answered: Arc<AtomicU64>,
    stopping: CancellationToken,
}

impl Poster {
    async fn run(self) -> anyhow::Result<()> {
        let authorization = HeaderValue::from_static(ACCESS_TOKEN);
        while !self.stopping.is_cancelled() {
            let request = self.client.post(self.url.clone()).header(AUTHORIZATION, &authorization);
            let request = request.header(CONTENT_TYPE, "application/json").body(self.body.clone());
            let answer = request.send().await.context("a bare POST is not answered")?;
            if !answer.status().is_success() {
                bail!("a bare POST was answered {}", answer.status());
            }
            answer.bytes().await?;
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
