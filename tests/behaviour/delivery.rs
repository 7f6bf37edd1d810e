//! Who gets an entry, and by which way: each session, or a push.

use futures_util::future::join_all;
use harness::cluster::Cluster;
use harness::redis::Redis;
use harness::wait::eventually;
use serde_json::json;
use shared_runtime::registry::Intent;

use crate::whole_cluster::{go_to_background, settled};

#[tokio::test]
async fn a_member_on_each_gateway_gets_the_entry_and_the_one_who_is_offline_a_push() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_group("alice", &["bob", "carol", "dave"], "Crew").await;
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);
    for user in ["bob", "carol", "dave"] {
        cluster.api(1).register_device(user, "phone", &format!("phone-of-{user}")).await;
    }

    let sent = cluster.api(0).send("alice", &channel, "ahoy").await;

    assert_eq!(bob.next_entry().await, sent);
    assert_eq!(carol.next_entry().await, sent);
    settled(&cluster, 2).await;
    let pushes = cluster.fcm.accepted();
    assert_eq!(pushes.len(), 1, "{pushes:#?}");
    assert_eq!(pushes[0]["fid"], "phone-of-dave");
    assert_eq!(pushes[0]["data"]["messageId"], sent["id"]);
}

#[tokio::test]
async fn two_devices_of_one_user_on_two_gateways_both_get_the_entry_and_no_push() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    let (mut phone, mut laptop) = (cluster.connect(0, "bob").await, cluster.connect(1, "bob").await);

    let sent = cluster.api(0).send("alice", &channel, "ahoy").await;

    assert_eq!(phone.next_entry().await, sent);
    assert_eq!(laptop.next_entry().await, sent);
    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn every_device_of_the_sender_gets_the_entry_and_none_of_them_a_push() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("alice", "tablet", "tablet-of-alice").await;
    let mut sessions = [
        cluster.connect(0, "alice").await,
        cluster.connect(0, "alice").await,
        cluster.connect(1, "alice").await,
    ];

    let sent = cluster.api(1).send_as("alice", &channel, "ahoy", "mine").await.expect(201);
    for session in &mut sessions {
        assert_eq!(session.next_entry().await, sent);
        go_to_background(session).await;
    }
    cluster.api(1).send("alice", &channel, "from the background").await;

    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn who_comes_who_goes_and_a_new_name_are_told_live_and_pushed_to_nobody() {
    let cluster = Cluster::start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "dave"], "Crew").await;
    for user in ["bob", "carol", "dave"] {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let (mut bob, mut carol) = (cluster.connect(0, "bob").await, cluster.connect(1, "carol").await);

    api.post(&format!("/channels/{channel}/members"), "alice", json!({"userIds": ["carol"]}))
        .await
        .expect(200);
    api.patch(&format!("/channels/{channel}"), "alice", json!({"name": "Night crew"})).await.expect(200);
    api.delete(&format!("/channels/{channel}/members/dave"), "alice").await.expect(204);

    for session in [&mut bob, &mut carol] {
        let told = [session.next_entry().await, session.next_entry().await, session.next_entry().await];
        let told = told.map(|entry| {
            json!([entry["type"], entry["seq"], entry["senderId"], entry["userIds"], entry["name"]])
        });
        assert_eq!(told[0], json!(["memberJoined", 1, "alice", ["carol"], null]));
        assert_eq!(told[1], json!(["channelRenamed", 2, "alice", null, "Night crew"]));
        assert_eq!(told[2], json!(["memberLeft", 3, "alice", ["dave"], null]));
    }
    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn whose_only_session_is_in_the_background_gets_the_entry_and_a_push() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    let mut bob = cluster.connect(1, "bob").await;
    go_to_background(&mut bob).await;

    let sent = cluster.api(0).send("alice", &channel, "ahoy").await;

    assert_eq!(bob.next_entry().await, sent);
    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1);
}

#[tokio::test]
async fn who_has_another_device_in_the_foreground_on_the_other_gateway_is_not_pushed_to() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    let (mut phone, mut laptop) = (cluster.connect(0, "bob").await, cluster.connect(1, "bob").await);
    go_to_background(&mut phone).await;

    let sent = cluster.api(0).send("alice", &channel, "ahoy").await;
    assert_eq!(phone.next_entry().await, sent);
    assert_eq!(laptop.next_entry().await, sent);
    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);

    go_to_background(&mut laptop).await;
    cluster.api(0).send("alice", &channel, "and now").await;
    settled(&cluster, 2).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1, "once, though two gateways said so");
}

#[tokio::test]
async fn a_message_to_a_thousand_takes_two_posts_to_gateways_and_one_round_trip_to_the_registry() {
    let redis = Redis::start_private().await;
    let cluster = Cluster::builder().apis(1).redis_url(redis.url()).start().await;
    let names: Vec<String> = (0..999).map(|n| format!("member-{n}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let channel = cluster.api(0).create_group("alice", &members, "Everyone").await;
    let connects = members[..500].iter().enumerate().map(|(n, member)| cluster.connect(n % 2, member));
    let mut sessions = join_all(connects).await;
    let posts = async || {
        let delivered = r#"naru_api_gateway_requests_total{outcome="delivered"}"#;
        cluster.metric(&cluster.api_internal_url(0), delivered).await
    };
    let (posts_before, look_ups_before) = (posts().await, redis.commands_processed("mget").await);

    let sent = cluster.api(0).send("alice", &channel, "ahoy, all").await;

    for entry in join_all(sessions.iter_mut().map(|session| session.next_entry())).await {
        assert_eq!(entry, sent);
    }
    settled(&cluster, 1).await;
    assert_eq!(posts().await - posts_before, 2.0);
    assert_eq!(redis.commands_processed("mget").await - look_ups_before, 1);
    let pushed = r#"naru_api_deliveries_total{outcome="push"}"#;
    assert_eq!(
        cluster.metric(&cluster.api_internal_url(0), pushed).await,
        499.0,
        "neither alice nor who was there"
    );
}

#[tokio::test]
async fn who_moves_while_the_old_gateway_is_being_asked_is_found_by_the_second_look() {
    let cluster = Cluster::builder().apis(1).gateway_proxies().start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    let bob = cluster.connect(0, "bob").await;
    let old_gateway = cluster.gateway_proxy(0);
    old_gateway.black_hole();

    let sent = cluster.api(0).send("alice", &channel, "ahoy").await;
    eventually("the old gateway is being asked", async || old_gateway.connections() == 1).await;
    bob.close().await;
    let mut bob = cluster.connect(1, "bob").await;
    old_gateway.restore().await;

    assert_eq!(bob.next_entry().await, sent);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn who_is_nowhere_though_the_registry_names_a_gateway_is_pushed_to() {
    let cluster = Cluster::builder().apis(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    let mut neighbour = cluster.dial(0, "carol").connect().await;
    let gateway = neighbour.next_json().await["gatewayId"].as_str().unwrap().parse().unwrap();
    let claim = [("bob".parse().unwrap(), Intent::Claim)];
    cluster.registry().settle(&gateway, &claim).await.unwrap();

    cluster.api(0).send("alice", &channel, "ahoy").await;

    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted_by("phone-of-bob").len(), 1);
}
