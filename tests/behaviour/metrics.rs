//! What the services count, and that the page on it says the same.

use std::collections::{BTreeMap, BTreeSet};

use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::wait::eventually;
use serde_json::{Value, json};

use crate::documents::{quoted, read};
use crate::whole_cluster::settled;

/// A metric's type, its labels, and of those the values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    kind: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// By the name that is asked for: of a counter with `_total`.
fn served(text: &str) -> BTreeMap<String, Shape> {
    let mut all = BTreeMap::new();
    for declared in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = declared.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let mut shape = Shape { kind: kind.to_owned(), ..Shape::default() };
        let mut samples = 0;
        let endings = if kind == "histogram" { "_bucket" } else { suffix };
        for sample in text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(endings)) {
            let Some(rest) = sample.strip_prefix('{') else {
                samples += usize::from(sample.starts_with(' '));
                continue;
            };
            samples += 1;
            // No value has a comma or a brace, except the routes' patterns, whose brace is none at the end.
            let labels = rest.rsplit_once('}').unwrap().0;
            for (label, value) in labels.split(',').map(|label| label.split_once('=').unwrap()) {
                if label != "le" {
                    let values: &mut BTreeSet<String> = shape.labels.entry(label.to_owned()).or_default();
                    values.insert(value.trim_matches('"').to_owned());
                }
            }
        }
        assert!(samples > 0, "{name}: nothing in this test makes it");
        all.insert(format!("{name}{suffix}"), shape);
    }
    all
}

/// The rows of the page's tables.
fn listed(page: &str) -> BTreeMap<String, Shape> {
    let rows = page.lines().filter(|line| line.starts_with("| `naru_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _, _] = cells[..] else { panic!("not five columns: {row}") };
        assert!(!meaning.is_empty(), "{row}");
        let labels = labels.split(';').filter(|label| !label.is_empty()).map(|label| {
            let mut words = quoted(label).map(str::to_owned);
            (words.next().unwrap_or_else(|| panic!("{row}")), words.collect())
        });
        let shape = Shape { kind: kind.to_owned(), labels: labels.collect() };
        (name.trim_matches('`').to_owned(), shape)
    })
    .collect()
}

async fn text_of(cluster: &Cluster, internal_url: &str) -> String {
    let metrics = Answer::of(cluster.client().get(format!("{internal_url}/metrics"))).await.expect(200);
    metrics.as_str().expect("metrics are text").to_owned()
}

#[tokio::test]
async fn the_page_on_metrics_lists_every_metric_with_its_type_its_labels_and_their_values() {
    let builder = Cluster::builder().apis(1).gateways(1).api_flag("--push-fold-window=0s");
    let cluster = builder.api_flag("--push-device-per-minute=4").start().await;
    let (api, internal) = (cluster.api(0), cluster.api_internal_url(0));
    // What begins with its first event: a push, one that is held back, a session that ends.
    api.register_device("bob", "phone", "phone-of-bob").await;
    for name in ["first", "second"] {
        let channel = api.create_group("alice", &["bob"], name).await;
        api.send("alice", &channel, "ahoy").await;
    }
    eventually("a push is made, and one held back", async || {
        let held_back = r#"naru_api_pushes_held_back_total{budget="device_minute"}"#;
        let sent = r#"naru_api_pushes_total{outcome="sent",reason=""}"#;
        cluster.metric(&internal, held_back).await > 0.0 && cluster.metric(&internal, sent).await > 0.0
    })
    .await;
    cluster.connect(0, "bob").await.close().await;
    eventually("the session has ended", async || {
        text_of(&cluster, &cluster.gateway_internal_url(0)).await.contains("naru_gateway_closes_total{")
    })
    .await;

    let mut real = served(&text_of(&cluster, &internal).await);
    for (name, of_gateway) in served(&text_of(&cluster, &cluster.gateway_internal_url(0)).await) {
        let shape = real.entry(name).or_insert(Shape { kind: of_gateway.kind, ..Shape::default() });
        for (label, values) in of_gateway.labels {
            shape.labels.entry(label).or_default().extend(values);
        }
    }
    let listed = listed(&read("docs/metrics.md"));
    assert_eq!(listed.keys().collect::<Vec<_>>(), real.keys().collect::<Vec<_>>());
    for (name, Shape { kind, labels }) in real {
        let on_page = &listed[&name];
        assert_eq!(on_page.kind, kind, "{name}");
        assert_eq!(
            on_page.labels.keys().collect::<Vec<_>>(),
            labels.keys().collect::<Vec<_>>(),
            "the labels of {name}"
        );
        for (label, values) in labels {
            let written = &on_page.labels[&label];
            // Where the page lists none, they are open: codes, routes, versions.
            assert!(written.is_empty() || values.is_subset(written), "{name}, {label}: {values:?}");
            if label == "outcome" && name != "naru_api_pushes_total" {
                assert_eq!(*written, values, "{name}: all are there from the start");
            }
        }
    }
}

#[tokio::test]
async fn how_long_an_entry_takes_to_the_socket_and_to_the_ack_is_measured() {
    let cluster = Cluster::builder().apis(1).gateways(1).start().await;
    let (api, gateway) = (cluster.api(0), cluster.gateway_internal_url(0));
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    let count = async |what: &str| {
        let seconds = format!("naru_gateway_commit_to_{what}_seconds");
        let sum = cluster.metric(&gateway, &format!("{seconds}_sum")).await;
        let count = cluster.metric(&gateway, &format!("{seconds}_count")).await;
        // Not a whole minute: it is no difference of clocks, nor of units.
        assert!((0.0..60.0).contains(&sum), "{sum}");
        count
    };
    let ack = |entry: &Value| json!({"type": "ack", "channelId": entry["channelId"], "seq": entry["seq"]});
    for written in 1..=3 {
        api.send("alice", &channel, "ahoy").await;
        let entry = bob.next_entry().await;
        eventually("it is measured", async || count("write").await == f64::from(written)).await;
        assert_eq!(
            count("ack").await,
            f64::from((written - 2).max(0)),
            "until the first ack it may be that none comes"
        );
        bob.send_json(&ack(&entry)).await;
        eventually("the ack is measured", async || count("ack").await == f64::from(written - 1)).await;
    }
    // Answered after the acks, so that the last one has been taken.
    bob.send_json(&json!({"type": "ping"})).await;
    bob.next_of_type("pong").await;
    assert_eq!(count("ack").await, 2.0);
}

#[tokio::test]
async fn what_waits_in_the_outbox_shows_its_age_until_it_is_delivered() {
    let cluster = Cluster::builder().apis(1).gateways(1).gateway_proxies().start().await;
    let (api, internal) = (cluster.api(0), cluster.api_internal_url(0));
    let oldest = async || cluster.metric(&internal, "naru_api_outbox_oldest_seconds").await;
    let channel = api.create_direct("alice", "bob").await;
    let mut bob = cluster.connect(0, "bob").await;
    eventually("the gateway lives", async || {
        cluster.metric(&internal, "naru_api_live_gateways").await == 1.0
    })
    .await;
    assert_eq!(cluster.metric(&cluster.gateway_internal_url(0), "naru_gateway_lease_held").await, 1.0);

    cluster.gateway_proxy(0).black_hole();
    api.send("alice", &channel, "into the dark").await;
    eventually("the outbox is as old as what waits in it", async || oldest().await > 1.0).await;

    cluster.gateway_proxy(0).restore().await;
    bob.next_entry().await;
    settled(&cluster, 1).await;
    eventually("nothing waits any more", async || oldest().await == 0.0).await;
    cluster.stop_gateway(0).await;
    eventually("no gateway lives", async || cluster.metric(&internal, "naru_api_live_gateways").await == 0.0)
        .await;
}
