//! Our own credentials failing: pushing stops, raises the alarm, and goes on where it was; nothing is lost by it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use harness::cluster::{ApiProcess, Cluster};
use harness::fake_fcm::{Behaviour, TokenBehaviour};
use harness::wait::eventually;
use serde_json::json;
use sqlx::PgPool;

use crate::whole_cluster::count;

const PAUSE: Duration = Duration::from_secs(1);
const USERS: usize = 12;

/// An api-server as a program with two pushes at one time, and a channel of alice with users who are all offline and
/// have a phone each.
struct Crew {
    cluster: Cluster,
    server: ApiProcess,
    channel: String,
    database: PgPool,
}

impl Crew {
    async fn start() -> Self {
        let builder = Cluster::builder().apis(0).gateways(0).api_flag("--push-in-flight=2");
        let builder = builder.api_flag("--push-fold-window=0s").api_flag("--push-fault-pause=1s");
        let cluster = builder.start().await;
        let server = cluster.spawn_api().await;
        let users: Vec<_> = (0..USERS).map(|n| format!("user-{n}")).collect();
        for user in &users {
            server.api.register_device(user, "phone", &phone(user)).await;
        }
        let users: Vec<_> = users.iter().map(String::as_str).collect();
        let channel = server.api.create_group("alice", &users, "crew").await;
        let database = cluster.database().await;
        Self { cluster, server, channel, database }
    }

    async fn alarm(&self) -> f64 {
        let url = format!("http://127.0.0.1:{}", self.server.internal_port);
        self.cluster.metric(&url, "naru_api_push_failing_by_our_fault").await
    }

    fn lines(&self, text: &str) -> usize {
        self.server.process.output().iter().filter(|line| line.contains(text)).count()
    }

    /// Nothing is lost by it: every job and every device is as it was.
    async fn assert_unharmed(&self) {
        let waiting = "SELECT count(*) FROM push_jobs WHERE due_at IS NOT NULL";
        assert_eq!(count(&self.database, waiting).await, USERS as i64);
        let disabled = "SELECT count(*) FROM devices WHERE disabled_at IS NOT NULL";
        assert_eq!(count(&self.database, disabled).await, 0);
        let counted = "SELECT count(*) FROM push_jobs WHERE attempts > 0";
        eventually("no attempt is counted, but for the one that is made just now", async || {
            count(&self.database, counted).await <= 1
        })
        .await;
    }

    /// Everyone is told, once, of both messages.
    async fn assert_told(&self) {
        eventually("everyone is told", async || self.cluster.fcm.accepted().len() >= USERS).await;
        eventually("the alarm ends", async || self.alarm().await == 0.0).await;
        for user in 0..USERS {
            let pushes = self.cluster.fcm.accepted_by(&phone(&format!("user-{user}")));
            let shown: Vec<_> = pushes.iter().map(|push| &push["notification"]["body"]).collect();
            assert_eq!(shown, [&json!("2 new messages")], "user-{user}");
        }
        eventually("the end is logged", async || self.lines("pushes go on") == 1).await;
        assert_eq!(self.lines("pushes fail by our own fault"), 1);
    }
}

fn phone(user: &str) -> String {
    format!("phone-of-{user}")
}

async fn pushing_stops_and_goes_on(behaviour: Behaviour) {
    let crew = Crew::start().await;
    for user in 0..USERS {
        crew.cluster.fcm.respond_to(&phone(&format!("user-{user}")), behaviour.clone());
    }
    let begun_at = Instant::now();
    crew.server.api.send("alice", &crew.channel, "one").await;
    eventually("the alarm is raised", async || crew.alarm().await == 1.0).await;
    crew.server.api.send("alice", &crew.channel, "two").await;
    // A push that meets a 401 is tried with two access tokens.
    let refused = async || {
        let attempts = crew.cluster.fcm.seen().attempts;
        attempts.iter().collect::<HashSet<_>>().len()
    };
    eventually("one is tried after another", async || refused().await >= 4).await;
    // Two stop it, and a third may have begun when the first of them had ended; then no more than one in each pause.
    let most = 3 + begun_at.elapsed().div_duration_f64(PAUSE) as usize;
    assert!(refused().await <= most, "{} of {most}", refused().await);
    crew.assert_unharmed().await;

    for user in 0..USERS {
        crew.cluster.fcm.respond_to(&phone(&format!("user-{user}")), Behaviour::Sent);
    }
    crew.assert_told().await;
}

#[tokio::test]
async fn a_project_that_may_not_push_stops_pushing_and_loses_nothing() {
    pushing_stops_and_goes_on(Behaviour::PermissionDenied).await;
}

#[tokio::test]
async fn access_tokens_that_are_refused_stop_pushing_and_nothing_is_lost() {
    pushing_stops_and_goes_on(Behaviour::Unauthorized).await;
}

#[tokio::test]
async fn a_service_account_that_is_refused_stops_pushing_and_nothing_is_lost() {
    let crew = Crew::start().await;
    crew.cluster.fcm.respond_to_token_requests(TokenBehaviour::InvalidGrant);
    crew.server.api.send("alice", &crew.channel, "one").await;
    eventually("the alarm is raised", async || crew.alarm().await == 1.0).await;
    crew.server.api.send("alice", &crew.channel, "two").await;
    eventually("it is tried again", async || crew.cluster.fcm.token_requests() >= 3).await;
    assert!(crew.cluster.fcm.seen().attempts.is_empty());
    crew.assert_unharmed().await;

    crew.cluster.fcm.respond_to_token_requests(TokenBehaviour::Grant);
    crew.assert_told().await;
}

/// Three users with an iPhone and one with an Android phone, all offline, in a channel of alice's, while Firebase's key
/// for APNs fails.
async fn apple_refuses(fault_pause: &str) -> (Cluster, String) {
    let builder = Cluster::builder().apis(1).gateways(0).api_flag("--push-fold-window=0s");
    let cluster = builder.api_flag(format!("--push-fault-pause={fault_pause}")).start().await;
    let api = cluster.api(0);
    for user in APPLES {
        let device = json!({"platform": "ios", "installationId": phone(user)});
        api.put("/devices/phone", user, device).await.expect(200);
        cluster.fcm.respond_to(&phone(user), Behaviour::ThirdPartyAuthError);
    }
    api.register_device("erin", "phone", &phone("erin")).await;
    let channel = api.create_group("alice", &["bob", "carol", "dave", "erin"], "crew").await;
    (cluster, channel)
}

const APPLES: [&str; 3] = ["bob", "carol", "dave"];

async fn send_and_tell_erin(cluster: &Cluster, channel: &str, content: &str) {
    let before = cluster.fcm.accepted_by(&phone("erin")).len();
    cluster.api(0).send("alice", channel, content).await;
    eventually("Android is told", async || cluster.fcm.accepted_by(&phone("erin")).len() > before).await;
}

async fn alarm(cluster: &Cluster) -> f64 {
    cluster.metric(&cluster.api_internal_url(0), "naru_api_push_failing_by_our_fault").await
}

#[tokio::test]
async fn the_key_of_one_platform_stops_that_platform_and_no_other() {
    let (cluster, channel) = apple_refuses("1h").await;
    for content in ["one", "two", "three"] {
        send_and_tell_erin(&cluster, &channel, content).await;
        eventually("the alarm is raised", async || alarm(&cluster).await == 1.0).await;
    }
    let waiting = "SELECT count(*) FROM push_jobs WHERE due_at IS NOT NULL AND user_id <> 'erin'";
    assert_eq!(count(&cluster.tables().await, waiting).await, 3);
    let tried = cluster.fcm.seen().attempts.iter().filter(|target| **target != phone("erin")).count();
    assert!((2..=3).contains(&tried), "those that were on their way, and no more: {tried}");
}

#[tokio::test]
async fn a_platform_whose_key_is_mended_is_told_of_all_that_has_come() {
    let (cluster, channel) = apple_refuses("1s").await;
    for content in ["one", "two", "three"] {
        send_and_tell_erin(&cluster, &channel, content).await;
    }
    eventually("the alarm is raised", async || alarm(&cluster).await == 1.0).await;

    for user in APPLES {
        cluster.fcm.respond_to(&phone(user), Behaviour::Sent);
    }
    for user in APPLES {
        eventually("the others are told", async || cluster.fcm.accepted_by(&phone(user)).len() == 1).await;
        let told = cluster.fcm.accepted_by(&phone(user)).remove(0);
        assert_eq!(told["notification"]["body"], "3 new messages");
    }
    eventually("the alarm ends", async || alarm(&cluster).await == 0.0).await;
}
