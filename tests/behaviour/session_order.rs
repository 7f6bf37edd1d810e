//! For one session, each channel's entries arrive in `seq` order and none twice, whatever order they come in.

use harness::cluster::Cluster;
use harness::wait::eventually;
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};
use shared_types::ChannelId;

use crate::fake_api::{FakeApi, entry_of};
use crate::one_gateway::OneGateway;
use crate::whole_cluster::seq;

const DUPLICATES: &str = "naru_gateway_duplicates_dropped_total";
const FILLED: &str = "naru_gateway_gaps_total{outcome=\"filled\"}";

/// Hands these entries of a channel over in this order; alice is there for all of them.
async fn deliver(gateway: &OneGateway, channel: ChannelId, seqs: &[i64]) {
    let one = |seq: &i64| json!({"recipients": ["alice"], "entry": entry_of(channel, *seq)});
    let deliveries: Vec<Value> = seqs.iter().map(one).collect();
    assert!(gateway.deliver(&json!(deliveries)).await.is_empty());
}

/// Checks that these come next, and nothing else before an answer that is asked for then.
async fn expect(client: &mut WebSocketClient, channel: ChannelId, seqs: &[i64]) {
    for seq in seqs {
        assert_eq!(client.next_json().await, entry_of(channel, *seq));
    }
    client.send_json(&json!({"type": "ping"})).await;
    assert_eq!(client.next_json().await["type"], "pong");
}

async fn start() -> (FakeApi, OneGateway) {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option()]).await;
    (api, gateway)
}

#[tokio::test]
async fn entries_that_overtake_each_other_arrive_in_order_and_repeated_ones_once() {
    let (api, gateway) = start().await;
    let channel = api.channel(5);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, &[1, 3, 2, 2, 3, 5, 4, 1]).await;
    expect(&mut alice, channel, &[1, 2, 3, 4, 5]).await;
    assert_eq!(gateway.metric(DUPLICATES).await, 3.0);
    assert_eq!(api.reads(), 0, "nothing was missing for long");
}

#[tokio::test]
async fn the_first_entry_of_a_channel_waits_a_moment_for_one_before_it() {
    let (api, gateway) = start().await;
    let channel = api.channel(9);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, &[8, 9, 7]).await;
    for seq in [7, 8, 9] {
        assert_eq!(alice.next_json().await, entry_of(channel, seq));
    }
    deliver(&gateway, channel, &[6]).await;
    expect(&mut alice, channel, &[]).await;
    assert_eq!(api.reads(), 0, "what came before the session is not missing");
}

#[tokio::test]
async fn what_does_not_come_is_read_from_the_log_up_to_what_did() {
    let (api, gateway) = start().await;
    // Longer than a page.
    let channel = api.channel(500);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, &[1, 450]).await;
    let missed: Vec<i64> = (1..=450).collect();
    expect(&mut alice, channel, &missed).await;
    assert_eq!((api.reads(), gateway.metric(FILLED).await), (3, 3.0));
    deliver(&gateway, channel, &[451]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 451));
}

#[tokio::test]
async fn a_gap_of_what_is_not_kept_any_more_is_not_waited_for() {
    let (api, gateway) = start().await;
    let channel = api.channel(40);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, &[1]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 1));
    api.remove(channel, 30);
    deliver(&gateway, channel, &[33]).await;
    expect(&mut alice, channel, &[31, 32, 33]).await;
    api.remove(channel, 40);
    deliver(&gateway, channel, &[41]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 41));
}

#[tokio::test]
async fn one_read_fills_the_gap_of_every_session() {
    let (api, gateway) = start().await;
    let channel = api.channel(3);
    let users: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    let mut sessions = Vec::new();
    for user in &users {
        sessions.push(gateway.session(user).await);
    }
    let to_all = |seq| json!({"recipients": users, "entry": entry_of(channel, seq)});
    gateway.deliver(&json!([to_all(1), to_all(3)])).await;
    for session in &mut sessions {
        for seq in 1..=3 {
            assert_eq!(session.next_json().await, entry_of(channel, seq));
        }
    }
    assert_eq!((api.reads(), gateway.metric(FILLED).await), (1, 50.0));
}

#[tokio::test]
async fn a_gap_is_filled_when_the_api_server_is_back() {
    let (api, gateway) = start().await;
    let channel = api.channel(3);
    let mut alice = gateway.session("alice").await;
    api.set_broken(true);
    deliver(&gateway, channel, &[1, 3]).await;
    eventually("it was tried more than once", async || {
        gateway.metric("naru_gateway_api_failures_total").await >= 2.0
    })
    .await;
    expect(&mut alice, channel, &[1]).await;
    assert_eq!(gateway.status(&gateway.internal("/readyz")).await, 200);
    api.set_broken(false);
    for seq in [2, 3] {
        assert_eq!(alice.next_json().await, entry_of(channel, seq));
    }
}

#[tokio::test]
async fn a_gap_that_cannot_be_filled_ends_the_session_so_that_the_client_resumes_elsewhere() {
    let (api, gateway) = start().await;
    // This log has not even what was delivered.
    let channel = api.channel(1);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, &[1, 3]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 1));
    assert_eq!(alice.expect_close().await, 4008);
    assert_eq!(gateway.metric("naru_gateway_gaps_total{outcome=\"given_up\"}").await, 1.0);
}

#[tokio::test]
async fn more_entries_behind_a_gap_than_may_wait_end_the_session() {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option(), "--mailbox-frames=16"]).await;
    let channel = api.channel(100);
    let mut alice = gateway.session("alice").await;
    api.hold();
    deliver(&gateway, channel, &[1]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 1));
    for seq in 3..=18 {
        deliver(&gateway, channel, &[seq]).await;
        expect(&mut alice, channel, &[]).await;
    }
    deliver(&gateway, channel, &[19]).await;
    assert_eq!(alice.expect_close().await, 4008);
}

#[tokio::test]
async fn a_drain_waits_for_the_gap_before_an_entry_that_has_come() {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option(), "--drain-window=10ms"]).await;
    let channel = api.channel(3);
    let mut alice = gateway.session("alice").await;
    api.hold();
    deliver(&gateway, channel, &[1, 3]).await;
    assert_eq!(alice.next_json().await, entry_of(channel, 1));
    gateway.begin_shutdown();
    assert_eq!(alice.next_json().await["type"], "draining");
    api.answer();
    for seq in [2, 3] {
        assert_eq!(alice.next_json().await, entry_of(channel, seq));
    }
    assert_eq!(alice.expect_close().await, 1012);
    gateway.stopped().await;
}

#[tokio::test]
async fn an_ephemeral_frame_passes_by_and_nobody_is_absent_for_it() {
    let (api, gateway) = start().await;
    let channel = api.channel(3);
    let mut alice = gateway.session("alice").await;
    api.hold();
    let typing = json!({"type": "typing", "channelId": channel, "userId": "bob"});
    let deliveries = json!([
        {"recipients": ["alice"], "entry": entry_of(channel, 1)},
        {"recipients": ["alice"], "entry": entry_of(channel, 3)},
        {"recipients": ["alice", "nobody"], "entry": typing},
    ]);
    assert!(gateway.deliver(&deliveries).await.is_empty());
    assert_eq!(alice.next_json().await, entry_of(channel, 1));
    assert_eq!(alice.next_json().await, typing);
}

#[tokio::test]
async fn what_two_api_servers_send_in_turn_reaches_a_session_in_order() {
    let cluster = Cluster::builder().gateways(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    for n in 0..100 {
        let sent = cluster.api(n % 2).send("alice", &channel, &format!("{n}")).await;
        assert_eq!(seq(&sent), n as i64 + 1);
    }
    for n in 1..=100 {
        assert_eq!(seq(&bob.next_entry().await), n);
    }
}

#[tokio::test]
async fn an_entry_that_only_the_database_has_is_filled_in() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(cluster.api(0).send("alice", &channel, &format!("{n}")).await);
    }
    let mut carol = cluster.connect(0, "carol").await;
    for entry in [&sent[0], &sent[2]] {
        let delivery = json!({"deliveries": [{"recipients": ["carol"], "entry": entry}]});
        cluster.post_internal(0, "/ws/send/message", &delivery).await.expect(200);
    }
    for entry in sent {
        assert_eq!(carol.next_entry().await, entry);
    }
}

#[tokio::test]
async fn a_gateway_that_was_frozen_gives_nobody_an_entry_twice() {
    let cluster = Cluster::builder().apis(1).gateways(0).start().await;
    let api = cluster.api(0);
    let gateway = cluster.spawn_gateway().await;
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = gateway.connect("bob").await;
    let before = api.send("alice", &channel, "before").await;
    assert_eq!(bob.next_entry().await, before);

    gateway.process.pause();
    let meanwhile = api.send("alice", &channel, "meanwhile").await;
    eventually("the api-server has tried in vain", async || {
        let failed = "naru_api_gateway_requests_total{outcome=\"failed\"}";
        cluster.metric(&cluster.api_internal_url(0), failed).await >= 1.0
    })
    .await;
    gateway.process.resume();
    assert_eq!(bob.next_entry().await, meanwhile);

    let after = api.send("alice", &channel, "after").await;
    assert_eq!(bob.next_entry().await, after, "and nothing twice");
}
