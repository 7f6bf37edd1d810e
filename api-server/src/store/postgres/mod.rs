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
mod retention;
mod statements;

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

use super::{Appender, Connections, Store, StoreError};

use append::AppendConnection;
use statements::Pool;
pub use statements::Statements;

/// How long anyone waits for a connection before the answer is `overloaded`.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// A statement that runs longer is stuck behind something; its caller has given up by then.
const STATEMENT_LIMIT: &str = "5s";
/// A lock is held for one short transaction; waiting longer means that its holder hangs.
const LOCK_LIMIT: &str = "3s";
/// The estimate for a plan that looks at the log counts every partition, though execution looks at one: so a look at a
/// few entries would seem to be worth compiling, which takes a tenth of a second.
const JIT: &str = "off";
/// The three of them, where a session of ours is no session of the server's.
const UNNAMED_BEGIN: &str =
    "BEGIN; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '3s'; SET LOCAL jit = off";

/// Migrations may run long, and wait for each other. The lock belongs to the transaction, so that it ends with it, also
/// where a pooler stands between.
const MIGRATING: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
    SELECT pg_advisory_xact_lock(hashtextextended('migrations of Naru', 0))";

/// A handle to the database; clones share the pool, and are one owner of what they leave in the outbox.
#[derive(Clone)]
pub struct Postgres {
    pool: Pool,
    owner: Uuid,
}

impl Postgres {
    /// Checks the URL's form. Connects when it is first used, so that a service can start before its database.
    pub fn new(database_url: &str, max_connections: u32) -> Result<Self, StoreError> {
        Self::with(database_url, max_connections, Statements::Named)
    }

    /// The same, whatever stands before Postgres.
    pub fn with(
        database_url: &str,
        max_connections: u32,
        statements: Statements,
    ) -> Result<Self, StoreError> {
        let options = parse(database_url)?;
        let options = match statements {
            Statements::Named => options.options([
                ("statement_timeout", STATEMENT_LIMIT),
                ("lock_timeout", LOCK_LIMIT),
                ("jit", JIT),
            ]),
            // A pooler refuses options of a session; see `UNNAMED_BEGIN`.
            Statements::Unnamed => options,
        };
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(options);
        Ok(Self { pool: Pool::new(pool, statements), owner: Uuid::now_v7() })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn ping(&self) -> Result<(), StoreError> {
        (&self.pool).execute("SELECT 1").await?;
        Ok(())
    }

    fn appender(&self) -> Box<dyn Appender> {
        Box::new(AppendConnection::new(self.clone()))
    }

    fn connections(&self) -> Option<Connections> {
        Some(self.pool.connections())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// Applies the migrations that are missing, all of them or none. Safe with several callers, who wait for each other.
pub async fn migrate(database_url: &str) -> Result<(), StoreError> {
    migrate_with(database_url, Statements::Named).await
}

/// The same, whatever stands before Postgres.
pub async fn migrate_with(database_url: &str, statements: Statements) -> Result<(), StoreError> {
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    // Those that a newer version has applied are none of our business: a server of this one may be started again
    // while it is being replaced.
    migrator.set_locking(false).set_ignore_missing(true);
    let mut connection = parse(database_url)?.connect().await?;
    let mut transaction = connection.begin().await?;
    transaction.execute(MIGRATING).await?;
    // The migrator's own statements have names. Behind a pooler they would stay for whoever gets the connection next,
    // and may be there from one who was cut off.
    let forgets_names = statements == Statements::Unnamed;
    if forgets_names {
        transaction.execute("DEALLOCATE ALL").await?;
    }
    migrator.run(&mut *transaction).await?;
    if forgets_names {
        transaction.execute("DEALLOCATE ALL").await?;
    }
    transaction.commit().await?;
    Ok(connection.close().await?)
}

fn parse(database_url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(database_url)?
        .application_name("naru-api-server")
        // Numbers come in binary; and a pooler would refuse it.
        .extra_float_digits(None)
        .log_statements(tracing::log::LevelFilter::Off)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1)))
}
