//! `MGET` on one connection.

use anyhow::{Context, bail};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, Value, cmd};

/// One multiplexed connection; clones share it.
#[derive(Clone)]
pub struct Mget(MultiplexedConnection);

impl Mget {
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        // It waits for as long as an answer takes: nobody here would do anything else.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await;
        Ok(Self(connection.context("Redis does not answer")?))
    }

    /// One question, whose keys are ready; the answer stays the bytes that came. What it leaves out: nobody makes keys of
    /// users, reads what the values say, watches a time-out, or could connect again.
    pub async fn ask(&mut self, keys: &[String]) -> anyhow::Result<()> {
        match cmd("MGET").arg(keys).query_async(&mut self.0).await? {
            Value::Array(values) if values.len() == keys.len() => Ok(()),
            _ => bail!("MGET of {} keys did not answer with as many values", keys.len()),
        }
    }

    /// How many commands the server has executed until now; the one that asks for it is not among them.
    pub async fn commands(&mut self) -> anyhow::Result<u64> {
        let statistics: String = cmd("INFO").arg("commandstats").query_async(&mut self.0).await?;
        let others = statistics.lines().filter(|line| !line.starts_with("cmdstat_info:"));
        let calls = others.filter_map(|line| line.split_once(":calls=")?.1.split(',').next());
        Ok(calls.map(str::parse::<u64>).sum::<Result<_, _>>()?)
    }
}
