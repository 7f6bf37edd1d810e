//! What a service tells Prometheus.

use anyhow::Context;

use crate::site::cluster::Service;

/// The sample of this name, labels and all as in the text; 0 while there is none.
pub async fn sample(service: &Service, name: &str) -> anyhow::Result<f64> {
    let answer = reqwest::get(format!("{}/metrics", service.internal_url)).await?.error_for_status()?;
    let text = answer.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| value.parse().with_context(|| format!("{name} is no number")))
}
