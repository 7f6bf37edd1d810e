//! Devices: where a user's pushes go, and that nobody is shown the targets.

use futures_util::future::join_all;
use harness::api_client::{Answer, Api};
use serde_json::{Value, json};

use crate::shared_cluster::{shared_cluster, user, users, wrong_field};

async fn put(api: &Api, user: &str, device: &str, installation_id: &str) -> Answer {
    let body = json!({"platform": "android", "installationId": installation_id});
    api.put(&format!("/devices/{device}"), user, body).await
}

async fn devices(api: &Api, user: &str) -> Vec<Value> {
    let list = api.get("/devices", user).await.expect(200);
    list["devices"].as_array().expect("a list of devices").clone()
}

async fn ids(api: &Api, user: &str) -> Vec<String> {
    devices(api, user).await.iter().map(|device| device["deviceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_device_is_put_listed_and_deleted_and_its_target_is_never_shown() {
    let api = shared_cluster().await.api;
    let [alice, bob] = users("u");
    assert_eq!(devices(&api, &alice).await, Vec::<Value>::new());
    let token = format!("secret-target-of-{alice}");
    for (device, platform, kind) in [
        ("phone", "android", "registrationToken"),
        ("tablet:2", "ios", "installationId"),
        ("web", "web", "registrationToken"),
    ] {
        let body = json!({"platform": platform, kind: format!("{token}-{device}")});
        let put = api.put(&format!("/devices/{device}"), &alice, body).await.expect(200);
        let expected = json!({
            "deviceId": device, "platform": platform, "target": kind, "updatedAt": put["updatedAt"]
        });
        assert_eq!(put, expected);
        assert!(devices(&api, &alice).await.contains(&expected));
    }
    assert_eq!(ids(&api, &alice).await, ["phone", "tablet:2", "web"]);
    assert!(!json!(devices(&api, &alice).await).to_string().contains("secret-target"));
    assert_eq!(ids(&api, &bob).await, Vec::<String>::new());
    api.delete("/devices/phone", &bob).await.expect_problem(404, "not_found");
    assert_eq!(api.delete("/devices/phone", &alice).await.expect(204), Value::Null);
    api.delete("/devices/phone", &alice).await.expect_problem(404, "not_found");
    assert_eq!(ids(&api, &alice).await, ["tablet:2", "web"]);
}

#[tokio::test]
async fn a_device_has_exactly_one_target_and_a_known_platform() {
    let api = shared_cluster().await.api;
    let alice = user("alice");
    let long = "x".repeat(1_025);
    for (body, field) in [
        (json!({"platform": "android"}), "installationId"),
        (json!({"platform": "android", "installationId": "a", "registrationToken": "b"}), "installationId"),
        (json!({"platform": "android", "installationId": null, "registrationToken": null}), "installationId"),
        (json!({"platform": "android", "installationId": ""}), "installationId"),
        (json!({"platform": "android", "installationId": long}), "installationId"),
        (json!({"platform": "android", "registrationToken": "a b"}), "registrationToken"),
        (json!({"platform": "android", "registrationToken": "a\u{0}"}), "registrationToken"),
        (json!({"platform": "windows", "installationId": "a"}), "platform"),
        (json!({"installationId": "a"}), "platform"),
    ] {
        let refused =
            api.put("/devices/d", &alice, body.clone()).await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), field, "{body}");
    }
    for id in ["a b", "%00", "%C3%A4", &"d".repeat(129)] {
        let refused = put(&api, &alice, id, "x").await.expect_problem(422, "invalid_request");
        assert_eq!(wrong_field(&refused), "deviceId");
    }
    assert_eq!(devices(&api, &alice).await, Vec::<Value>::new(), "nothing of that was stored");
    let one = json!({"platform": "web", "installationId": null, "registrationToken": format!("t-{alice}")});
    api.put(&format!("/devices/{}", "d".repeat(128)), &alice, one).await.expect(200);
}

#[tokio::test]
async fn a_target_leaves_the_device_that_had_it_before() {
    let api = shared_cluster().await.api;
    let [alice, bob] = users("u");
    let target = format!("handed-on-{alice}");
    put(&api, &alice, "old", &target).await.expect(200);
    put(&api, &alice, "kept", &format!("other-{alice}")).await.expect(200);
    put(&api, &bob, "new", &target).await.expect(200);
    assert_eq!(
        (ids(&api, &alice).await, ids(&api, &bob).await),
        (vec!["kept".to_owned()], vec!["new".to_owned()])
    );
    put(&api, &bob, "newer", &target).await.expect(200);
    assert_eq!(ids(&api, &bob).await, ["newer"]);
    // The same words as a registration token are another target.
    let body = json!({"platform": "ios", "registrationToken": target});
    api.put("/devices/token", &alice, body).await.expect(200);
    assert_eq!(
        (ids(&api, &alice).await, ids(&api, &bob).await),
        (vec!["kept".to_owned(), "token".to_owned()], vec!["newer".to_owned()])
    );
    // A device may change from one kind of target to the other.
    put(&api, &alice, "token", &target).await.expect(200);
    assert_eq!(
        (&devices(&api, &alice).await[1]["target"], ids(&api, &bob).await),
        (&json!("installationId"), vec![])
    );
}

#[tokio::test]
async fn one_target_that_two_users_register_at_the_same_moment_ends_with_one_of_them() {
    let shared = shared_cluster().await;
    for round in 0..20 {
        let [alice, bob] = users("u");
        let target = format!("contested-{round}");
        let (one, other) =
            tokio::join!(put(&shared.api, &alice, "d", &target), put(&shared.other_api, &bob, "d", &target));
        assert_eq!((one.status, other.status), (200, 200));
        let left = devices(&shared.api, &alice).await.len() + devices(&shared.api, &bob).await.len();
        assert_eq!(left, 1);
    }
}

#[tokio::test]
async fn a_device_that_was_disabled_says_why_and_works_again_when_it_is_registered_again() {
    let shared = shared_cluster().await;
    let api = &shared.api;
    let alice = user("alice");
    put(api, &alice, "phone", &format!("t-{alice}")).await.expect(200);
    // As the push worker does when FCM says so; the tests of pushes have the whole way.
    let tables = shared.cluster.tables().await;
    let disabled = format!("disabled_at = {}, disabled_reason = 'UNREGISTERED'", tables.moment_in(0));
    tables.change(&format!("UPDATE devices SET {disabled} WHERE user_id = '{alice}'")).await;
    let shown = &devices(api, &alice).await[0];
    assert!(shown["disabledAt"].is_string(), "{shown}");
    assert_eq!(shown["disabledReason"], "UNREGISTERED");
    let again = put(api, &alice, "phone", &format!("t-{alice}")).await.expect(200);
    assert!(again.get("disabledAt").is_none() && again.get("disabledReason").is_none(), "{again}");
    assert_eq!(devices(api, &alice).await, [again]);
}

#[tokio::test]
async fn a_user_has_at_most_20_devices_even_when_all_are_registered_at_the_same_moment() {
    let shared = shared_cluster().await;
    let alice = user("alice");
    let puts = (0..30).map(|index| {
        let api = if index % 2 == 0 { &shared.api } else { &shared.other_api };
        let (alice, device) = (alice.clone(), format!("d-{index:02}"));
        async move { put(api, &alice, &device, &format!("{alice}-{device}")).await }
    });
    let mut statuses: Vec<u16> = join_all(puts).await.into_iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 20].as_slice(), &[409; 10]].concat());
    let kept = ids(&shared.api, &alice).await;
    assert_eq!(kept.len(), 20);
    put(&shared.api, &alice, "one-more", &format!("{alice}-more")).await.expect_problem(409, "conflict");
    // Another target for a device that is there is no other device.
    put(&shared.api, &alice, &kept[0], &format!("{alice}-again")).await.expect(200);
    // Neither is a target that moves from one device of the user to another.
    put(&shared.api, &alice, "moved", &format!("{alice}-again")).await.expect(200);
    shared.api.delete("/devices/moved", &alice).await.expect(204);
    put(&shared.api, &alice, "one-more", &format!("{alice}-more")).await.expect(200);
}
