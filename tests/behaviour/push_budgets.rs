//! Budgets of pushes: Google's quotas are kept to before Google has to see to it.

use harness::cluster::Cluster;
use harness::wait::eventually;
use serde_json::json;

use crate::whole_cluster::settled;

/// An api-server that pushes at once, where everyone is offline.
async fn cluster_with(quota: &str) -> Cluster {
    let builder = Cluster::builder().apis(1).gateways(0).api_flag("--push-fold-window=0s");
    builder.api_flag(quota.to_owned()).start().await
}

async fn held_back(cluster: &Cluster, budget: &str) -> f64 {
    let sample = format!("naru_api_pushes_held_back_total{{budget=\"{budget}\"}}");
    cluster.metric(&cluster.api_internal_url(0), &sample).await
}

#[tokio::test]
async fn a_device_without_budget_is_told_later_of_all_that_has_come_by_then_and_no_other_waits() {
    // Two at once, and then one in ten seconds.
    let cluster = cluster_with("--push-device-per-minute=8").await;
    let api = cluster.api(0);
    api.register_device("bob", "phone", "phone-of-bob").await;
    let tablet = json!({"platform": "ios", "installationId": "tablet-of-bob"});
    api.put("/devices/tablet", "bob", tablet).await.expect(200);
    for name in ["first", "second"] {
        let channel = api.create_group("alice", &["bob"], name).await;
        api.send("alice", &channel, "ahoy").await;
        settled(&cluster, 1).await;
    }
    assert_eq!(held_back(&cluster, "device_minute").await, 0.0);

    let third = api.create_group("alice", &["bob"], "third").await;
    api.send("alice", &third, "one").await;
    eventually("the third push is held back", async || {
        held_back(&cluster, "device_minute").await > 0.0
            && cluster.fcm.accepted_by("tablet-of-bob").len() == 3
    })
    .await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 2);
    api.send("alice", &third, "two").await;
    api.send("alice", &third, "three").await;
    settled(&cluster, 1).await;

    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    let shown: Vec<_> = pushes.iter().map(|push| push["notification"]["body"].as_str().unwrap()).collect();
    assert_eq!(shown, ["ahoy", "ahoy", "3 new messages"]);
    assert_eq!(pushes[2]["data"]["seq"], "3");
}

#[tokio::test]
async fn a_project_without_budget_pushes_the_rest_later_and_loses_none() {
    // Ten at once, and then one in two seconds.
    let cluster = cluster_with("--push-project-per-minute=40").await;
    let api = cluster.api(0);
    let users: Vec<_> = (0..12).map(|n| format!("user-{n}")).collect();
    for user in &users {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    let channel = api.create_group("alice", &members, "crew").await;
    api.send("alice", &channel, "ahoy").await;
    settled(&cluster, 1).await;

    assert!(held_back(&cluster, "project_minute").await > 0.0);
    for user in &users {
        assert_eq!(cluster.fcm.accepted_by(&format!("phone-of-{user}")).len(), 1, "{user}");
    }
    assert_eq!(cluster.fcm.seen().attempts.len(), 12, "none was tried in vain");
}

#[tokio::test]
async fn without_quotas_nothing_is_held_back() {
    let builder = Cluster::builder().apis(1).gateways(0).api_flag("--push-fold-window=0s");
    let off = ["--push-device-per-minute=0", "--push-device-per-hour=0", "--push-project-per-minute=0"];
    let cluster = off.into_iter().fold(builder, |builder, flag| builder.api_flag(flag)).start().await;
    let api = cluster.api(0);
    api.register_device("bob", "phone", "phone-of-bob").await;
    // More than the quarter of Google's quota that may go at once.
    for n in 0..70 {
        let channel = api.create_group("alice", &["bob"], &format!("channel {n}")).await;
        api.send("alice", &channel, "ahoy").await;
    }
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 70);
}
