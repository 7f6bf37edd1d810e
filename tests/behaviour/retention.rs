//! Retention: what is older than is to be kept goes, and nobody waits for it.

use harness::cluster::Cluster;
use harness::wait::eventually;
use serde_json::json;

use crate::whole_cluster::{seq, settled};

const REMOVED: &str = "naru_api_entries_removed_total";

#[tokio::test]
async fn what_is_older_than_is_kept_is_removed_and_clients_go_on_from_where_they_stand() {
    let cluster = Cluster::builder().apis(1).gateways(1).api_flag("--retention=1d").start().await;
    let (api, tables) = (cluster.api(0), cluster.tables().await);
    let channel = api.create_group("alice", &["bob"], "Crew").await;
    for n in 1..=5 {
        api.send("alice", &channel, &format!("{n}")).await;
    }
    settled(&cluster, 1).await;
    let then = tables.moment_in(-2 * 86_400);
    tables.change(&format!("UPDATE entries SET created_at = {then} WHERE seq <= 3")).await;
    tables.change(&format!("UPDATE retention SET due_at = {then}")).await;

    let url = cluster.api_internal_url(0);
    eventually("the old ones are removed", async || cluster.metric(&url, REMOVED).await == 3.0).await;

    let path = format!("/channels/{channel}/messages");
    let page = api.get(&format!("{path}?afterSeq=1"), "bob").await.expect(200);
    let seqs: Vec<i64> = page["entries"].as_array().unwrap().iter().map(seq).collect();
    assert_eq!((seqs, &page["removedSeq"], &page["hasMore"]), (vec![4, 5], &json!(3), &json!(false)));
    let synced = api.post("/sync", "bob", json!({"channels": {&channel: 4}})).await.expect(200);
    assert_eq!(synced["channels"][&channel]["removedSeq"], json!(null));
    let listed = api.get(&format!("/channels/{channel}"), "bob").await.expect(200);
    assert_eq!((&listed["lastSeq"], &listed["unreadCount"]), (&json!(5), &json!(2)));

    let mut bob = cluster.connect(0, "bob").await;
    bob.send_json(&json!({"type": "resume", "cursors": {&channel: 1}})).await;
    assert_eq!([seq(&bob.next_entry().await), seq(&bob.next_entry().await)], [4, 5]);
    assert_eq!(bob.next_json().await["channels"][&channel], json!(5));
    let next = api.send("alice", &channel, "6").await;
    assert_eq!((seq(&next), bob.next_entry().await), (6, next.clone()));
}
