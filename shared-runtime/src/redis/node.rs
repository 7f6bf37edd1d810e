//! One Redis server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{AsyncConnectionConfig, Cmd, ConnectionInfo, Pipeline, RedisError, Value};
use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::{CONNECT_LIMIT, RESPONSE_LIMIT, RedisUnavailable};

/// Commands of all tasks are pipelined over these; more connections only split the batches.
const CONNECTIONS: usize = 4;

/// A few multiplexed connections. The pool makes and checks them; callers share clones, so that nobody
/// waits for a free one and no command is preceded by the pool's ping.
#[derive(Clone)]
pub struct Node(Arc<Shared>);

struct Shared {
    pool: Pool,
    slots: [Mutex<Option<MultiplexedConnection>>; CONNECTIONS],
    next_slot: AtomicUsize,
    runtime: Handle,
    opened: Counter,
}

impl Node {
    /// `runtime` drives its connections, and `opened` counts them.
    pub(super) fn new(info: ConnectionInfo, runtime: Handle, opened: Counter) -> Result<Self, RedisError> {
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
            runtime,
            opened,
        })))
    }

    pub(super) fn opened(&self) -> &Counter {
        &self.0.opened
    }

    /// All commands in one round trip. One that is refused fails all.
    pub(super) async fn run(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisUnavailable> {
        let answers = self.exchange(&pipeline_of(commands)).await?;
        let answers = answers.into_iter().map(|answer| match answer {
            Value::ServerError(error) => Err(RedisUnavailable::Command(error.into())),
            answer => Ok(answer),
        });
        answers.collect()
    }

    /// One round trip; a command that is refused has its error for an answer. A connection that has died is replaced
    /// once.
    pub(super) async fn exchange(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisUnavailable> {
        let slot = &self.0.slots[self.0.next_slot.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let (mut connection, was_cached) = self.connection(slot).await?;
        let error = match connection.req_packed_commands(pipeline, 0, pipeline.len()).await {
            Ok(answers) => return Ok(answers),
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
        let answers = connection.req_packed_commands(pipeline, 0, pipeline.len()).await;
        answers.map_err(RedisUnavailable::Command)
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

pub(super) fn pipeline_of(commands: Vec<Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}
