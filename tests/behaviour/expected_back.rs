//! Who has just lost a session comes back in a moment: no push until it is sure that they do not.

use std::time::Duration;

use harness::cluster::Cluster;
use harness::wait::eventually;
use shared_runtime::registry::{Intent, Whereabouts};
use shared_types::registry_keys::RETURN_TIME;
use shared_types::{GatewayId, UserId};
use tokio::time::Instant;

use crate::whole_cluster::{at_rest, go_to_background, settled};

/// Says in the registry that bob has just lost his last session.
async fn expect_back(cluster: &Cluster, user: &str) {
    let registry = cluster.registry();
    let user: UserId = user.parse().unwrap();
    let lost = [(user.clone(), Intent::Release { expected_back: true })];
    let (gateway, claimed) = (GatewayId::generate(), [(user, Intent::Claim)]);
    registry.settle(&gateway, &claimed).await.unwrap();
    registry.settle(&gateway, &lost).await.unwrap();
}

async fn until_delayed(cluster: &Cluster) {
    eventually("somebody is waited for", async || {
        cluster.metric(&cluster.api_internal_url(0), "naru_api_delayed_looks").await == 1.0
    })
    .await;
}

async fn cluster() -> (Cluster, String) {
    let cluster = Cluster::builder().apis(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    (cluster, channel)
}

#[tokio::test]
async fn who_is_expected_back_and_comes_gets_the_message_and_no_push() {
    let (cluster, channel) = cluster().await;
    expect_back(&cluster, "bob").await;

    let sent = cluster.api(0).send("alice", &channel, "are you back?").await;
    until_delayed(&cluster).await;
    let mut bob = cluster.connect(1, "bob").await;

    assert_eq!(bob.next_entry().await, sent);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn who_is_expected_back_and_does_not_come_is_pushed_to_when_the_time_is_over() {
    let (cluster, channel) = cluster().await;
    expect_back(&cluster, "bob").await;
    let began = Instant::now();

    cluster.api(0).send("alice", &channel, "are you back?").await;

    cluster.fcm.wait_for_pushes(1).await;
    assert!(began.elapsed() >= RETURN_TIME);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1);
}

#[tokio::test]
async fn who_comes_back_only_to_the_background_is_pushed_to() {
    let (cluster, channel) = cluster().await;
    expect_back(&cluster, "bob").await;

    let sent = cluster.api(0).send("alice", &channel, "are you back?").await;
    until_delayed(&cluster).await;
    let mut bob = cluster.connect(1, "bob").await;
    go_to_background(&mut bob).await;

    assert_eq!(bob.next_entry().await, sent);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1);
}

#[tokio::test]
async fn waiting_for_somebody_is_no_reason_to_refuse_sends() {
    let builder = Cluster::builder().apis(1).gateways(0).api_flag("--max-undelivered=1");
    let cluster = builder.start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    for n in 0..3 {
        expect_back(&cluster, "bob").await;
        cluster.api(0).send("alice", &channel, &format!("{n}")).await;
        eventually("nothing is on its way", async || {
            cluster.metric(&cluster.api_internal_url(0), "naru_api_undelivered_entries").await == 0.0
        })
        .await;
    }
    let waited_for = cluster.metric(&cluster.api_internal_url(0), "naru_api_delayed_looks").await;
    assert_eq!(waited_for, 3.0);
}

#[tokio::test]
async fn a_client_that_goes_elsewhere_when_its_gateway_drains_is_not_pushed_to() {
    let (cluster, channel) = cluster().await;
    let mut bob = cluster.connect(0, "bob").await;
    cluster.stop_gateway(0).await;
    assert_eq!(bob.expect_close().await, 1012);

    let sent = cluster.api(0).send("alice", &channel, "while bob is between two gateways").await;
    until_delayed(&cluster).await;
    let mut bob = cluster.connect(1, "bob").await;

    assert_eq!(bob.next_entry().await, sent);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn a_client_that_closes_its_session_itself_is_pushed_to_at_once() {
    let (cluster, channel) = cluster().await;
    cluster.connect(0, "bob").await.close().await;
    let tables = cluster.tables().await;
    let registry = cluster.registry();
    eventually("bob is released", async || {
        registry.whereabouts(&["bob".parse().unwrap()]).await.unwrap() == [Whereabouts::default()]
    })
    .await;

    cluster.api(0).send("alice", &channel, "gone?").await;

    at_rest(&tables).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1);
    assert_eq!(cluster.metric(&cluster.api_internal_url(0), "naru_api_delayed_looks").await, 0.0);
}

#[tokio::test]
async fn what_waits_for_somebody_survives_the_server() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let doomed = cluster.spawn_api().await;
    let channel = doomed.api.create_direct("alice", "bob").await;
    doomed.api.register_device("bob", "phone", "phone-of-bob").await;
    expect_back(&cluster, "bob").await;
    doomed.api.send("alice", &channel, "are you back?").await;
    let internal_url = format!("http://127.0.0.1:{}", doomed.internal_port);
    eventually("bob is waited for", async || {
        cluster.metric(&internal_url, "naru_api_delayed_looks").await == 1.0
    })
    .await;
    doomed.process.kill9().await;

    harness::wait::eventually_within(Duration::from_secs(30), "bob is pushed to", async || {
        cluster.fcm.accepted_by("phone-of-bob").len() == 1
    })
    .await;
    at_rest(&cluster.database().await).await;
}
