//! Redis or Postgres away: what is promised is kept, what cannot be promised is refused, and all heals by itself.

use futures_util::future::join_all;
use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::postgres::Postgres;
use harness::redis::Redis;
use harness::tcp_proxy::TcpProxy;
use harness::wait::eventually;
use serde_json::{Value, json};
use shared_types::registry_keys::RegistryKeys;

use crate::whole_cluster::{count, expect_overloaded, seq, settled};

async fn readiness(cluster: &Cluster, base_url: &str) -> (u16, Value) {
    let answer = Answer::of(cluster.client().get(format!("{base_url}/readyz"))).await;
    (answer.status, answer.body["dependencies"].clone())
}

/// `url` with the proxy's port in place of the server's.
pub fn through(proxy: &TcpProxy, url: &str, port: u16) -> String {
    url.replacen(&format!(":{port}"), &format!(":{}", proxy.port()), 1)
}

#[tokio::test]
async fn sessions_are_found_again_without_a_reconnect_after_redis_has_come_back_empty() {
    let redis = Redis::start_private().await;
    let cluster = Cluster::builder().apis(1).redis_url(redis.url()).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    for user in ["bob", "carol"] {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);

    redis.stop();
    api.send("alice", &channel, "while Redis is away").await;
    redis.start_empty().await;
    let keys = RegistryKeys::new(cluster.redis_prefix());
    for user in ["bob", "carol"] {
        let entry = keys.user(&user.parse().unwrap());
        eventually("the user is claimed again", async || redis.ask::<bool>("EXISTS", &[&entry]).await).await;
    }
    // Whoever asks for a gateway makes the server read the leases anew.
    api.post("/connect", "dave", json!({})).await.expect(200);
    settled(&cluster, 1).await;
    let pushed = cluster.fcm.accepted().len();
    let after = api.send("alice", &channel, "after it has come back").await;

    for session in [&mut bob, &mut carol] {
        let mut received = vec![session.next_entry().await];
        if received[0]["seq"] == 1 {
            received.push(session.next_entry().await);
        }
        assert_eq!(received.last(), Some(&after));
    }
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted().len(), pushed, "the later one is pushed to nobody");
}

#[tokio::test]
async fn what_is_sent_before_an_emptied_redis_knows_the_sessions_again_comes_to_them_all_the_same() {
    let redis = Redis::start_private().await;
    let cluster = Cluster::builder().apis(1).gateways(1).redis_url(redis.url()).start().await;
    let api = cluster.api(0);
    let known = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    bob.send_json(&json!({"type": "resume", "cursors": {}})).await;
    assert_eq!(bob.next_json().await["newChannels"], json!([known]));
    let later = api.create_direct("carol", "bob").await;

    redis.ask::<()>("FLUSHALL", &[]).await;
    let to_known = api.send("alice", &known, "where is bob?").await;
    let to_later = api.send("carol", &later, "where is he?").await;

    let received = [bob.next_entry().await, bob.next_entry().await];
    assert!(received.contains(&to_known) && received.contains(&to_later), "{received:#?}");
}

#[tokio::test]
async fn what_is_sent_while_redis_is_away_is_answered_at_once_and_arrives_when_it_is_back() {
    let redis = Redis::shared().await;
    let proxy = TcpProxy::start(redis.port()).await;
    let cluster =
        Cluster::builder().apis(1).redis_url(through(&proxy, &redis.url(), redis.port())).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol", "dave"], "Crew").await;
    api.register_device("dave", "phone", "phone-of-dave").await;
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);

    proxy.cut().await;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(api.send("alice", &channel, &format!("{n}")).await);
    }
    let url = cluster.api_internal_url(0);
    assert_eq!(cluster.metric(&url, "naru_api_delivery_duration_seconds_count").await, 0.0);
    proxy.restore().await;

    for entry in sent {
        assert_eq!(bob.next_entry().await, entry);
        assert_eq!(carol.next_entry().await, entry);
    }
    settled(&cluster, 1).await;
    let pushes = cluster.fcm.accepted_by("phone-of-dave");
    let told: Vec<_> = pushes.iter().map(|push| push["data"]["messages"].as_str().unwrap()).collect();
    assert_eq!(told.iter().map(|messages| messages.parse::<u32>().unwrap()).sum::<u32>(), 10, "{told:?}");
}

#[tokio::test]
async fn a_server_is_not_ready_while_redis_or_postgres_is_away_and_then_ready_without_a_restart() {
    let (redis, postgres) = (Redis::shared().await, Postgres::shared().await);
    let (to_redis, to_postgres) =
        (TcpProxy::start(redis.port()).await, TcpProxy::start(postgres.port()).await);
    let database_url = postgres.fresh_database().await;
    let cluster = Cluster::builder()
        .apis(1)
        .gateways(0)
        .redis_url(through(&to_redis, &redis.url(), redis.port()))
        .database_url(through(&to_postgres, &database_url, postgres.port()))
        .start()
        .await;
    let (public, internal) = (cluster.api(0).base_url().to_owned(), cluster.api_internal_url(0));
    let (up, down) = (json!("up"), json!("down"));
    for (proxy, state) in [
        (&to_redis, json!({"database": up, "registry": down})),
        (&to_postgres, json!({"database": down, "registry": up})),
    ] {
        proxy.cut().await;
        for url in [&public, &internal] {
            assert_eq!(readiness(&cluster, url).await, (503, state.clone()), "{url}");
            let alive = Answer::of(cluster.client().get(format!("{url}/livez"))).await;
            assert_eq!(alive.status, 200, "a restart would not help");
        }
        proxy.restore().await;
        for url in [&public, &internal] {
            eventually("it is ready again", async || readiness(&cluster, url).await.0 == 200).await;
        }
    }
}

#[tokio::test]
async fn sends_are_refused_while_postgres_is_away_and_nothing_is_half_done_when_it_is_back() {
    let postgres = Postgres::start_private().await;
    let database_url = postgres.fresh_database().await;
    let cluster = Cluster::builder().apis(2).gateways(0).database_url(&database_url).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let send = async |n: usize| {
        let answer = cluster.api(n % 2).send_as("alice", &channel, &format!("{n}"), &format!("c-{n}")).await;
        (n, answer)
    };

    // Postgres ends somewhere among them.
    let storm = join_all((0..200).map(async |n| {
        if n == 100 {
            postgres.stop();
        }
        send(n).await
    }));
    let mut stored = Vec::new();
    for (n, answer) in storm.await {
        match answer.status {
            201 => stored.push((n, answer.expect(201))),
            _ => expect_overloaded(answer),
        }
    }
    expect_overloaded(cluster.api(0).try_send("alice", &channel, "refused").await);
    expect_overloaded(cluster.api(1).get("/channels", "alice").await);
    postgres.start().await;
    cluster.wait_ready().await;

    for n in 0..200 {
        let again = send(n).await.1;
        assert!(matches!(again.status, 200 | 201), "{again:#?}");
        if let Some((_, first)) = stored.iter().find(|(stored, _)| *stored == n) {
            assert_eq!(
                (again.status, &again.body["id"]),
                (200, &first["id"]),
                "what was answered 201 is there"
            );
        }
    }
    assert!(stored.iter().all(|(_, entry)| (1..=200).contains(&seq(entry))));
    let database = cluster.database().await;
    assert_eq!(count(&database, "SELECT count(DISTINCT content) FROM entries").await, 200);
    assert_eq!(count(&database, "SELECT count(*) FROM entries").await, 200);
    assert_eq!(count(&database, "SELECT max(seq) FROM entries").await, 200);
    assert_eq!(count(&database, "SELECT last_seq FROM channels").await, 200);
}
