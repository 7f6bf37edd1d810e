//! Pushes through the whole product: what they say, whom they reach, and what FCM's answers do.

use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::fake_fcm::Behaviour;
use harness::tcp_proxy::TcpProxy;
use harness::wait::eventually;
use serde_json::{Value, json};

use crate::whole_cluster::{count, settled};

/// An api-server without gateways: everyone is offline.
async fn everyone_is_offline() -> (Cluster, Api) {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    (cluster, api)
}

async fn device(api: &Api, user: &str, device: &str) -> Value {
    let devices = api.get("/devices", user).await.expect(200);
    let devices = devices["devices"].as_array().unwrap();
    devices.iter().find(|found| found["deviceId"] == device).cloned().unwrap_or(Value::Null)
}

async fn is_enabled(api: &Api, user: &str, name: &str) -> bool {
    let device = device(api, user, name).await;
    device.is_object() && device.get("disabledAt").is_none() && device.get("disabledReason").is_none()
}

#[tokio::test]
async fn a_push_says_what_was_said_where_and_how_much_is_unread_in_all_channels() {
    let (cluster, api) = everyone_is_offline().await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let group = api.create_group("alice", &["bob"], "Night crew").await;
    let direct = api.create_direct("bob", "carol").await;
    let body = json!({"channelId": group, "content": "ahoy", "metadata": {"secret": "for the app"}});
    let first = api.post("/send/message", "alice", body).await.expect(201);
    settled(&cluster, 1).await;
    api.send("carol", &direct, "psst").await;
    settled(&cluster, 1).await;
    // What bob says himself is not unread, and neither is a new name.
    api.send("bob", &group, "hm?").await;
    api.patch(&format!("/channels/{group}"), "alice", json!({"name": "Day crew"})).await.expect(200);
    api.send("alice", &group, "ahoy again").await;
    settled(&cluster, 1).await;
    api.put(&format!("/channels/{group}/read"), "bob", json!({"seq": 4})).await.expect(200);
    api.send("alice", &group, "one more").await;
    settled(&cluster, 1).await;

    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    let shown = |field: &'static str| {
        pushes.iter().map(|push| push["notification"][field].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(shown("title"), ["Night crew", "carol", "Day crew", "Day crew"]);
    assert_eq!(shown("body"), ["ahoy", "psst", "ahoy again", "one more"]);
    for (push, unread) in pushes.iter().zip([1, 2, 3, 2]) {
        assert_eq!(push["data"]["unread"], unread.to_string());
        assert_eq!(push["apns"]["payload"]["aps"]["badge"], unread);
    }
    assert_eq!(
        pushes[0]["data"],
        json!({
            "channelId": group, "seq": "1", "messageId": first["id"], "senderId": "alice",
            "messages": "1", "unread": "1",
        })
    );
    for (push, channel) in pushes.iter().zip([&group, &direct, &group, &group]) {
        assert_eq!(push["android"]["notification"]["tag"], channel.as_str());
        assert_eq!(push["apns"]["headers"]["apns-collapse-id"], channel.as_str());
    }
    assert!(!pushes[0].to_string().contains("for the app"), "metadata is the app's business");
}

#[tokio::test]
async fn with_hidden_content_a_push_says_only_that_there_is_a_message() {
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag("--push-hide-content").start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    cluster.api(0).register_device("bob", "phone", "phone-of-bob").await;
    cluster.api(0).send("alice", &channel, "the password is swordfish").await;
    let pushes = cluster.fcm.wait_for_pushes(1).await;
    assert_eq!(pushes[0]["notification"], json!({"title": "alice", "body": "New message"}));
    assert!(!pushes[0].to_string().contains("swordfish"));
}

#[tokio::test]
async fn every_device_of_who_is_offline_is_pushed_to_by_either_kind_of_target_and_never_the_senders() {
    let (cluster, api) = everyone_is_offline().await;
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("alice", "phone", "phone-of-alice").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    let by_token = json!({"platform": "ios", "registrationToken": "tablet-of-bob"});
    api.put("/devices/tablet", "bob", by_token).await.expect(200);

    api.send("alice", &channel, "ahoy").await;

    settled(&cluster, 1).await;
    let mut targets: Vec<_> =
        cluster.fcm.accepted().iter().map(|push| (push["fid"].clone(), push["token"].clone())).collect();
    targets.sort_by_key(|(fid, _)| fid.is_null());
    assert_eq!(targets, [(json!("phone-of-bob"), Value::Null), (Value::Null, json!("tablet-of-bob"))]);
}

#[tokio::test]
async fn a_target_that_is_gone_is_disabled_and_the_others_go_on() {
    let (cluster, api) = everyone_is_offline().await;
    let channel = api.create_direct("alice", "bob").await;
    for name in ["sold", "foreign", "good"] {
        api.register_device("bob", name, name).await;
    }
    cluster.fcm.respond_once("sold", Behaviour::Unregistered);
    cluster.fcm.respond_once("foreign", Behaviour::SenderIdMismatch);

    for content in ["one", "two"] {
        api.send("alice", &channel, content).await;
        settled(&cluster, 1).await;
    }

    for (name, reason) in [("sold", "unregistered"), ("foreign", "sender_id_mismatch")] {
        let device = device(&api, "bob", name).await;
        assert_eq!(device["disabledReason"], reason);
        assert!(device["disabledAt"].is_string());
        assert_eq!(cluster.fcm.accepted_by(name).len(), 0);
    }
    assert!(is_enabled(&api, "bob", "good").await);
    assert_eq!(cluster.fcm.accepted_by("good").len(), 2);
    assert_eq!(cluster.fcm.seen().attempts.len(), 4, "each bad one is tried once");

    api.register_device("bob", "sold", "sold").await;
    assert!(is_enabled(&api, "bob", "sold").await, "registering it again enables it");
    api.send("alice", &channel, "three").await;
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.accepted_by("sold").len(), 1);
}

#[tokio::test]
async fn a_device_that_got_a_new_target_while_the_old_was_being_refused_is_pushed_to_there() {
    let fcm = harness::fake_fcm::FakeFcm::start();
    let port = fcm.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let proxy = TcpProxy::start(port).await;
    let cluster = Cluster::builder()
        .apis(1)
        .gateways(0)
        .api_flag(format!("--fcm-endpoint=http://127.0.0.1:{}", proxy.port()))
        .api_flag(format!("--fcm-service-account={}", fcm.service_account_file().display()))
        .start()
        .await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "old").await;
    fcm.respond_to("old", Behaviour::Unregistered);
    proxy.black_hole();
    api.send("alice", &channel, "ahoy").await;
    let tables = cluster.tables().await;
    let taken = "SELECT count(*) FROM push_jobs WHERE attempts = 1";
    eventually("the push to the old target is on its way", async || count(&tables, taken).await == 1).await;

    api.register_device("bob", "phone", "new").await;
    proxy.restore().await;

    settled(&cluster, 1).await;
    assert!(is_enabled(&api, "bob", "phone").await);
    assert_eq!(fcm.seen().attempts, ["old", "new"]);
    assert_eq!(fcm.accepted_by("new").len(), 1);
}

#[tokio::test]
async fn a_push_that_fcm_calls_invalid_is_not_tried_again_and_the_device_is_kept() {
    let (cluster, api) = everyone_is_offline().await;
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    cluster.fcm.respond_once("phone-of-bob", Behaviour::InvalidArgument);
    api.send("alice", &channel, "one").await;
    settled(&cluster, 1).await;
    let failed = "SELECT count(*) FROM push_jobs WHERE failed_reason = 'invalid_argument' AND attempts = 1";
    assert_eq!(count(&cluster.tables().await, failed).await, 1);
    assert!(is_enabled(&api, "bob", "phone").await);

    api.send("alice", &channel, "two").await;
    settled(&cluster, 1).await;
    let bodies: Vec<_> =
        cluster.fcm.accepted().iter().map(|push| push["notification"]["body"].clone()).collect();
    assert_eq!(bodies, ["two"]);
}

#[tokio::test]
async fn a_push_that_meets_passing_trouble_arrives_later() {
    let (cluster, api) = everyone_is_offline().await;
    let channel = api.create_direct("alice", "bob").await;
    let soon = || Some("1".to_owned());
    for (name, trouble) in [
        ("over-quota", Behaviour::QuotaExceeded { retry_after: soon() }),
        ("unavailable", Behaviour::Unavailable { retry_after: None }),
        ("internal", Behaviour::Internal),
        ("html", Behaviour::BadGatewayHtml),
        ("cut", Behaviour::DropConnection),
    ] {
        api.register_device("bob", name, name).await;
        cluster.fcm.respond_once(name, trouble);
    }

    api.send("alice", &channel, "ahoy").await;
    settled(&cluster, 1).await;

    for name in ["over-quota", "unavailable", "internal", "html", "cut"] {
        assert_eq!(cluster.fcm.accepted_by(name).len(), 1, "{name}");
        assert!(is_enabled(&api, "bob", name).await, "{name}");
    }
}

#[tokio::test]
async fn a_push_that_gets_no_answer_holds_up_no_other() {
    let cluster = Cluster::builder().apis(1).gateways(0).api_flag("--push-in-flight=2").start().await;
    let api = cluster.api(0);
    let users: Vec<_> = (0..12).map(|n| format!("user-{n}")).collect();
    for user in &users {
        api.register_device(user, "phone", user).await;
    }
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    let channel = api.create_group("alice", &members, "crew").await;
    cluster.fcm.respond_once("user-5", Behaviour::Hold);
    api.send("alice", &channel, "ahoy").await;

    cluster.fcm.wait_until(|seen| seen.accepted.len() == 11 && seen.in_flight == 1).await;
    cluster.fcm.release();
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 12);
}

#[tokio::test]
async fn no_more_are_pushed_at_one_time_than_may_be_and_a_server_that_stops_leaves_the_others_their_turn() {
    let builder = Cluster::builder().apis(0).gateways(0).api_flag("--push-in-flight=2");
    let cluster = builder.api_flag("--push-fold-window=0s").start().await;
    let server = cluster.spawn_api().await;
    let users: Vec<_> = (0..12).map(|n| format!("user-{n}")).collect();
    for user in &users {
        server.api.register_device(user, "phone", user).await;
        cluster.fcm.respond_once(user, Behaviour::Hold);
    }
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    let channel = server.api.create_group("alice", &members, "crew").await;
    server.api.send("alice", &channel, "ahoy").await;
    let database = cluster.database().await;
    let leased = "SELECT count(*) FROM push_jobs WHERE due_at > now() + interval '5 seconds'";
    eventually("one more waits for its turn", async || count(&database, leased).await > 2).await;
    cluster.fcm.wait_until(|seen| seen.in_flight == 2).await;

    server.process.sigterm();
    eventually("another server may push the others", async || count(&database, leased).await == 2).await;
    cluster.fcm.release();
    server.process.wait_exit().await;
    assert_eq!((cluster.fcm.accepted().len(), cluster.fcm.seen().max_in_flight), (2, 2));
    let waiting = "SELECT count(*) FROM push_jobs WHERE due_at IS NOT NULL";
    assert_eq!(count(&database, waiting).await, 10, "what was pushed is settled");
    assert_eq!(count(&database, leased).await, 0);
}

#[tokio::test]
async fn a_push_that_is_tried_for_the_last_time_is_kept_with_its_reason_until_there_is_more_to_tell() {
    let (cluster, api) = everyone_is_offline().await;
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    cluster.fcm.respond_to("phone-of-bob", Behaviour::Unavailable { retry_after: Some("1".to_owned()) });
    api.send("alice", &channel, "one").await;
    cluster.fcm.wait_until(|seen| !seen.attempts.is_empty()).await;
    let tables = cluster.tables().await;
    // A day goes by.
    tables.change("UPDATE push_jobs SET attempts = 29").await;
    let failed =
        "SELECT count(*) FROM push_jobs WHERE failed_reason = 'unavailable' AND failed_at IS NOT NULL";
    eventually("the last attempt fails", async || count(&tables, failed).await == 1).await;
    assert!(is_enabled(&api, "bob", "phone").await);

    cluster.fcm.respond_to("phone-of-bob", Behaviour::Sent);
    api.send("alice", &channel, "two").await;
    settled(&cluster, 1).await;
    let pushes = cluster.fcm.accepted_by("phone-of-bob");
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0]["notification"]["body"], "two", "what failed is not made up for");
}

#[tokio::test]
async fn a_phone_that_changes_hands_is_pushed_to_for_its_new_owner_only() {
    let (cluster, api) = everyone_is_offline().await;
    let (to_bob, to_carol) =
        (api.create_direct("alice", "bob").await, api.create_direct("alice", "carol").await);
    for kind in ["installationId", "registrationToken"] {
        let phone = json!({"platform": "android", kind: format!("the-phone-{kind}")});
        api.put(&format!("/devices/{kind}"), "bob", phone.clone()).await.expect(200);
        api.put(&format!("/devices/my-{kind}"), "carol", phone).await.expect(200);
        assert_eq!(device(&api, "bob", kind).await, Value::Null);
    }

    api.send("alice", &to_bob, "for bob").await;
    api.send("alice", &to_carol, "for carol").await;
    settled(&cluster, 1).await;

    let bodies: Vec<_> =
        cluster.fcm.accepted().iter().map(|push| push["notification"]["body"].clone()).collect();
    assert_eq!(bodies, ["for carol", "for carol"]);
}
