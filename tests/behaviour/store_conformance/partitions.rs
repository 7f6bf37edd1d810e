//! The log in partitions: whoever asks for some channels looks at theirs and at no other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_server::store::{OutboxId, Postgres as PostgresStore, Window};
use harness::postgres::Postgres;
use harness::wait::eventually;
use shared_types::ChannelId;
use sqlx::PgPool;

use super::push_jobs::{AT_ONCE, LONG, enqueue};
use super::{AnyStore, draft, group, user};

/// How often each partition has been looked at, where it has.
async fn scans(tables: &PgPool) -> BTreeMap<String, i64> {
    let scans: Vec<(String, i64)> = sqlx::query_as(
        "SELECT relname::text, idx_scan + seq_scan FROM pg_stat_user_tables
         WHERE relname LIKE 'entries\\_%' AND idx_scan + seq_scan > 0",
    )
    .fetch_all(tables)
    .await
    .unwrap();
    scans.into_iter().collect()
}

async fn partition_of(tables: &PgPool, channel: ChannelId) -> String {
    let sql = "SELECT tableoid::regclass::text FROM entries WHERE channel_id = $1 LIMIT 1";
    sqlx::query_scalar(sql).bind(channel.0).fetch_one(tables).await.unwrap()
}

#[tokio::test]
async fn the_log_has_eight_partitions_and_channels_lie_in_all_of_them() {
    let url = Postgres::shared().await.fresh_database().await;
    let store: AnyStore = Arc::new(PostgresStore::new(&url, 2).unwrap());
    for _ in 0..4 {
        let mut drafts = Vec::new();
        for _ in 0..32 {
            drafts.push(draft(group(&store, &["alice"]).await, "alice", "hi", None));
        }
        store.appender().append(OutboxId::generate(), &drafts.iter().collect::<Vec<_>>()).await.unwrap();
    }
    let tables = PgPool::connect(&url).await.unwrap();
    let used: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT tableoid) FROM entries").fetch_one(&tables).await.unwrap();
    assert_eq!(used, 8);
}

#[tokio::test]
async fn whatever_asks_for_a_channel_looks_at_its_partition_alone() {
    let url = Postgres::shared().await.fresh_database().await;
    // One connection: its statements are planned for any value after the fifth time, and must be right then too.
    let store: AnyStore = Arc::new(PostgresStore::new(&url, 1).unwrap());
    let channel = super::push_jobs::messages(&store, 3).await;
    enqueue(&store, channel, [1, 2, 3]).await;
    for _ in 0..8 {
        for window in [Window::Latest, Window::Before(3), Window::After(1), Window::Around(2)] {
            store.history(channel, window, 5).await.unwrap();
        }
        store.sync(&user("bob"), &HashMap::from([(channel, 1)]), 5).await.unwrap();
        store.channels(&user("bob"), None, 5).await.unwrap();
        store.channel(channel, &user("bob"), false).await.unwrap();
        store.lease_pushes(1, AT_ONCE).await.unwrap();
        store.adopt_outbox(&[], AT_ONCE, 9).await.unwrap();
        let repeats = [draft(channel, "alice", "again", Some("c-1"))];
        store.appender().append(OutboxId::generate(), &repeats.iter().collect::<Vec<_>>()).await.unwrap();
        store.remove_old_entries(LONG, 5, LONG, AT_ONCE).await.unwrap();
    }
    // A connection tells what it has looked at when it ends.
    store.close().await;
    let tables = PgPool::connect(&url).await.unwrap();
    eventually("the statistics are there", async || !scans(&tables).await.is_empty()).await;
    let looked_at = scans(&tables).await;
    let partition = partition_of(&tables, channel).await;
    assert_eq!(looked_at.keys().collect::<Vec<_>>(), [&partition], "{looked_at:?}");
}
