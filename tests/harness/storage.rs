//! A database of a test's own, of the kind that the edition under test has, and looks behind the API.

use std::path::PathBuf;
use std::sync::Arc;

use api_server::store::{Sqlite, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

use crate::edition::Edition;
use crate::postgres::Postgres;

/// Where a cluster keeps what it keeps.
pub(crate) enum TestStorage {
    Postgres { url: String },
    Sqlite { folder: TempDir },
}

/// A few connections to it, for SQL that both editions understand.
#[derive(Clone)]
pub enum Tables {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl TestStorage {
    pub(crate) async fn fresh() -> Self {
        match Edition::under_test() {
            Edition::Services => Self::Postgres { url: Postgres::shared().await.fresh_database().await },
            Edition::Embedded => Self::Sqlite { folder: tempfile::tempdir().expect("a temporary directory") },
        }
    }

    /// A handle for one api-server: several are several servers to the file, as they are to Postgres.
    pub(crate) async fn open_embedded(&self) -> Arc<dyn Store> {
        let store = Sqlite::open(&self.file()).await;
        Arc::new(store.expect("a file in a temporary directory can be opened"))
    }

    pub(crate) async fn tables(&self) -> Tables {
        match self {
            Self::Postgres { url } => Tables::Postgres(PgPool::connect(url).await.expect("Postgres answers")),
            Self::Sqlite { .. } => {
                let options = SqliteConnectOptions::new().filename(self.file());
                Tables::Sqlite(SqlitePool::connect_with(options).await.expect("the file can be opened"))
            }
        }
    }

    fn file(&self) -> PathBuf {
        match self {
            Self::Postgres { .. } => unreachable!("Postgres keeps no file of ours"),
            Self::Sqlite { folder } => folder.path().join("naru.db"),
        }
    }
}

impl Tables {
    /// One number. Postgres gives a `sum` another type: cast it to BIGINT.
    pub async fn count(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        let number = match self {
            Self::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        };
        number.expect("one number")
    }

    /// Changes rows behind the API.
    pub async fn change(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop),
            Self::Sqlite(pool) => sqlx::query(sql).execute(pool).await.map(drop),
        }
        .expect("the statement runs");
    }

    /// The moment in this many seconds, as a column `…_at` has it, in SQL.
    pub fn moment_in(&self, seconds: i64) -> String {
        match self {
            Self::Postgres(_) => format!("date_trunc('milliseconds', now()) + {seconds} * interval '1 s'"),
            Self::Sqlite(_) => format!("CAST(unixepoch('subsec') * 1000 AS INTEGER) + {seconds} * 1000"),
        }
    }

    /// A moment, as a column `…_at` or `…_until` has it, in milliseconds since 1970, in SQL.
    pub fn milliseconds(&self, moment: &str) -> String {
        match self {
            Self::Postgres(_) => format!("CAST(extract(epoch FROM {moment}) * 1000 AS BIGINT)"),
            Self::Sqlite(_) => moment.to_owned(),
        }
    }

    /// A new id, in SQL.
    pub fn new_id(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "gen_random_uuid()",
            Self::Sqlite(_) => "randomblob(16)",
        }
    }
}

impl From<&PgPool> for Tables {
    fn from(pool: &PgPool) -> Self {
        Self::Postgres(pool.clone())
    }
}

impl From<&Self> for Tables {
    fn from(tables: &Self) -> Self {
        tables.clone()
    }
}
