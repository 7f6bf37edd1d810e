//! Alerts, dashboard and services speak of the same metrics, and a real Prometheus understands all of it.

mod named;
mod served;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::fake_fcm::Behaviour;
use harness::prometheus::Prometheus;
use harness::wait::{LIMIT, eventually};
use harness::websocket::WebSocketClient;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::served::Served;

/// Nothing is held back by a budget while all is well, and no alert is there to be shown.
const EMPTY_WHILE_ALL_IS_WELL: [&str; 2] = ["naru_api_pushes_held_back_total", "ALERTS"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// A cluster in which everything happens that the dashboard shows, until it is dropped.
struct Town {
    cluster: Cluster,
    _life: JoinSet<()>,
}

impl Town {
    async fn start() -> Self {
        let cluster = Cluster::builder().api_flag("--push-fold-window=0s").start().await;
        let unavailable = Behaviour::Unavailable { retry_after: Some("1".into()) };
        cluster.fcm.respond_to("phone-of-dora", unavailable);
        for user in ["carol", "dora"] {
            cluster.api(0).register_device(user, "phone", &format!("phone-of-{user}")).await;
        }
        let channel = cluster.api(0).create_group("alice", &["bob", "carol", "dora"], "town").await;
        let bob = cluster.connect(0, "bob").await;
        let zoe = cluster.connect(1, "zoe").await;
        let mut life = JoinSet::new();
        life.spawn(listen(bob, channel.clone()));
        let gateway = cluster.gateway_url(1);
        life.spawn(async move { come_and_go(zoe, &gateway).await });
        for api in [cluster.api(0), cluster.api(1)] {
            let channel = channel.clone();
            life.spawn(async move {
                let mut beat = tokio::time::interval(Duration::from_millis(50));
                loop {
                    beat.tick().await;
                    api.send("alice", &channel, "ahoy").await;
                }
            });
        }
        Self { cluster, _life: life }
    }

    fn internal_urls(&self) -> [(&'static str, Vec<String>); 2] {
        let of = |url: &dyn Fn(usize) -> String| [url(0), url(1)].to_vec();
        [
            ("naru-api-server", of(&|index| self.cluster.api_internal_url(index))),
            ("naru-chat-gateway", of(&|index| self.cluster.gateway_internal_url(index))),
        ]
    }

    async fn served(&self) -> Served {
        let mut served = Served::default();
        for url in self.internal_urls().into_iter().flat_map(|(_, urls)| urls) {
            let answer = Answer::of(self.cluster.client().get(format!("{url}/metrics"))).await.expect(200);
            served.add(answer.as_str().expect("metrics are text"));
        }
        served
    }
}

/// Resumes and acks what comes.
async fn listen(mut session: WebSocketClient, channel: String) {
    session.send_json(&json!({"type": "resume", "cursors": {&channel: 0}})).await;
    loop {
        let frame = session.next_json().await;
        if let Some(seq) = frame["seq"].as_i64() {
            session.send_json(&json!({"type": "ack", "channelId": channel, "seq": seq})).await;
        }
    }
}

async fn come_and_go(mut session: WebSocketClient, gateway: &str) {
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    loop {
        beat.tick().await;
        session.close().await;
        let dial = harness::websocket::Dial::to(gateway).bearer(&harness::tokens::token_for("zoe"));
        // The gateway may have been stopped by the test.
        let Ok(next) = dial.try_connect().await else { return };
        session = next;
    }
}

/// Title and query of everything that the dashboard asks, with its variables as they are when it is opened.
fn dashboard_queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("deploy/grafana/dashboards/naru.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let asked = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
    });
    let with_values = |query: &str| {
        let all = query.replace("$namespace", ".*").replace("$instance", ".*");
        all.replace("$__rate_interval", "10s")
    };
    asked.map(|(title, query)| (title.to_owned(), with_values(query))).collect()
}

#[tokio::test]
async fn every_metric_label_and_value_that_rules_dashboard_and_chart_name_is_served() {
    let town = Town::start().await;
    let named = named::in_files_below(&root().join("deploy"));
    assert!(named.len() > 100, "only {} metrics were found", named.len());
    let mut missing = BTreeSet::new();
    // Some come with the first event of their kind.
    let all_there = async {
        loop {
            let served = town.served().await;
            missing = named.iter().filter(|named| !named.is_in(&served)).map(ToString::to_string).collect();
            if missing.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let _in_time = tokio::time::timeout(LIMIT, all_there).await;
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn a_real_prometheus_answers_every_query_of_the_dashboard_and_raises_no_alert_while_all_is_well() {
    let town = Town::start().await;
    let jobs = town.internal_urls().map(|(job, urls)| {
        (job, urls.iter().map(|url| url.trim_start_matches("http://").to_owned()).collect())
    });
    let prometheus = Prometheus::start(&jobs, &root().join("deploy/prometheus/rules.yml")).await;
    let queries = dashboard_queries();
    assert!(queries.len() > 50, "only {} queries were found", queries.len());
    for (title, query) in queries {
        if EMPTY_WHILE_ALL_IS_WELL.iter().any(|name| query.contains(name)) {
            prometheus.query(&query).await;
            continue;
        }
        eventually(&format!("{title} shows a number: {query}"), async || {
            prometheus.query(&query).await.iter().any(|(_, value)| value.is_finite())
        })
        .await;
    }
    eventually("every rule has been evaluated", async || {
        let rules = prometheus.rules().await;
        for rule in &rules {
            assert_ne!(rule["health"], "err", "{rule}");
        }
        rules.iter().all(|rule| rule["health"] == "ok")
    })
    .await;
    // A counter's first appearance is not in its rate yet: for a moment pushes look as if all were tried again.
    eventually("no alert is raised, nor pending", async || prometheus.query("ALERTS").await.is_empty()).await;

    town.cluster.stop_gateway(1).await;
    let instance = &jobs[1].1[1];
    let alert = format!("ALERTS{{alertname=\"NaruServiceDown\", instance=\"{instance}\"}}");
    eventually("the stopped gateway is missed", async || !prometheus.query(&alert).await.is_empty()).await;
}

#[test]
fn every_alert_has_a_runbook() {
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/rules.yml")).unwrap();
    let runbooks = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let headings: BTreeSet<_> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let links: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    assert!(alerts.len() >= 10 && alerts.len() == links.len(), "{alerts:?} {links:?}");
    for (alert, link) in alerts.into_iter().zip(links) {
        assert_eq!(link, format!("docs/operations.md#{}", alert.to_lowercase()));
        assert!(headings.contains(alert), "docs/operations.md has no heading {alert}");
    }
}
