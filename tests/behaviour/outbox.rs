//! The outbox: what was committed is delivered, whatever happens to the server that committed it.

use std::time::Duration;

use harness::cluster::Cluster;
use harness::postgres::Postgres;
use harness::redis::Redis;
use harness::storage::Tables;
use harness::tcp_proxy::TcpProxy;
use harness::wait::eventually;
use sqlx::PgPool;

use crate::redis_and_postgres::through;
use crate::whole_cluster::{at_rest, count, expect_overloaded, lock_channel, sending_as, until_blocked};

const ROWS: &str = "SELECT count(*) FROM outbox";
const ADOPTED: &str = "naru_api_outbox_adopted_total";

/// How many batches the server has taken over.
async fn adopted(cluster: &Cluster, api: usize) -> f64 {
    cluster.metric(&cluster.api_internal_url(api), ADOPTED).await
}

/// Waits until every living server has swept twice since now.
async fn until_swept(tables: &Tables) {
    let latest = format!("SELECT {} FROM api_servers", tables.milliseconds("max(alive_until)"));
    let oldest = format!("SELECT {} FROM api_servers", tables.milliseconds("min(alive_until)"));
    for _ in 0..2 {
        let before = count(tables, &latest).await;
        eventually("all have swept", async || count(tables, &oldest).await > before).await;
    }
}

#[tokio::test]
async fn what_a_server_committed_and_did_not_live_to_deliver_is_delivered_by_another() {
    let redis = Redis::shared().await;
    let proxy = TcpProxy::start(redis.port()).await;
    let builder = Cluster::builder().apis(1).gateways(1);
    let cluster = builder.redis_url(through(&proxy, &redis.url(), redis.port())).start().await;
    let doomed = cluster.spawn_api().await;
    let channel = doomed.api.create_group("alice", &["bob", "carol"], "Crew").await;
    doomed.api.register_device("bob", "phone", "phone-of-bob").await;
    doomed.api.register_device("carol", "phone", "phone-of-carol").await;
    let mut bob = cluster.connect(0, "bob").await;

    // Nobody knows where anybody is: the fan-out cannot begin.
    proxy.cut().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(doomed.api.send("alice", &channel, &format!("{n}")).await);
    }
    doomed.process.kill9().await;
    proxy.restore().await;

    eventually("another server has taken over", async || adopted(&cluster, 0).await == 5.0).await;
    for entry in sent {
        assert_eq!(bob.next_entry().await, entry);
    }
    at_rest(&cluster.database().await).await;
    let pushes = cluster.fcm.accepted();
    assert!(pushes.iter().all(|push| push["fid"] == "phone-of-carol"), "bob was there: {pushes:#?}");
    assert_eq!(pushes.last().unwrap()["data"]["seq"], "5");
}

#[tokio::test]
async fn a_message_whose_commit_was_not_answered_is_refused_and_delivered_all_the_same() {
    let postgres = Postgres::shared().await;
    let proxy = TcpProxy::start(postgres.port()).await;
    let database_url = postgres.fresh_database().await;
    let builder = Cluster::builder().apis(1).gateways(1);
    let cluster = builder.database_url(through(&proxy, &database_url, postgres.port())).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    let database = PgPool::connect(&database_url).await.unwrap();

    // The statement has reached Postgres and waits there; its answer finds nobody.
    let lock = lock_channel(&database, &channel).await;
    let unanswered = sending_as(&api, "alice", &channel, "ahoy", "c-1");
    until_blocked(&database).await;
    proxy.cut().await;
    expect_overloaded(unanswered.await.unwrap());
    lock.commit().await.unwrap();
    eventually("it is committed", async || count(&database, ROWS).await == 1).await;
    proxy.restore().await;

    let again = eventually_answered(&api, &channel).await;
    assert_eq!((again.status, &again.body["deduplicated"]), (200, &true.into()));
    let a_while_goes_by = "UPDATE outbox SET written_at = written_at - interval '10 s'";
    sqlx::query(a_while_goes_by).execute(&database).await.unwrap();
    assert_eq!(bob.next_entry().await["id"], again.body["id"]);
    at_rest(&database).await;
    assert_eq!(adopted(&cluster, 0).await, 1.0);
}

/// What the sender's retry is answered, once the database is back.
async fn eventually_answered(api: &harness::api_client::Api, channel: &str) -> harness::api_client::Answer {
    harness::wait::eventually_some("the retry is answered", async || {
        let answer = api.send_as("alice", channel, "ahoy", "c-1").await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_message_leaves_the_outbox_when_it_is_delivered_and_nobody_takes_it_over_before() {
    let cluster = Cluster::builder().gateways(1).gateway_proxies().start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let tables = cluster.tables().await;
    let mut bob = cluster.connect(0, "bob").await;

    cluster.gateway_proxy(0).cut().await;
    let sent = api.send("alice", &channel, "ahoy").await;
    // As if its server had been at it for a minute.
    tables.change(&format!("UPDATE outbox SET written_at = {}", tables.moment_in(-60))).await;
    until_swept(&tables).await;
    assert_eq!(count(&tables, ROWS).await, 1);
    cluster.gateway_proxy(0).restore().await;

    assert_eq!(bob.next_entry().await, sent);
    at_rest(&tables).await;
    assert_eq!((adopted(&cluster, 0).await, adopted(&cluster, 1).await), (0.0, 0.0));
}

#[tokio::test]
async fn what_a_server_that_stops_could_not_deliver_is_at_once_free_for_others() {
    let builder = Cluster::builder().apis(1).gateways(1).gateway_proxies();
    let cluster = builder.api_flag("--shutdown-grace=1s").start().await;
    let stopping = cluster.spawn_api().await;
    let channel = stopping.api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    cluster.gateway_proxy(0).cut().await;
    let sent = stopping.api.send("alice", &channel, "stuck").await;

    stopping.process.sigterm();
    assert!(stopping.process.wait_exit().await.success());
    let database = cluster.database().await;
    assert_eq!(count(&database, "SELECT count(*) FROM api_servers").await, 1, "it has said that it leaves");
    cluster.gateway_proxy(0).restore().await;

    assert_eq!(bob.next_entry().await, sent);
    at_rest(&database).await;
    assert_eq!(adopted(&cluster, 0).await, 1.0);
}

#[tokio::test]
async fn a_server_that_stops_in_good_order_leaves_nothing_behind() {
    let cluster = Cluster::builder().apis(0).gateways(1).start().await;
    let server = cluster.spawn_api().await;
    let channel = server.api.create_group("alice", &["bob", "carol"], "Crew").await;
    server.api.register_device("carol", "phone", "phone-of-carol").await;
    let mut bob = cluster.connect(0, "bob").await;
    for n in 0..20 {
        server.api.send("alice", &channel, &format!("{n}")).await;
    }
    server.process.sigterm();
    assert!(server.process.wait_exit().await.success());

    for seq in 1..=20 {
        assert_eq!(bob.next_entry().await["seq"], seq);
    }
    let database = cluster.database().await;
    assert_eq!(count(&database, ROWS).await, 0);
    assert_eq!(count(&database, "SELECT count(*) FROM api_servers").await, 0);
}

#[tokio::test]
async fn while_postgres_is_away_the_sweep_complains_once_and_then_goes_on() {
    let postgres = Postgres::shared().await;
    let proxy = TcpProxy::start(postgres.port()).await;
    let database_url = postgres.fresh_database().await;
    let builder = Cluster::builder().apis(0).gateways(0);
    let cluster = builder.database_url(through(&proxy, &database_url, postgres.port())).start().await;
    let server = cluster.spawn_api().await;

    proxy.cut().await;
    server.process.wait_line("the outbox cannot be swept").await;
    // Several rounds.
    server.process.assert_stays_up(Duration::from_secs(5)).await;
    proxy.restore().await;
    server.process.wait_line("the outbox is swept again").await;

    let output = server.process.output();
    let complaints = output.iter().filter(|line| line.contains("the outbox cannot be swept")).count();
    assert_eq!(complaints, 1, "{output:#?}");
}
