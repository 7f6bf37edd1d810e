//! Redis through a few multiplexed connections that every task shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError,
};
use deadpool_redis::{Manager, Pool, PoolError, Runtime, Timeouts};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::secret::{OptionError, Secret, secret_from};

/// Commands of all tasks are pipelined over these; more connections only split the batches.
const CONNECTIONS: usize = 4;
/// A healthy Redis answers in well under a millisecond; whoever waits longer should do without it.
const RESPONSE_LIMIT: Duration = Duration::from_secs(1);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Redis")]
pub struct RedisOptions {
    /// Redis, e.g. redis://127.0.0.1:6379/0
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// File to read it from instead
    #[arg(long, env = "REDIS_URL_FILE", value_name = "PATH")]
    redis_url_file: Option<PathBuf>,
    /// What every key begins with; deployments that share a Redis need different ones
    #[arg(long, env = "NARU_REDIS_PREFIX", default_value = "naru", value_name = "WORD")]
    redis_prefix: String,
}

impl RedisOptions {
    pub fn prefix(&self) -> &str {
        &self.redis_prefix
    }

    /// A client for the Redis that is named. Connects when it is first used.
    pub fn client(&self) -> Result<Redis, OptionError> {
        let invalid = |rule: String| OptionError::Invalid { name: "REDIS_URL", rule };
        let url = secret_from("REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_deref())?;
        let url = url.ok_or(OptionError::Missing { name: "REDIS_URL", flag: "--redis-url" })?;
        let url = url.expose();
        if url.contains(',') {
            return Err(invalid("must name one node: Redis Cluster is not served by this version".into()));
        }
        // The URL may hold a password, so the parser's own message is not shown.
        let info = url
            .into_connection_info()
            .map_err(|_| invalid("must look like redis://[user:password@]host:port/[database]".into()))?;
        Redis::new(info).map_err(|error| invalid(error.to_string()))
    }
}

/// Why a question to Redis has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisUnavailable {
    #[error("no connection to Redis")]
    Connect(#[source] PoolError),
    #[error("Redis did not answer")]
    Command(#[source] RedisError),
    #[error("this process is stopping")]
    Stopping,
}

/// A few multiplexed connections. The pool makes and checks them; callers share clones, so that nobody
/// waits for a free one and no command is preceded by the pool's ping.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    pool: Pool,
    slots: [Mutex<Option<MultiplexedConnection>>; CONNECTIONS],
    next_slot: AtomicUsize,
    runtime: Handle,
    opened: Counter,
}

impl Redis {
    fn new(info: impl IntoConnectionInfo) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RESPONSE_LIMIT))
            .set_connection_timeout(Some(CONNECT_LIMIT));
        let pool = Pool::builder(Manager::new_with_config(info, config)?)
            .max_size(CONNECTIONS)
            .timeouts(Timeouts {
                wait: Some(CONNECT_LIMIT),
                create: Some(CONNECT_LIMIT),
                recycle: Some(CONNECT_LIMIT),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| RedisError::from(std::io::Error::other(error)))?;
        Ok(Self(Arc::new(Shared {
            pool,
            slots: std::array::from_fn(|_| Mutex::new(None)),
            next_slot: AtomicUsize::new(0),
            runtime: Handle::current(),
            opened: Counter::default(),
        })))
    }

    /// One round trip. A connection that has died is replaced once; so every pipeline given here must bear
    /// being run twice.
    pub async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, RedisUnavailable> {
        let slot = &self.0.slots[self.0.next_slot.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let (mut connection, was_cached) = self.connection(slot).await?;
        let error = match pipeline.query_async(&mut connection).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if !error.is_unrecoverable_error() && !error.is_timeout() {
            return Err(RedisUnavailable::Command(error));
        }
        *slot.lock().await = None;
        if !was_cached || error.is_timeout() {
            return Err(RedisUnavailable::Command(error));
        }
        let (mut connection, _) = self.connection(slot).await?;
        pipeline.query_async(&mut connection).await.map_err(RedisUnavailable::Command)
    }

    /// How many connections have been made.
    pub fn connections_opened(&self) -> Counter {
        self.0.opened.clone()
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), RedisUnavailable> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.cmd("PING").ignore();
        self.run(&pipeline).await
    }

    async fn connection(
        &self,
        slot: &Mutex<Option<MultiplexedConnection>>,
    ) -> Result<(MultiplexedConnection, bool), RedisUnavailable> {
        let mut slot = slot.lock().await;
        if let Some(connection) = &*slot {
            return Ok((connection.clone(), true));
        }
        // A connection is driven by the runtime that made it. Handlers' runtimes end before the drain does,
        // so connections are made on the one that lives longest.
        let pool = self.0.pool.clone();
        let made = self.0.runtime.spawn(async move { pool.get().await });
        let pooled =
            made.await.map_err(|_| RedisUnavailable::Stopping)?.map_err(RedisUnavailable::Connect)?;
        let connection = (*pooled).clone();
        self.0.opened.inc();
        *slot = Some(connection.clone());
        Ok((connection, false))
    }
}
