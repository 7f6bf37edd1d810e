//! A gateway that dies or hangs: its users are found elsewhere or pushed to, and nobody else waits.

use harness::cluster::Cluster;
use harness::wait::eventually;
use serde_json::json;

use crate::whole_cluster::{expect_overloaded, seq, settled};

#[tokio::test]
async fn who_was_on_a_killed_gateway_is_pushed_to_and_who_has_gone_elsewhere_gets_it_there() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol", "dave"], "Crew").await;
    for user in ["bob", "carol", "dave"] {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let doomed = cluster.spawn_gateway().await;
    let (mut bob, mut carol) = (doomed.connect("bob").await, doomed.connect("carol").await);
    let mut dave = cluster.connect(0, "dave").await;
    let before = api.send("alice", &channel, "all are here").await;
    for session in [&mut bob, &mut carol, &mut dave] {
        assert_eq!(session.next_entry().await, before);
    }

    doomed.process.kill9().await;
    let first = api.send("alice", &channel, "while nobody knows yet").await;
    assert_eq!(dave.next_entry().await, first);
    carol.expect_break().await;
    let mut carol = cluster.connect(0, "carol").await;
    carol.send_json(&json!({"type": "resume", "cursors": {&channel: seq(&before)}})).await;
    assert_eq!(carol.next_entry().await, first);
    carol.next_of_type("resumed").await;
    let second = api.send("alice", &channel, "while it still has its lease").await;
    assert_eq!(dave.next_entry().await, second);
    assert_eq!(carol.next_entry().await, second);

    settled(&cluster, 1).await;
    // Both are known to be undelivered at the same moment, and fold.
    assert_eq!(pushed_to(&cluster, "phone-of-bob"), [seq(&second)]);
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob")[0]["data"]["messages"], "2");
    assert!(pushed_to(&cluster, "phone-of-dave").is_empty());
    // When the dead gateway is given up the first one finds her new session, which has it already.
    assert!(pushed_to(&cluster, "phone-of-carol").is_empty());
    api.send("alice", &channel, "the end").await;
    assert_eq!(carol.next_entry().await["content"], "the end", "and she gets nothing twice");
}

/// Which entries the target was pushed to for.
fn pushed_to(cluster: &Cluster, target: &str) -> Vec<i64> {
    let pushes = cluster.fcm.accepted_by(target);
    let seqs = pushes.iter().map(|push| push["data"]["seq"].as_str().unwrap().parse().unwrap());
    let mut seqs: Vec<i64> = seqs.collect();
    seqs.sort_unstable();
    seqs
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_holds_up_only_those_who_are_on_it() {
    let cluster = Cluster::builder().apis(1).gateway_proxies().start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);
    cluster.gateway_proxy(0).black_hole();

    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(api.send("alice", &channel, &format!("{n}")).await);
        assert_eq!(carol.next_entry().await, sent[n]);
    }
    cluster.gateway_proxy(0).restore().await;

    // The request that was held is answered, and what has gathered behind it follows.
    for entry in sent {
        assert_eq!(bob.next_entry().await, entry);
    }
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_for_a_moment_loses_nothing_and_nobody_is_pushed_to() {
    let cluster = Cluster::builder().apis(1).gateways(1).gateway_proxies().start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    cluster.gateway_proxy(0).cut().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(api.send("alice", &channel, &format!("{n}")).await);
    }
    let failed = r#"naru_api_gateway_requests_total{outcome="failed"}"#;
    eventually("it was tried in vain", async || {
        cluster.metric(&cluster.api_internal_url(0), failed).await > 1.0
    })
    .await;
    cluster.gateway_proxy(0).restore().await;

    for entry in sent {
        assert_eq!(bob.next_entry().await, entry);
    }
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn sends_are_refused_while_delivery_is_behind_and_taken_when_it_has_caught_up() {
    let builder = Cluster::builder().apis(1).gateways(1).gateway_proxies();
    let cluster = builder.api_flag("--max-undelivered=3").start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    cluster.gateway_proxy(0).black_hole();
    for n in 0..3 {
        api.send("alice", &channel, &format!("{n}")).await;
    }
    let undelivered =
        async || cluster.metric(&cluster.api_internal_url(0), "naru_api_undelivered_entries").await;
    eventually("three are on their way", async || undelivered().await == 3.0).await;

    expect_overloaded(api.try_send("alice", &channel, "refused").await);
    // Whatever is wrong with it: what is refused is not looked at.
    let wrong = json!({"channelId": channel, "content": ""});
    expect_overloaded(api.post("/send/message", "alice", wrong.clone()).await);

    cluster.gateway_proxy(0).restore().await;
    eventually("all have arrived", async || undelivered().await == 0.0).await;
    api.post("/send/message", "alice", wrong).await.expect_problem(422, "invalid_request");
    api.send("alice", &channel, "3").await;
    for n in 0..4 {
        assert_eq!(bob.next_entry().await["content"], n.to_string());
    }
}
