//! The store on PostgreSQL: one pool, one file per table.

mod append;
mod append_known;
mod channels;
mod cursors;
mod devices;
mod entries;
mod outbox;
mod participants;
mod push_jobs;

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

use super::{Appender, Connections, Store, StoreError};

use append::AppendConnection;

/// How long anyone waits for a connection before the answer is `overloaded`.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// A statement that runs longer is stuck behind something; its caller has given up by then.
const STATEMENT_LIMIT: &str = "5s";
/// A lock is held for one short transaction; waiting longer means that its holder hangs.
const LOCK_LIMIT: &str = "3s";

/// A handle to the database; clones share the pool, and are one owner of what they leave in the outbox.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    owner: Uuid,
}

impl Postgres {
    /// Checks the URL's form. Connects when it is first used, so that a service can start before its database.
    pub fn new(database_url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(connect_options(database_url)?);
        Ok(Self { pool, owner: Uuid::now_v7() })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.execute("SELECT 1").await?;
        Ok(())
    }

    fn appender(&self) -> Box<dyn Appender> {
        Box::new(AppendConnection::new(self.clone()))
    }

    fn connections(&self) -> Option<Connections> {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        Some(Connections { idle, used: self.pool.size().saturating_sub(idle) })
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// Applies the migrations that are missing. Safe with several callers: the database's own lock makes them wait
/// for each other. What a later release has applied is left alone: while it is rolled out, or after it was rolled back,
/// a server of this one has to start.
pub async fn migrate(database_url: &str) -> Result<(), StoreError> {
    // Migrations may run long, so the limits of ordinary statements do not apply.
    let mut connection = parse(database_url)?.connect().await?;
    let mut migrations = sqlx::migrate!("../migrations/postgres");
    migrations.set_ignore_missing(true);
    migrations.run(&mut connection).await?;
    Ok(connection.close().await?)
}

fn connect_options(database_url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(parse(database_url)?.options([("statement_timeout", STATEMENT_LIMIT), ("lock_timeout", LOCK_LIMIT)]))
}

fn parse(database_url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(database_url)?
        .application_name("naru-api-server")
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1)))
}
