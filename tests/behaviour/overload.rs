//! More than can be delivered: who is refused and who is not, and that nobody misses anything afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::api_client::{Answer, Api};
use harness::cluster::Cluster;
use harness::wait::{eventually, eventually_some};
use harness::websocket::WebSocketClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::whole_cluster::{expect_overloaded, seq, settled};

/// Each 64 KiB on the way to a gateway take so long, and as each request carries 512 entries of a KiB at most, a
/// gateway takes about 200 entries a second.
const DELAY: Duration = Duration::from_millis(200);
const CONTENT_BYTES: usize = 1_024;
const SENDERS: usize = 32;
/// What this is about is not how fast the test reads: a whole backlog may come at once.
const ROOM_IN_SESSIONS: &str = "--mailbox-frames=100000";

/// Many send at once until it is enough, or somebody is refused; answers how many messages were stored, and the refusals.
async fn send_until(
    api: &Api,
    channel: &str,
    content_bytes: usize,
    is_enough: impl AsyncFn(usize) -> bool,
) -> (usize, Vec<Answer>) {
    let (is_over, stored) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (api, channel) = (api.clone(), channel.to_owned());
        let (is_over, stored) = (is_over.clone(), stored.clone());
        senders.spawn(async move {
            let content = "x".repeat(content_bytes);
            while !is_over.load(Ordering::Relaxed) {
                let answer = api.try_send("alice", &channel, &content).await;
                if answer.status != 201 {
                    is_over.store(true, Ordering::Relaxed);
                    return Some(answer);
                }
                stored.fetch_add(1, Ordering::Relaxed);
            }
            None
        });
    }
    eventually("enough is sent", async || {
        is_over.load(Ordering::Relaxed) || is_enough(stored.load(Ordering::Relaxed)).await
    })
    .await;
    is_over.store(true, Ordering::Relaxed);
    let refused = senders.join_all().await.into_iter().flatten().collect();
    (stored.load(Ordering::Relaxed), refused)
}

/// What somebody has got, and their session, which has not ended.
type Reader = JoinHandle<(Vec<i64>, WebSocketClient)>;

/// Reads until this content comes; answers the `seq` of everything, in the order in which it came.
fn read_until(mut session: WebSocketClient, last: &'static str) -> Reader {
    tokio::spawn(async move {
        let mut seqs = Vec::new();
        loop {
            let entry = session.next_entry().await;
            seqs.push(seq(&entry));
            if entry["content"] == last {
                return (seqs, session);
            }
        }
    })
}

/// Alice's group with one of the two on each gateway, all of whom have devices.
async fn two_gateways() -> (Cluster, String, [Reader; 2]) {
    let builder = Cluster::builder().apis(1).gateways(2).gateway_proxies();
    let cluster = builder.gateway_flag(ROOM_IN_SESSIONS).start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob", "carol"], "Crew").await;
    for user in ["bob", "carol"] {
        api.register_device(user, "phone", &format!("phone-of-{user}")).await;
    }
    let readers = [
        read_until(cluster.connect(0, "bob").await, "the end"),
        read_until(cluster.connect(1, "carol").await, "the end"),
    ];
    (cluster, channel, readers)
}

/// Everybody has got everything once, in order, from their session.
async fn expect_everything(cluster: &Cluster, last: i64, readers: [Reader; 2]) {
    // They stay: what they have read from the log meanwhile is still on its way to them, too.
    let mut sessions = Vec::new();
    for reader in readers {
        let (seqs, session) = reader.await.unwrap();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
        sessions.push(session);
    }
    settled(cluster, 1).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0, "nobody who is connected is pushed to");
}

#[tokio::test]
async fn a_gateway_that_is_behind_stops_nobody_and_when_all_are_sends_are_refused_until_they_have_caught_up()
{
    let (cluster, channel, readers) = two_gateways().await;
    let (api, internal) = (cluster.api(0), cluster.api_internal_url(0));
    let lanes_behind = async || cluster.metric(&internal, "naru_api_lanes_behind").await;
    let is_congested = async || cluster.metric(&internal, "naru_api_delivery_congested").await == 1.0;

    cluster.gateway_proxy(0).delay(DELAY);
    let one_is_behind = async |_| lanes_behind().await == 1.0;
    let (first, refused) = send_until(&api, &channel, CONTENT_BYTES, one_is_behind).await;
    assert!(refused.is_empty(), "{refused:#?}");
    let (second, refused) = send_until(&api, &channel, CONTENT_BYTES, async |stored| stored >= 300).await;
    assert!(refused.is_empty(), "{refused:#?}");

    cluster.gateway_proxy(1).delay(DELAY);
    let (third, refused) = send_until(&api, &channel, CONTENT_BYTES, async |_| false).await;
    assert!(!refused.is_empty());
    refused.into_iter().for_each(expect_overloaded);
    assert!(is_congested().await);

    for gateway in 0..2 {
        cluster.gateway_proxy(gateway).restore().await;
    }
    let last = eventually_some("sends are taken again", async || {
        let answer = api.try_send("alice", &channel, "the end").await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    assert_eq!(seq(&last) as usize, first + second + third + 1, "who was refused has stored nothing");
    expect_everything(&cluster, seq(&last), readers).await;
    eventually("nothing is behind", async || !is_congested().await && lanes_behind().await == 0.0).await;
}

#[tokio::test]
async fn who_is_connected_to_a_gateway_whose_lane_runs_over_gets_everything_and_no_push() {
    let (cluster, channel, readers) = two_gateways().await;
    let (api, internal) = (cluster.api(0), cluster.api_internal_url(0));
    let lane_full = r#"naru_api_gateway_requests_total{outcome="lane_full"}"#;

    // A request of 512 such small entries takes 2 s: far from the 5 s after which a gateway counts as failing.
    cluster.gateway_proxy(0).delay(DELAY * 2);
    let mut stored = 0;
    while cluster.metric(&internal, lane_full).await < 100.0 {
        let (more, refused) = send_until(&api, &channel, 1, async |stored| stored >= 1_000).await;
        assert!(refused.is_empty(), "{refused:#?}");
        stored += more;
    }
    cluster.gateway_proxy(0).restore().await;

    let last = api.send("alice", &channel, "the end").await;
    assert_eq!(seq(&last) as usize, stored + 1);
    expect_everything(&cluster, seq(&last), readers).await;
}

/// Posts so many sends without a token on one connection, without waiting for answers in between; all of these.
async fn post_at_once(host: String, count: usize) -> String {
    let head = format!("POST /send/message HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n");
    let next = format!("{head}\r\n{{}}");
    let requests = next.repeat(count - 1) + &head + "Connection: close\r\n\r\n{}";
    let (mut reader, mut writer) = TcpStream::connect(&host).await.unwrap().into_split();
    let writing = tokio::spawn(async move { writer.write_all(requests.as_bytes()).await.unwrap() });
    let mut answers = String::new();
    reader.read_to_string(&mut answers).await.unwrap();
    writing.await.unwrap();
    answers
}

#[tokio::test]
async fn more_requests_than_the_http_workers_get_to_are_refused_unread_until_they_have_caught_up() {
    const CONNECTIONS: usize = 150;
    const EACH: usize = 80;
    let cluster = Cluster::start().await;
    let api = cluster.api(0);
    let channel = api.create_group("alice", &["bob"], "Crew").await;
    let mut bob = cluster.connect(0, "bob").await;

    let host = api.base_url().strip_prefix("http://").unwrap().to_owned();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(post_at_once(host.clone(), EACH));
    }
    let answers = connections.join_all().await.concat();
    let count = |status: &str| answers.matches(&format!("HTTP/1.1 {status} ")).count();
    let (unauthorized, overloaded) = (count("401"), count("503"));
    assert_eq!(unauthorized + overloaded, CONNECTIONS * EACH);
    assert!(overloaded > 0);
    let refusals = answers.matches(r#""code":"overloaded""#).count();
    assert_eq!((refusals, answers.matches("retry-after: 1\r\n").count()), (overloaded, overloaded));

    let sent = eventually_some("sends are taken again", async || {
        let answer = api.try_send("alice", &channel, "later").await;
        (answer.status == 201).then_some(answer.body)
    })
    .await;
    assert_eq!(bob.next_entry().await, sent);
}
