//! What is nobody's fault and happens all the same: a full disk, a clock that is set back.

use harness::cluster::Cluster;
use harness::postgres::Postgres;
use serde_json::{Value, json};
use shared_types::Timestamp;
use sqlx::{Connection, Executor, PgConnection};

use crate::whole_cluster::{count, expect_overloaded, settled};

/// Enough for an empty database (8 MB) and some messages.
const DISK_MEBIBYTES: u32 = 16;
const DISK_FULL: &str = "53100";

async fn fill_the_disk(database: &mut PgConnection) {
    database.execute("CREATE TABLE filler (bytes text)").await.expect("there is room for an empty table");
    loop {
        // Random, or it would be compressed; small, so that no free page is left when one of them does not fit.
        let filled = database
            .execute("INSERT INTO filler SELECT gen_random_uuid()::text FROM generate_series(1, 200)")
            .await;
        match filled {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(DISK_FULL) => return,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn while_the_databases_disk_is_full_sends_are_refused_and_reads_answered_and_then_it_goes_on() {
    let postgres = Postgres::start_with_small_disk(DISK_MEBIBYTES).await;
    let database_url = postgres.database_on_small_disk().await;
    let cluster = Cluster::builder().apis(1).gateways(0).database_url(&database_url).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let mut database = PgConnection::connect(&database_url).await.expect("PostgreSQL answers");

    fill_the_disk(&mut database).await;
    // What is left of pages that were begun takes a few more.
    let long = "x".repeat(4_096);
    let mut stored = 0;
    let refused = loop {
        let answer = api.try_send("alice", &channel, &long).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1_000, "the disk is not full");
    };

    assert!(refused.headers.contains_key("retry-after"));
    expect_overloaded(refused);
    let history = api.get(&format!("/channels/{channel}/messages"), "bob").await.expect(200);
    assert_eq!(history["entries"].as_array().map(Vec::len), Some(stored.min(50)));
    let counted = cluster.database().await;
    assert_eq!(count(&counted, "SELECT count(*) FROM entries").await, stored as i64);
    assert_eq!(count(&counted, "SELECT last_seq FROM channels").await, stored as i64, "nothing is half done");

    database.execute("DROP TABLE filler").await.expect("what fills the disk can go");
    let next = api.send("alice", &channel, "there is room again").await;
    assert_eq!(next["seq"], json!(stored + 1));
}

#[tokio::test]
async fn while_the_clock_is_a_day_behind_what_it_wrote_sends_go_on_and_nothing_is_older_than_before() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    api.register_device("carol", "phone", "phone-of-carol").await;
    let mut bob = cluster.connect(0, "bob").await;
    let mut sent = vec![api.send("alice", &channel, "before").await];
    let tables = cluster.tables().await;
    let tomorrow = tables.moment_in(86_400);
    tables.change(&format!("UPDATE channels SET updated_at = {tomorrow}")).await;

    for n in 0..3 {
        sent.push(api.send("alice", &channel, &format!("{n}")).await);
    }

    for entry in &sent {
        assert_eq!(bob.next_entry().await, *entry);
    }
    settled(&cluster, 1).await;
    assert!(!cluster.fcm.accepted_by("phone-of-carol").is_empty());
    let created_at =
        |entry: &Value| -> Timestamp { serde_json::from_value(entry["createdAt"].clone()).unwrap() };
    let moments: Vec<Timestamp> = sent.iter().map(created_at).collect();
    assert!(moments.is_sorted() && moments[1] > Timestamp::now(), "{moments:?}");
    let listed = api.get("/channels", "bob").await.expect(200);
    assert_eq!(listed["channels"][0]["lastMessage"], sent[3]);
}
