//! The public REST API of two api-servers, for callers who expect that it fails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use harness::tokens::token_for;
use reqwest::{Client, Method};
use serde_json::Value;

use crate::random::Random;

/// A client that has waited this long asks elsewhere.
const LIMIT: Duration = Duration::from_secs(4);

pub struct Rest {
    bases: Vec<String>,
    client: Client,
    tokens: Mutex<HashMap<String, String>>,
}

/// A status and a body, or why there is none: `Err` says nothing about whether the call had an effect.
pub type Outcome = Result<(u16, Value), String>;

impl Rest {
    pub fn new(bases: Vec<String>) -> Self {
        let client = Client::builder().timeout(LIMIT).connect_timeout(LIMIT / 2).no_proxy().build();
        Self { bases, client: client.expect("a client without special wishes"), tokens: Mutex::default() }
    }

    pub fn servers(&self) -> usize {
        self.bases.len()
    }

    pub async fn call(
        &self,
        api: usize,
        method: Method,
        path: &str,
        user: &str,
        body: Option<&Value>,
    ) -> Outcome {
        let request =
            self.client.request(method, format!("{}{path}", self.bases[api])).bearer_auth(self.token(user));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.map_err(|error| cause(&error))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(|error| cause(&error))?;
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        let body =
            serde_json::from_slice(&bytes).map_err(|_| format!("{status} with a body that is no JSON"))?;
        Ok((status, body))
    }

    /// Asks one server after the other until the answer is neither missing nor a 5xx; gives up at `deadline`.
    pub async fn persist(
        &self,
        random: &mut Random,
        deadline: tokio::time::Instant,
        (method, path, user, body): (Method, &str, &str, Option<&Value>),
    ) -> Outcome {
        loop {
            let outcome = self.call(random.index(self.servers()), method.clone(), path, user, body).await;
            let is_certain = matches!(&outcome, Ok((status, _)) if *status < 500 && *status != 429);
            if is_certain || tokio::time::Instant::now() >= deadline {
                return outcome;
            }
            tokio::time::sleep(random.millis(100, 500)).await;
        }
    }

    fn token(&self, user: &str) -> String {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(user.to_owned()).or_insert_with(|| token_for(user)).clone()
    }
}

fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
