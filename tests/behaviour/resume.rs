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

/// The entry with which alice joined.
fn joining(channel: ChannelId, seq: i64) -> Value {
    let mut entry = entry_of(channel, seq);
    entry["type"] = json!("memberJoined");
    entry["userIds"] = json!(["bob", "alice"]);
    entry
}

async fn deliver_joining(gateway: &OneGateway, channel: ChannelId, seq: i64) {
    let deliveries = json!([{"recipients": ["alice"], "entry": joining(channel, seq)}]);
    assert!(gateway.deliver(&deliveries).await.is_empty());
}

/// Waits until this many sessions have asked for a resume.
async fn until_asked(api: &FakeApi, sessions: usize) {
    let what = format!("{sessions} sessions have asked");
    eventually(&what, async || api.resumes().iter().sum::<usize>() == sessions).await;
}

#[tokio::test]
async fn a_resume_does_not_wait_for_what_is_not_kept_any_more() {
    let (api, gateway) = start().await;
    let (begins_later, empty, untouched) = (api.channel(9), api.channel(5), api.channel(3));
    api.remove(begins_later, 7);
    api.remove(empty, 5);
    let mut alice = gateway.session("alice").await;
    let cursors = [(begins_later, 2), (empty, 1), (untouched, 3)];
    let cursors: serde_json::Map<_, _> =
        cursors.into_iter().map(|(channel, seq)| (channel.to_string(), json!(seq))).collect();
    resume(&mut alice, Value::Object(cursors)).await;

    expect(&mut alice, begins_later, [8, 9]).await;
    let resumed = alice.next_json().await;
    let stands_at = json!({begins_later.to_string(): 9, empty.to_string(): 5, untouched.to_string(): 3});
    assert_eq!((&resumed["type"], &resumed["channels"]), (&json!("resumed"), &stands_at), "{resumed}");
    assert_eq!(resumed["resyncRequired"], json!([]));
    deliver(&gateway, empty, [6]).await;
    expect(&mut alice, empty, [6]).await;
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
async fn live_entries_wait_for_the_clients_first_frame_which_may_be_a_resume() {
    let (api, gateway) = start().await;
    let mut other = resumed(&gateway).await;
    // A machine that is busy may let them wait for too long; not every time.
    for _ in 0..10 {
        let channel = api.joined_channel(8, 9);
        let mut alice = gateway.session("alice").await;
        deliver_joining(&gateway, channel, 8).await;
        deliver(&gateway, channel, [9]).await;
        // A session that has spoken has them at once.
        assert_eq!(other.next_json().await, joining(channel, 8));
        expect(&mut other, channel, [9]).await;
        pong(&mut other).await;
        resume(&mut alice, json!({channel.to_string(): 5})).await;
        let first = alice.next_json().await;
        if first == entry_of(channel, 6) {
            expect(&mut alice, channel, 7..=9).await;
            assert_eq!(alice.next_json().await["channels"], json!({channel.to_string(): 9}));
            return;
        }
        alice.close().await;
    }
    panic!("live entries came before the resume, every time");
}

#[tokio::test]
async fn whoever_says_nothing_gets_live_entries_all_the_same() {
    let (api, gateway) = start().await;
    let channel = api.channel(3);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, 1..=3).await;
    expect(&mut alice, channel, 1..=3).await;
    deliver(&gateway, channel, [4]).await;
    expect(&mut alice, channel, [4]).await;
}

#[tokio::test]
async fn what_waits_for_the_first_frame_is_written_before_a_drain_closes() {
    let (api, gateway) = start().await;
    let channel = api.channel(3);
    let mut alice = gateway.session("alice").await;
    deliver(&gateway, channel, 1..=3).await;
    gateway.begin_shutdown();
    let mut seqs = Vec::new();
    let mut is_told = false;
    for _ in 0..4 {
        let frame = alice.next_json().await;
        is_told |= frame["type"] == "draining";
        seqs.extend(frame["seq"].as_i64());
    }
    assert!(is_told);
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(alice.expect_close().await, 1012);
    gateway.stopped().await;
}

#[tokio::test]
async fn a_late_resume_brings_nothing_older_after_what_is_newer() {
    let (api, gateway) = start().await;
    let (missed, unbroken) = (api.channel(9), api.channel(9));
    let mut alice = gateway.session("alice").await;
    for channel in [missed, unbroken] {
        deliver(&gateway, channel, [6, 7]).await;
        expect(&mut alice, channel, [6, 7]).await;
    }
    resume(&mut alice, json!({missed.to_string(): 3, unbroken.to_string(): 5})).await;
    expect(&mut alice, unbroken, [8, 9]).await;
    let resumed = json!({
        "type": "resumed", "channels": {unbroken.to_string(): 9},
        "resyncRequired": [missed], "newChannels": [],
    });
    assert_eq!(alice.next_json().await, resumed);
    // What was live goes on, and has no gap.
    deliver(&gateway, missed, [5, 10]).await;
    expect(&mut alice, missed, 8..=10).await;
    resume(&mut alice, json!({unbroken.to_string(): 5})).await;
    assert_eq!(alice.next_json().await["channels"], json!({unbroken.to_string(): 9}), "nothing twice");
}

#[tokio::test]
async fn a_channel_that_a_resume_has_called_new_begins_where_it_ended_then() {
    let (api, gateway) = start().await;
    let mut alice = gateway.session("alice").await;
    let channel = api.channel(3);
    resume(&mut alice, json!({})).await;
    assert_eq!(alice.next_json().await["newChannels"], json!([channel]));
    api.grow(channel, 6);
    deliver(&gateway, channel, [2, 6]).await;
    expect(&mut alice, channel, 4..=6).await;
    assert_eq!(api.resumes(), [1], "nothing had to be asked");
}

/// A session of alice's that has resumed before there was any channel.
async fn resumed(gateway: &OneGateway) -> WebSocketClient {
    let mut alice = gateway.session("alice").await;
    resume(&mut alice, json!({})).await;
    assert_eq!(alice.next_json().await["type"], "resumed");
    alice
}

#[tokio::test]
async fn after_a_resume_another_channel_begins_where_its_user_joined() {
    let (api, gateway) = start().await;
    let mut alice = resumed(&gateway).await;
    // Somebody else's server was to bring 3 and 4, and has died; 5 comes first.
    let (joined, founded) = (api.joined_channel(3, 5), api.channel(3));
    deliver(&gateway, joined, [5, 4, 3]).await;
    expect(&mut alice, joined, 3..=5).await;
    deliver(&gateway, founded, [3]).await;
    expect(&mut alice, founded, 1..=3).await;
    assert_eq!(api.resumes(), [1, 1, 1]);
}

#[tokio::test]
async fn whoever_is_told_of_their_joining_gets_it_without_a_question() {
    let (api, gateway) = start().await;
    let mut alice = resumed(&gateway).await;
    let channel = api.joined_channel(7, 8);
    api.hold();
    deliver_joining(&gateway, channel, 7).await;
    assert_eq!(alice.next_json().await, joining(channel, 7));
    deliver(&gateway, channel, [8]).await;
    expect(&mut alice, channel, [8]).await;
    assert_eq!(api.resumes(), [1]);
}

#[tokio::test]
async fn whoever_has_left_again_gets_what_came_before() {
    let (api, gateway) = start().await;
    let mut alice = resumed(&gateway).await;
    let channel = api.private_channel(7);
    deliver(&gateway, channel, [6, 7]).await;
    expect(&mut alice, channel, [6, 7]).await;
}

#[tokio::test]
async fn a_channel_whose_beginning_cannot_be_learnt_ends_the_session() {
    let (api, gateway) = start().await;
    let mut alice = resumed(&gateway).await;
    api.set_broken(true);
    deliver(&gateway, api.channel(3), [3]).await;
    assert_eq!(alice.expect_close().await, 4008);
    assert_eq!(gateway.metric("naru_gateway_gaps_total{outcome=\"given_up\"}").await, 1.0);
}

#[tokio::test]
async fn a_beginning_too_far_back_ends_the_session() {
    let (api, gateway) = start().await;
    let mut alice = resumed(&gateway).await;
    deliver(&gateway, api.channel(1_002), [1_002]).await;
    assert_eq!(alice.expect_close().await, 4008);
}

#[tokio::test]
async fn with_more_new_channels_than_a_resume_names_another_may_be_old_and_begins_with_what_comes() {
    let (api, gateway) = start().await;
    for _ in 0..1_000 {
        api.channel(1);
    }
    let mut alice = resumed(&gateway).await;
    let channel = api.channel(2_000);
    deliver(&gateway, channel, [2_000]).await;
    expect(&mut alice, channel, [2_000]).await;
    assert_eq!(api.resumes(), [1]);
}

#[tokio::test]
async fn without_an_api_server_a_resume_is_answered_overloaded_and_the_session_goes_on() {
    let (api, gateway) = start().await;
    let (channel, quiet) = (api.channel(4), api.channel(6));
    let mut alice = gateway.session("alice").await;
    api.set_broken(true);
    resume(&mut alice, json!({channel.to_string(): 2})).await;
    until_asked(&api, 1).await;
    deliver(&gateway, channel, [4]).await;
    let error = alice.next_json().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("overloaded")));
    expect(&mut alice, channel, [4]).await;

    api.set_broken(false);
    resume(&mut alice, json!({channel.to_string(): 2, quiet.to_string(): 5})).await;
    expect(&mut alice, quiet, [6]).await;
    assert_eq!(alice.next_json().await["resyncRequired"], json!([channel]), "it has gone on meanwhile");
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
