//! The secret between the services is exchanged while they run, in steps; two neighbouring steps go together.

use harness::api_client::Answer;
use harness::cluster::Cluster;
use harness::tokens::{INTERNAL_SECRET, NEXT_INTERNAL_SECRET};
use serde_json::json;

/// What is sent, and what is accepted besides.
const STEPS: [(&str, &str); 4] = [
    (INTERNAL_SECRET, ""),
    (INTERNAL_SECRET, NEXT_INTERNAL_SECRET),
    (NEXT_INTERNAL_SECRET, INTERNAL_SECRET),
    (NEXT_INTERNAL_SECRET, ""),
];

async fn cluster(api_step: usize, gateway_step: usize) -> Cluster {
    let flags = |step: usize| {
        let (current, previous) = STEPS[step];
        [format!("--internal-secret={current}"), format!("--internal-previous-secret={previous}")]
    };
    let mut builder = Cluster::builder().apis(1).gateways(1);
    for flag in flags(api_step) {
        builder = builder.api_flag(flag);
    }
    for flag in flags(gateway_step) {
        builder = builder.gateway_flag(flag);
    }
    builder.start().await
}

#[tokio::test]
async fn services_that_are_a_step_apart_in_a_rotation_of_the_internal_secret_understand_each_other() {
    for (api_step, gateway_step) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)] {
        let cluster = cluster(api_step, gateway_step).await;
        let channel = cluster.api(0).create_direct("alice", "bob").await;
        cluster.api(0).send("alice", &channel, "before").await;
        // The gateway asks the api-server …
        let mut bob = cluster.connect(0, "bob").await;
        bob.send_json(&json!({"type": "resume", "cursors": {&channel: 0}})).await;
        let before = bob.next_json().await;
        assert_eq!(before["content"], "before", "steps {api_step} and {gateway_step}: {before}");
        assert_eq!(bob.next_json().await["type"], "resumed");
        // … and the api-server the gateway.
        cluster.api(0).send("alice", &channel, "after").await;
        let after = bob.next_json().await;
        assert_eq!(after["content"], "after", "steps {api_step} and {gateway_step}: {after}");
    }
}

#[tokio::test]
async fn what_is_neither_the_internal_secret_nor_the_previous_one_is_refused() {
    let cluster = cluster(2, 2).await;
    let calls = [
        (format!("{}/internal/acks", cluster.api_internal_url(0)), json!({"acks": []}), 204),
        (format!("{}/ws/send/message", cluster.gateway_internal_url(0)), json!({"deliveries": []}), 200),
    ];
    for (url, body, expected) in calls {
        let ask = async |secret: &str| {
            Answer::of(cluster.client().post(&url).bearer_auth(secret).json(&body)).await
        };
        for known in [INTERNAL_SECRET, NEXT_INTERNAL_SECRET] {
            assert_eq!(ask(known).await.status, expected, "{url}");
        }
        for unknown in ["", &INTERNAL_SECRET[1..], &format!("{NEXT_INTERNAL_SECRET}x")] {
            ask(unknown).await.expect_problem(401, "unauthorized");
        }
    }
}
