//! The log has no gaps, and everyone sees it in order.

use futures_util::future::join_all;
use harness::cluster::Cluster;
use serde_json::json;

use crate::whole_cluster::seq;

const SENDERS: usize = 20;
const SENDS_OF_EACH: usize = 50;

#[tokio::test]
async fn a_thousand_sends_by_twenty_senders_through_two_servers_are_numbered_without_a_gap() {
    let cluster = Cluster::builder().gateways(0).start().await;
    let senders: Vec<String> = (0..SENDERS).map(|n| format!("sender-{n}")).collect();
    let members: Vec<&str> = senders.iter().map(String::as_str).collect();
    let channel = cluster.api(0).create_group("owner", &members, "Busy").await;

    let conversations = senders.iter().enumerate().map(async |(n, sender)| {
        let mut last = 0;
        for turn in 0..SENDS_OF_EACH {
            let api = cluster.api((n + turn) % 2);
            let entry = api.send(sender, &channel, &format!("{sender} {turn}")).await;
            assert!(seq(&entry) > last, "what {sender} sent later comes later");
            last = seq(&entry);
        }
    });
    join_all(conversations).await;

    let tables = cluster.tables().await;
    for (what, sql) in [
        ("entries", "SELECT count(*) FROM entries"),
        ("none twice", "SELECT count(DISTINCT content) FROM entries"),
        ("no number twice", "SELECT count(DISTINCT seq) FROM entries"),
        ("no gap", "SELECT max(seq) FROM entries WHERE (SELECT min(seq) FROM entries) = 1"),
    ] {
        assert_eq!(tables.count(sql).await, 1_000, "{what}");
    }
}

#[tokio::test]
async fn pages_of_history_are_ascending_and_leave_nothing_out_whichever_way_one_pages() {
    let cluster = Cluster::builder().gateways(0).start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let sends = (0..130).map(async |n| {
        cluster.api(n % 2).send("alice", &channel, &format!("{n}")).await;
    });
    join_all(sends).await;
    let page = async |query: String| {
        let page = cluster.api(0).get(&format!("/channels/{channel}/messages?limit=40&{query}"), "bob").await;
        let page = page.expect(200);
        let seqs: Vec<i64> = page["entries"].as_array().unwrap().iter().map(seq).collect();
        (seqs, page["hasMore"] == json!(true))
    };

    let (mut forwards, mut has_more) = (Vec::new(), true);
    while has_more {
        let seqs;
        (seqs, has_more) = page(format!("afterSeq={}", forwards.last().unwrap_or(&0))).await;
        forwards.extend(seqs);
    }
    let (mut backwards, mut has_more) = (Vec::new(), true);
    while has_more {
        let seqs;
        (seqs, has_more) = page(format!("beforeSeq={}", backwards.first().unwrap_or(&1_000))).await;
        backwards.splice(0..0, seqs);
    }

    assert_eq!(forwards, (1..=130).collect::<Vec<_>>());
    assert_eq!(backwards, forwards);
}

#[tokio::test]
async fn a_session_sees_what_came_through_one_server_in_the_order_of_the_log() {
    let cluster = Cluster::start().await;
    let channel = cluster.api(0).create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    let sends = async {
        for _ in 0..20 {
            let burst = (0..10).map(async |n| {
                let api = n % 2;
                cluster.api(api).send("alice", &channel, &format!("through {api}")).await;
            });
            join_all(burst).await;
        }
    };
    let reads = async {
        let mut last = [0, 0];
        for _ in 0..200 {
            let entry = bob.next_entry().await;
            let api = usize::from(entry["content"] == "through 1");
            assert!(seq(&entry) > last[api], "{entry} after {last:?}");
            last[api] = seq(&entry);
        }
        last
    };
    let ((), last) = tokio::join!(sends, reads);
    assert_eq!(last.iter().max(), Some(&200));
}

#[tokio::test]
async fn a_session_sees_each_of_its_channels_in_order_and_nothing_twice() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let api = cluster.api(0);
    let mut channels = Vec::new();
    for n in 0..5 {
        channels.push(api.create_group("alice", &["bob"], &format!("channel {n}")).await);
    }
    let mut bob = cluster.connect(0, "bob").await;

    let sends = (0..100).map(async |n| {
        api.send("alice", &channels[n % 5], "ahoy").await;
    });
    join_all(sends).await;

    let mut expected = [1; 5];
    for _ in 0..100 {
        let entry = bob.next_entry().await;
        let channel = channels.iter().position(|id| entry["channelId"] == id.as_str()).unwrap();
        assert_eq!(seq(&entry), expected[channel]);
        expected[channel] += 1;
    }
}
