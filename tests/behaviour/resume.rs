//! `resume`: everything after the client's cursors, in order and once, on whichever gateway it comes to.

use std::collections::HashSet;

use harness::cluster::Cluster;
use harness::wait::eventually;
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};
use shared_types::ChannelId;

use crate::fake_api::{FakeApi, entry_of};
use crate::one_gateway::OneGateway;
use crate::whole_cluster::seq;

async fn start() -> (FakeApi, OneGateway) {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option()]).await;
    (api, gateway)
}

async fn resume(client: &mut WebSocketClient, cursors: Value) {
    client.send_json(&json!({"type": "resume", "cursors": cursors})).await;
}

async fn pong(client: &mut WebSocketClient) {
    client.send_json(&json!({"type": "ping"})).await;
    assert_eq!(client.next_json().await, json!({"type": "pong"}));
}

async fn expect(client: &mut WebSocketClient, channel: ChannelId, seqs: impl IntoIterator<Item = i64>) {
    for seq in seqs {
        assert_eq!(client.next_json().await, entry_of(channel, seq));
    }
}

async fn deliver(gateway: &OneGateway, channel: ChannelId, seqs: impl IntoIterator<Item = i64>) {
    let one = |seq| json!({"recipients": ["alice"], "entry": entry_of(channel, seq)});
    let deliveries: Vec<Value> = seqs.into_iter().map(one).collect();
    assert!(gateway.deliver(&json!(deliveries)).await.is_empty());
}

/// Waits until this many sessions have asked for a resume.
async fn until_asked(api: &FakeApi, sessions: usize) {
    let what = format!("{sessions} sessions have asked");
    eventually(&what, async || api.resumes().iter().sum::<usize>() == sessions).await;
}

#[tokio::test]
async fn a_resume_brings_what_was_missed_page_by_page_and_says_what_it_could_not_bring() {
    let (api, gateway) = start().await;
    let (behind, up_to_date, ahead) = (api.channel(450), api.channel(7), api.channel(4));
    let (too_far, new, foreign) = (api.channel(1_006), api.channel(3), api.private_channel(9));
    let mut alice = gateway.session("alice").await;
    resume(
        &mut alice,
        json!({behind.to_string(): 3, up_to_date.to_string(): 7, ahead.to_string(): 9,
        too_far.to_string(): 5, foreign.to_string(): 0}),
    )
    .await;
    expect(&mut alice, behind, 4..=450).await;
    let resumed = json!({
        "type": "resumed", "resyncRequired": [too_far], "newChannels": [new],
        "channels": {behind.to_string(): 450, up_to_date.to_string(): 7, ahead.to_string(): 4},
    });
    assert_eq!(alice.next_json().await, resumed);

    // From there on everything is live, at once.
    for (channel, next) in [(behind, 451), (up_to_date, 8), (ahead, 5), (too_far, 1_007)] {
        deliver(&gateway, channel, [next - 1, next]).await;
        expect(&mut alice, channel, [next]).await;
    }
    // What was written counts as delivered.
    eventually("it is reported", async || api.acks().0.len() == 3).await;
    let acked: HashSet<_> = api.acks().0.into_iter().map(|ack| (ack.channel_id, ack.seq)).collect();
    assert_eq!(acked, HashSet::from([(behind, 450), (up_to_date, 7), (ahead, 4)]));
}

#[tokio::test]
async fn live_entries_wait_until_a_resume_has_ended_and_answers_do_not() {
    let (api, gateway) = start().await;
    let channel = api.channel(4);
    let mut alice = gateway.session("alice").await;
    api.hold();
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    until_asked(&api, 1).await;
    deliver(&gateway, channel, [4, 6, 5]).await;
    pong(&mut alice).await;
    for _ in 0..4 {
        resume(&mut alice, json!({})).await;
        assert_eq!(alice.next_json().await["code"], "invalid_request", "one at a time");
    }
    api.answer();
    expect(&mut alice, channel, [3, 4]).await;
    assert_eq!(alice.next_json().await["channels"], json!({channel.to_string(): 4}));
    expect(&mut alice, channel, [5, 6]).await;
    pong(&mut alice).await;
}

#[tokio::test]
async fn what_came_before_a_resume_is_not_repeated_by_it() {
    let (api, gateway) = start().await;
    let channel = api.channel(9);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, [6, 7]).await;
    expect(&mut alice, channel, [6, 7]).await;
    resume(&mut alice, json!({channel.to_string(): 3})).await;
    expect(&mut alice, channel, [4, 5, 8, 9]).await;
    assert_eq!(alice.next_json().await["type"], "resumed");
    resume(&mut alice, json!({channel.to_string(): 3})).await;
    assert_eq!(alice.next_json().await["channels"], json!({channel.to_string(): 9}));
    deliver(&gateway, channel, [10]).await;
    expect(&mut alice, channel, [10]).await;
}

#[tokio::test]
async fn without_an_api_server_a_resume_is_answered_overloaded_and_the_session_goes_on() {
    let (api, gateway) = start().await;
    let channel = api.channel(4);
    let mut alice = gateway.session("alice").await;
    api.set_broken(true);
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    until_asked(&api, 1).await;
    deliver(&gateway, channel, [4]).await;
    let error = alice.next_json().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("overloaded")));
    expect(&mut alice, channel, [4]).await;

    api.set_broken(false);
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    expect(&mut alice, channel, [3]).await;
    assert_eq!(alice.next_json().await["type"], "resumed");
}

#[tokio::test]
async fn sessions_that_resume_at_once_share_requests_and_reads() {
    const SESSIONS: usize = 2_000;
    let (api, gateway) = start().await;
    let channel = api.channel(20);
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push(gateway.session(&format!("user-{number}")).await);
    }
    for session in &mut sessions {
        resume(session, json!({channel.to_string(): 15})).await;
    }
    for session in &mut sessions {
        expect(session, channel, 16..=20).await;
        assert_eq!(session.next_json().await["type"], "resumed");
    }
    // A page is kept for a second or two; a slow machine may take longer than that over the whole storm.
    assert!(api.reads() <= 10, "{} reads", api.reads());
    let resumes = api.resumes();
    assert_eq!(resumes.iter().sum::<usize>(), SESSIONS);
    assert!(resumes.iter().all(|sessions| *sessions <= 256), "{resumes:?}");
    let resumed = gateway.metric("naru_gateway_resumes_total{outcome=\"resumed\"}").await;
    assert_eq!(resumed, SESSIONS as f64);
    let read = gateway.metric("naru_gateway_log_reads_total{outcome=\"read\"}").await;
    let shared = gateway.metric("naru_gateway_log_pages_shared_total").await;
    assert_eq!(read + shared, SESSIONS as f64);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_resume() {
    let (api, gateway) = start().await;
    let channel = api.channel(4);
    let mut alice = gateway.session("alice").await;
    api.hold();
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    until_asked(&api, 1).await;
    deliver(&gateway, channel, [5]).await;
    gateway.begin_shutdown();
    assert_eq!(alice.next_json().await["type"], "draining");
    assert_eq!(alice.expect_close().await, 1012);
    api.answer();
    gateway.stopped().await;
}

#[tokio::test]
async fn too_many_live_entries_during_a_resume_end_the_session() {
    let api = FakeApi::start().await;
    let gateway = OneGateway::start(&[&api.option(), "--mailbox-frames=4"]).await;
    let channel = api.channel(4);
    let mut alice = gateway.session("alice").await;
    api.hold();
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    until_asked(&api, 1).await;
    deliver(&gateway, channel, 5..=8).await;
    assert!(!gateway.reaches("alice", 1).await);
    assert_eq!(alice.expect_close().await, 4008);
}

#[tokio::test]
async fn a_client_that_comes_to_another_gateway_misses_nothing_while_people_go_on_sending() {
    const MESSAGES: i64 = 400;
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let sending = async {
        for n in 0..MESSAGES {
            cluster.api(n as usize % 2).send("alice", &channel, &format!("{n}")).await;
        }
    };
    let receiving = async {
        let mut cursor = 0;
        for round in 0.. {
            let mut bob = cluster.connect(round % 2, "bob").await;
            resume(&mut bob, json!({&channel: cursor})).await;
            // A few of what is live, and then without a word to the other gateway.
            let mut is_live = 0;
            while is_live < 30 && cursor < MESSAGES {
                let frame = bob.next_json().await;
                if frame["type"] == "resumed" {
                    assert_eq!(frame["channels"][&channel], cursor, "what was missed comes before");
                    is_live = 1;
                } else if frame.get("seq").is_some() {
                    cursor += 1;
                    assert_eq!(seq(&frame), cursor, "round {round}");
                    is_live += i32::from(is_live > 0);
                }
            }
            if cursor == MESSAGES {
                return;
            }
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn a_resume_gives_nothing_of_channels_that_the_user_is_not_in_and_names_those_that_are_new() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let (ours, theirs) = (api.create_direct("alice", "bob").await, api.create_direct("alice", "carol").await);
    let left = api.create_group("alice", &["bob", "carol"], "Crew").await;
    for channel in [&ours, &theirs, &left] {
        api.send("alice", channel, "hello").await;
    }
    let answer = api.delete(&format!("/channels/{left}/members/bob"), "alice").await;
    assert!(answer.status < 300, "{answer:?}");

    let mut bob = cluster.connect(0, "bob").await;
    resume(&mut bob, json!({&theirs: 0, &left: 0})).await;
    let resumed = json!({"type": "resumed", "channels": {}, "resyncRequired": [], "newChannels": [ours]});
    assert_eq!(bob.next_json().await, resumed);
}
