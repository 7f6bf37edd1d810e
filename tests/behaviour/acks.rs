//! Delivery by ack: who says nothing is pushed to, and the others in the channel learn who has what.

use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::wait::eventually;
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};

use crate::internal_calls::{ack, post};
use crate::whole_cluster::{at_rest, seq, settled};

/// Long enough for an ack to reach the database: gateways flush them once a second.
const ACK_TIMEOUT: &str = "--ack-timeout=4s";

/// Two gateways, and bob with a phone.
async fn cluster() -> (Cluster, Api, String) {
    let cluster = Cluster::builder().apis(1).api_flag(ACK_TIMEOUT).start().await;
    let api = cluster.api(0);
    let channel = api.create_direct("alice", "bob").await;
    api.register_device("bob", "phone", "phone-of-bob").await;
    (cluster, api, channel)
}

async fn say_ack(session: &mut WebSocketClient, entry: &Value) {
    session.send_json(&json!({"type": "ack", "channelId": entry["channelId"], "seq": entry["seq"]})).await;
}

/// From now on this session is known to ack.
async fn first_ack(api: &Api, channel: &str, sessions: &mut [&mut WebSocketClient]) {
    let entry = api.send("alice", channel, "who acks?").await;
    for session in sessions {
        assert_eq!(session.next_entry().await, entry);
        say_ack(session, &entry).await;
        session.send_json(&json!({"type": "ping"})).await;
        session.next_of_type("pong").await;
    }
}

async fn until_awaited(cluster: &Cluster, recipients: f64) {
    eventually(&format!("acks of {recipients} recipients are awaited"), async || {
        cluster.metric(&cluster.api_internal_url(0), "naru_api_awaiting_acks").await == recipients
    })
    .await;
}

fn pushed_seqs(cluster: &Cluster) -> Vec<Value> {
    cluster.fcm.accepted_by("phone-of-bob").iter().map(|push| push["data"]["seq"].clone()).collect()
}

#[tokio::test]
async fn what_a_client_that_acks_does_not_ack_in_time_becomes_a_push() {
    let (cluster, api, channel) = cluster().await;
    let mut bob = cluster.connect(0, "bob").await;
    first_ack(&api, &channel, &mut [&mut bob]).await;

    let unacked = api.send("alice", &channel, "into a pocket").await;
    assert_eq!(bob.next_entry().await, unacked);
    until_awaited(&cluster, 1.0).await;
    assert!(pushed_seqs(&cluster).is_empty());

    cluster.fcm.wait_for_pushes(1).await;
    at_rest(&cluster.tables().await).await;
    assert_eq!(pushed_seqs(&cluster), [seq(&unacked).to_string()]);
    let counted = cluster.metric(&cluster.api_internal_url(0), "naru_api_unacked_pushes_total").await;
    assert_eq!(counted, 1.0);
}

#[tokio::test]
async fn what_is_acked_in_time_is_not_pushed() {
    let (cluster, api, channel) = cluster().await;
    let mut bob = cluster.connect(0, "bob").await;
    first_ack(&api, &channel, &mut [&mut bob]).await;

    let entry = api.send("alice", &channel, "read at once").await;
    assert_eq!(bob.next_entry().await, entry);
    until_awaited(&cluster, 1.0).await;
    say_ack(&mut bob, &entry).await;

    until_awaited(&cluster, 0.0).await;
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn the_ack_of_one_device_is_enough_whichever_gateway_it_is_on() {
    let (cluster, api, channel) = cluster().await;
    let (mut phone, mut laptop) = (cluster.connect(0, "bob").await, cluster.connect(1, "bob").await);
    first_ack(&api, &channel, &mut [&mut phone, &mut laptop]).await;

    let entry = api.send("alice", &channel, "seen on the laptop").await;
    assert_eq!(phone.next_entry().await, entry);
    assert_eq!(laptop.next_entry().await, entry);
    until_awaited(&cluster, 1.0).await;
    say_ack(&mut laptop, &entry).await;

    until_awaited(&cluster, 0.0).await;
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn to_a_client_that_never_acks_what_is_written_is_delivered_and_so_it_is_beside_one_that_acks() {
    let (cluster, api, channel) = cluster().await;
    let mut laptop = cluster.connect(1, "bob").await;
    let first = api.send("alice", &channel, "to the laptop alone").await;
    assert_eq!(laptop.next_entry().await, first);
    let mut phone = cluster.connect(0, "bob").await;
    first_ack(&api, &channel, &mut [&mut phone]).await;
    api.send("alice", &channel, "to both").await;

    settled(&cluster, 1).await;
    until_awaited(&cluster, 0.0).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
}

#[tokio::test]
async fn the_channel_is_told_who_has_what_and_who_has_read_what() {
    let (cluster, api, channel) = cluster().await;
    let (mut alice, mut bob) = (cluster.connect(1, "alice").await, cluster.connect(0, "bob").await);
    let entry = api.send("alice", &channel, "ahoy").await;
    assert_eq!(alice.next_entry().await, entry);
    assert_eq!(bob.next_entry().await, entry);

    say_ack(&mut bob, &entry).await;
    let delivered = json!({"type": "delivered", "channelId": channel, "userId": "bob", "deliveredSeq": 1});
    assert_eq!(alice.next_json().await, delivered);
    let members = api.get(&format!("/channels/{channel}/members"), "alice").await.expect(200);
    let bobs =
        members["members"].as_array().unwrap().iter().find(|member| member["userId"] == "bob").unwrap();
    assert_eq!((&bobs["deliveredSeq"], &bobs["readSeq"]), (&json!(1), &json!(0)));

    let read = format!("/channels/{channel}/read");
    for _ in 0..2 {
        api.put(&read, "bob", json!({"seq": 1})).await.expect(200);
    }
    let told = json!({"type": "read", "channelId": channel, "userId": "bob", "readSeq": 1});
    assert_eq!(alice.next_json().await, told);
    assert_eq!(bob.next_of_type("read").await, told, "bob's other devices want to know, too");
    // The second time the cursor did not move: what comes next is the next message.
    let next = api.send("bob", &channel, "aye").await;
    assert_eq!(alice.next_json().await, next);
    settled(&cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0, "nobody is pushed to because of an ephemeral frame");
}

#[tokio::test]
async fn in_a_channel_of_more_than_32_nobody_is_told_of_acks_and_reads() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let names: Vec<String> = (0..32).map(|n| format!("member-{n}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    let small = api.create_group("alice", &members[..31], "32 with alice").await;
    let large = api.create_group("alice", &members, "33 with alice").await;
    let mut alice = cluster.connect(0, "alice").await;
    for channel in [&large, &small] {
        let entry = api.send("alice", channel, "ahoy").await;
        assert_eq!(alice.next_entry().await, entry);
    }
    for channel in [&large, &small] {
        post(&cluster, "/internal/acks", &json!({"acks": [ack("member-0", channel, 1)]})).await.expect(204);
        api.put(&format!("/channels/{channel}/read"), "member-0", json!({"seq": 1})).await.expect(200);
    }
    for kind in ["delivered", "read"] {
        let told = alice.next_json().await;
        assert_eq!((&told["type"], &told["channelId"]), (&json!(kind), &json!(small)));
    }
}

#[tokio::test]
async fn who_may_not_see_the_channel_any_more_is_not_told() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    let (mut alice, mut carol) = (cluster.connect(0, "alice").await, cluster.connect(0, "carol").await);
    for session in [&mut alice, &mut carol] {
        let _first = api.send("alice", &channel, "ahoy").await;
        session.next_entry().await;
    }
    api.delete(&format!("/channels/{channel}/members/carol"), "alice").await.expect(204);
    api.put(&format!("/channels/{channel}/read"), "bob", json!({"seq": 2})).await.expect(200);
    assert_eq!(alice.next_of_type("read").await["readSeq"], 2);

    carol.send_json(&json!({"type": "ping"})).await;
    loop {
        let frame = carol.next_json().await;
        assert_ne!(frame["type"], "read");
        if frame["type"] == "pong" {
            return;
        }
    }
}
