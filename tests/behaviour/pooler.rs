//! A pooler in transaction mode between api-servers and Postgres: no session lasts longer than a transaction.

use std::collections::BTreeSet;
use std::fs;

use api_server::store::{Statements, StoreError, migrate, migrate_with};
use futures_util::future::{join_all, try_join_all};
use harness::cluster::Cluster;
use harness::pgbouncer::PgBouncer;
use harness::postgres::Postgres;
use harness::wait::eventually;
use serde_json::json;
use sqlx::PgPool;

use crate::documents::root;
use crate::whole_cluster::{at_rest, seq};

/// Server connections that all of the services' clients share.
const POOL_SIZE: u32 = 2;

#[tokio::test]
async fn everything_works_through_a_pooler_and_goes_on_when_its_connections_have_been_cut() {
    let postgres = Postgres::shared().await;
    let direct = postgres.empty_database().await;
    let bouncer = PgBouncer::before(postgres, POOL_SIZE).await;
    let cluster = Cluster::builder()
        .gateways(1)
        .database_url(bouncer.through(&direct))
        .api_flag("--database-prepared-statements=false")
        .start()
        .await;
    let database = PgPool::connect(&direct).await.unwrap();
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    api.register_device("carol", "phone", "phone-of-carol").await;
    let mut bob = cluster.connect(0, "bob").await;

    // Through both servers at once: each has several connections to the pooler, and there are two behind it.
    let send = async |n: usize| {
        let answer = cluster.api(n % 2).send_as("alice", &channel, &format!("{n}"), &format!("c-{n}")).await;
        seq(&answer.expect(201))
    };
    let mut sent: Vec<i64> = join_all((0..40).map(send)).await;
    sent.sort_unstable();
    assert_eq!(sent, (1..=40).collect::<Vec<_>>());
    for seq_of_next in 1..=40 {
        assert_eq!(seq(&bob.next_entry().await), seq_of_next);
    }
    api.send_as("alice", &channel, "7", "c-7").await.expect(200);
    api.post(&format!("/channels/{channel}/members"), "alice", json!({"userIds": ["dave"]}))
        .await
        .expect(200);
    api.put(&format!("/channels/{channel}/read"), "bob", json!({"seq": 40})).await.expect(200);
    let path = format!("/channels/{channel}/messages?limit=200");
    let page = api.get(&path, "dave").await.expect(200);
    assert_eq!(page["entries"].as_array().unwrap().len(), 41);
    eventually("carol is told", async || !cluster.fcm.accepted_by("phone-of-carol").is_empty()).await;
    at_rest(&database).await;
    let ours = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND application_name = 'naru-api-server'";
    let behind: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) {ours}")))
        .fetch_one(&database)
        .await
        .unwrap();
    assert!((1..=i64::from(POOL_SIZE)).contains(&behind), "{behind}");

    sqlx::query(sqlx::AssertSqlSafe(format!("SELECT pg_terminate_backend(pid) {ours}")))
        .execute(&database)
        .await
        .unwrap();
    let mut tries = 0;
    eventually("messages are stored again", async || {
        tries += 1;
        api.send_as("alice", &channel, "after", "after").await.status == 201
    })
    .await;
    eventually("the last of them comes", async || bob.next_entry().await["content"] == "after").await;
    let log = api.get(&path, "alice").await.expect(200);
    let seqs: BTreeSet<i64> = log["entries"].as_array().unwrap().iter().map(seq).collect();
    assert_eq!(seqs, (1..=42).collect(), "{tries} tries");
}

#[tokio::test]
async fn several_migrate_at_once_through_a_pooler_and_again_over_the_connections_that_they_leave() {
    let postgres = Postgres::shared().await;
    let direct = postgres.empty_database().await;
    let bouncer = PgBouncer::before(postgres, POOL_SIZE).await;
    let url = bouncer.through(&direct);
    try_join_all((0..4).map(|_| migrate_with(&url, Statements::Unnamed))).await.unwrap();
    for _ in 0..3 {
        migrate_with(&url, Statements::Unnamed).await.unwrap();
    }
    let database = PgPool::connect(&direct).await.unwrap();
    let applied: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&database).await.unwrap();
    let there_are = fs::read_dir(root().join("migrations/postgres")).unwrap().count();
    assert_eq!(usize::try_from(applied).unwrap(), there_are);
}

#[tokio::test]
async fn a_server_starts_on_the_database_of_a_later_version_and_not_on_one_whose_migrations_were_others() {
    let url = Postgres::shared().await.fresh_database().await;
    let database = PgPool::connect(&url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'of a later version', true, '', 0)";
    sqlx::query(later).execute(&database).await.unwrap();
    migrate(&url).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1")
        .execute(&database)
        .await
        .unwrap();
    let refused: StoreError = migrate(&url).await.unwrap_err();
    assert!(refused.to_string().contains("migrat"), "{refused}");
}
