//! Where clients of a deployment connect, as the deployment itself says.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::population::user_id;
use super::tokens::Tokens;

/// A deployment names one gateway at a time, the least loaded: so many questions learn of several. A load that was told
/// a moment ago is told again, so some gateways may stay unknown: `--gateway` names them.
const QUESTIONS: usize = 32;
/// Of one question.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Connect {
    url: String,
}

/// Asks `POST {api}/connect` several times: all URLs that were told, at least one.
pub async fn ask(api: &str, tokens: &Tokens) -> anyhow::Result<Vec<String>> {
    let client = reqwest::Client::builder().timeout(LIMIT).build()?;
    let user = tokens.users().and_then(|users| users.into_iter().next()).unwrap_or_else(|| user_id(0));
    let token = tokens.of(&user)?;
    let mut urls = BTreeSet::new();
    for _ in 0..QUESTIONS {
        let answer = client.post(format!("{api}/connect")).bearer_auth(&token).send().await;
        let answer = answer.context("the deployment does not answer")?;
        let status = answer.status();
        if status.as_u16() == 429 && !urls.is_empty() {
            break;
        }
        if !status.is_success() {
            bail!("POST /connect answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        urls.insert(answer.json::<Connect>().await.context("POST /connect answered something else")?.url);
    }
    Ok(urls.into_iter().collect())
}
