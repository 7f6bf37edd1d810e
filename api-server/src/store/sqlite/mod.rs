//! The store on SQLite, for the embedded edition: one file, one process, one file of code per table.

mod append;
mod channels;
mod cursors;
mod devices;
mod entries;
mod ids;
mod moments;
mod outbox;
mod participants;
mod push_jobs;
mod retention;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Executor, Sqlite as SqliteDriver, Transaction};
use uuid::Uuid;

use super::{Appender, Connections, Store, StoreError};

use append::FileAppender;

/// How long anyone waits for a connection before the answer is `overloaded`.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
/// How long SQLite itself waits for a lock: only another program with the file open can hold one against us.
const BUSY_LIMIT: Duration = Duration::from_secs(3);
/// Readers do not wait for the writer nor for each other; each one costs a thread.
const READERS: u32 = 4;
/// What the log of changes may keep on disk after a burst has made it grow.
const JOURNAL_LIMIT_BYTES: &str = "67108864";
/// Pages (of 4 KiB) after which the log of changes is folded into the file. A busy page is then written there once for
/// many batches: batches of 256 to 64 channels went from 13,000 messages a second, with the default of 1,000, to 24,000.
const CHECKPOINT_PAGES: &str = "8192";
/// Pages that the writer keeps in memory, in KiB as SQLite counts them when negative.
const WRITER_CACHE: &str = "-16384";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

/// A handle to the file; clones share the connections, and are one owner of what they leave in the outbox.
///
/// SQLite has one writer at a time. Here that is one connection, for which everybody waits in a fair queue inside
/// the process, instead of several that wait for the file's lock by sleeping and asking again.
#[derive(Clone)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    owner: Uuid,
}

impl Sqlite {
    /// Opens the file, which is made if it is not there, in a folder that is; applies the migrations that are missing.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY_LIMIT)
            .log_statements(tracing::log::LevelFilter::Off)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(1));
        let writing = options
            .clone()
            .create_if_missing(true)
            // Readers go on while the writer writes.
            .journal_mode(SqliteJournalMode::Wal)
            // Each commit is on the disk before it is answered. NORMAL, which many take together with WAL, would
            // keep the file whole after a power cut, and lose the last messages that were answered with 201.
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", JOURNAL_LIMIT_BYTES)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("cache_size", WRITER_CACHE)
            .thread_name(|_| "sqlite-writer".to_owned());
        let writer = pool(1).connect_with(writing).await?;
        // The file, its tables and its mode are there before anyone reads.
        MIGRATIONS.run(&writer).await?;
        let reading = options.read_only(true).thread_name(|n| format!("sqlite-reader-{n}"));
        let readers = pool(READERS).connect_with(reading).await?;
        Ok(Self { writer, readers, owner: Uuid::now_v7() })
    }

    /// A transaction that may write from its first statement on: what it reads, nobody changes until it ends.
    async fn begin_write(&self) -> Result<Transaction<'static, SqliteDriver>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn ping(&self) -> Result<(), StoreError> {
        // Reads the file, unlike `SELECT 1`.
        self.readers.fetch_optional("SELECT 1 FROM channels LIMIT 1").await?;
        Ok(())
    }

    fn appender(&self) -> Box<dyn Appender> {
        Box::new(FileAppender::new(self.clone()))
    }

    fn connections(&self) -> Option<Connections> {
        None
    }

    async fn close(&self) {
        // The last connection to close folds the log of changes into the file, which only a writer can.
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Connections are a file of ours, not a network: they neither age nor die while they are idle.
fn pool(connections: u32) -> PoolOptions<SqliteDriver> {
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_clean(connection)))
}

/// Whether a connection that comes back may serve the next one. When the disk is full or fails, SQLite ends the
/// transaction by itself; the driver goes on counting it as open, and would refuse every later one.
async fn is_clean(connection: &mut sqlx::SqliteConnection) -> Result<bool, sqlx::Error> {
    // A rollback may still be on its way to the connection's thread: this comes behind it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ChannelStore, Draft, OutboxId, Role, Verdict};
    use shared_types::{ChannelId, EntryId};

    fn draft(channel_id: ChannelId, content: &str) -> Draft {
        Draft {
            entry_id: EntryId::generate(),
            channel_id,
            sender_id: "alice".parse().unwrap(),
            kind: "text".into(),
            content: content.into(),
            metadata: None,
            client_message_id: None,
            known_membership: None,
        }
    }

    fn new_folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("naru-{}", EntryId::generate()));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn commits_are_on_the_disk_before_they_are_answered_and_readers_cannot_write() {
        let folder = new_folder();
        let store = Sqlite::open(&folder.join("naru.db")).await.unwrap();
        let pragma = async |name: &str| -> String {
            let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&store.writer).await.unwrap()
        };
        assert_eq!(pragma("journal_mode").await, "wal");
        // 2 is FULL.
        assert_eq!((pragma("synchronous").await, pragma("foreign_keys").await), ("2".into(), "1".into()));
        let written = store.readers.execute("DELETE FROM channels").await.unwrap_err();
        assert!(written.to_string().contains("readonly"), "{written}");
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ends_by_itself_costs_a_connection_and_no_more() {
        let folder = new_folder();
        let store = Sqlite::open(&folder.join("naru.db")).await.unwrap();
        let channel = store.create_group(None, &[("alice".parse().unwrap(), Role::Owner)]).await.unwrap();
        // Stands for a disk that fails; gone with the connection.
        let failing = "CREATE TEMP TRIGGER failing BEFORE INSERT ON entries WHEN new.content = 'bad'
                       BEGIN SELECT RAISE(ROLLBACK, 'the disk fails'); END";
        store.writer.execute(failing).await.unwrap();
        let mut appender = store.appender();

        appender
            .append(OutboxId::generate(), &[&draft(channel, "good"), &draft(channel, "bad")])
            .await
            .unwrap_err();

        for seq in 1..=3 {
            let stored = appender.append(OutboxId::generate(), &[&draft(channel, "bad")]).await.unwrap();
            assert!(
                matches!(&stored[0], Verdict::Stored { seq: stored, .. } if *stored == seq),
                "{stored:?}"
            );
        }
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }
}
