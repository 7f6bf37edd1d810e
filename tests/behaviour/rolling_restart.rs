//! Servers are replaced one after the other while people send: nobody notices, and no phone rings.

mod pods;

use harness::api_client::Api;
use harness::cluster::Cluster;
use harness::kube_service::KubeService;
use harness::wait::eventually;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::pods::{Deployment, Values};
use crate::steady_clients::{Listener, keep_sending};
use crate::whole_cluster::at_rest;

const MEMBERS: usize = 20;

/// A group of alice's with all of them, each with a phone that rings when it is pushed to.
struct Crew {
    channel: String,
    users: Vec<String>,
}

impl Crew {
    async fn of(api: &Api) -> Self {
        let users: Vec<String> = (0..MEMBERS).map(|n| format!("user-{n}")).collect();
        let members: Vec<&str> = users.iter().map(String::as_str).collect();
        let channel = api.create_group("alice", &members, "Crew").await;
        for user in &users {
            api.register_device(user, "phone", &format!("phone-of-{user}")).await;
        }
        Self { channel, users }
    }

    fn listen(&self, api: &Api, until: &watch::Receiver<Option<i64>>) -> Vec<JoinHandle<Listener>> {
        let listener = |user: &String| Listener::new(api.clone(), user, &self.channel);
        self.users.iter().map(|user| tokio::spawn(listener(user).run(until.clone()))).collect()
    }
}

async fn until_everyone_is_here(cluster: &Cluster, gateways: &[u16]) {
    eventually("everyone is here", async || {
        let mut sessions = 0.0;
        for port in gateways {
            sessions += cluster.metric(&format!("http://127.0.0.1:{port}"), "naru_gateway_sessions").await;
        }
        sessions == MEMBERS as f64
    })
    .await;
}

/// Each has all of them and has moved, and there was no push.
async fn assert_all_is_well(
    cluster: &Cluster,
    last: i64,
    say_end: watch::Sender<Option<i64>>,
    listeners: Vec<JoinHandle<Listener>>,
) {
    // Everyone stays: who was between two gateways is looked for a few seconds later.
    at_rest(&cluster.database().await).await;
    assert_eq!(cluster.fcm.seen().attempts.len(), 0);
    say_end.send(Some(last)).unwrap();
    for listener in listeners {
        let listener = listener.await.unwrap();
        assert_eq!(listener.cursor, last);
        assert!(listener.sessions >= 2, "{} has never moved", listener.user);
    }
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing_repeats_nothing_and_pushes_to_nobody() {
    let builder = Cluster::builder().gateways(0).gateway_flag("--drain-window=1s");
    // At once, so that nothing but the registry keeps a push from who is between two gateways.
    let builder = builder.api_flag("--push-fold-window=0s");
    let cluster = builder.gateway_flag("--shutdown-grace=10s").start().await;
    let crew = Crew::of(&cluster.api(0)).await;
    let mut gateways = vec![cluster.spawn_gateway().await, cluster.spawn_gateway().await];

    let (say_end, end) = watch::channel(None);
    let listeners = crew.listen(&cluster.api(0), &end);
    until_everyone_is_here(&cluster, &[gateways[0].internal_port, gateways[1].internal_port]).await;

    let (say_enough, enough) = watch::channel(false);
    let sending = {
        let (apis, channel) = (vec![cluster.api(0), cluster.api(1)], crew.channel.clone());
        tokio::spawn(async move { keep_sending(apis, "alice", &channel, enough).await })
    };
    for _ in 0..2 {
        let old = gateways.remove(0);
        gateways.push(cluster.spawn_gateway().await);
        old.process.sigterm();
        assert!(old.process.wait_exit().await.success());
    }
    say_enough.send(true).unwrap();
    let sent = sending.await.unwrap();
    assert_eq!((sent.repeats, sent.messages), (0, sent.last_seq));
    assert_all_is_well(&cluster, sent.last_seq, say_end, listeners).await;
}

/// Takes its minute: these are the chart's own seconds.
#[tokio::test]
async fn a_roll_out_of_the_charts_pods_under_load_loses_nothing_repeats_nothing_and_pushes_to_nobody() {
    let (apis, apis_internal) = (KubeService::start().await, KubeService::start().await);
    let gateways = KubeService::start().await;
    let values = Values::of_the_chart();
    let window = values.gateway.drain_window.as_ref().unwrap();
    let cluster = Cluster::builder().apis(0).gateways(0);
    let cluster = cluster
        .api_flag(format!("--shutdown-grace={}", values.api_server.shutdown_grace))
        .api_flag("--push-fold-window=0s")
        .gateway_flag(format!("--shutdown-grace={}", values.gateway.shutdown_grace))
        .gateway_flag(format!("--drain-window={window}"))
        .gateway_flag(format!("--api-url=http://127.0.0.1:{}", apis_internal.port()))
        .gateway_flag(format!("--public-url=ws://127.0.0.1:{}/ws", gateways.port()));
    let cluster = cluster.start().await;
    let (timings, pods) = (values.api_server, Vec::new());
    let mut api_servers = Deployment { timings, public: &apis, internal: Some(&apis_internal), pods };
    let (timings, pods) = (values.gateway, Vec::new());
    let mut chat_gateways = Deployment { timings, public: &gateways, internal: None, pods };
    api_servers.scale(&cluster, 2).await;
    chat_gateways.scale(&cluster, 2).await;

    let url = format!("http://127.0.0.1:{}", apis.port());
    let api = Api::at(url.clone(), cluster.client().clone());
    let crew = Crew::of(&api).await;
    let (say_end, end) = watch::channel(None);
    let listeners = crew.listen(&api, &end);
    let ports: Vec<u16> = chat_gateways.pods.iter().map(|pod| pod.internal_port).collect();
    until_everyone_is_here(&cluster, &ports).await;

    let (say_enough, enough) = watch::channel(false);
    // A connection that is kept stays with its pod until that ends; one for each send goes to all that are ready.
    let fresh = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
    let keep = |api: Api, user: &'static str| {
        let (channel, enough) = (crew.channel.clone(), enough.clone());
        tokio::spawn(async move { keep_sending(vec![api], user, &channel, enough).await })
    };
    let (kept, fresh) = (keep(api.clone(), "alice"), keep(Api::at(url, fresh), "user-0"));
    tokio::join!(api_servers.roll_out(&cluster), chat_gateways.roll_out(&cluster));
    say_enough.send(true).unwrap();

    let (kept, fresh) = (kept.await.unwrap(), fresh.await.unwrap());
    assert_eq!(fresh.repeats, 0, "a pod was told to stop before everybody had forgotten it");
    // None was stored twice.
    let last = kept.last_seq.max(fresh.last_seq);
    assert_eq!(last, kept.messages + fresh.messages);
    assert_all_is_well(&cluster, last, say_end, listeners).await;
}
