//! Devices: registered, moved, disabled, limited.

use api_server::store::{Device, DevicePlatform, DeviceTarget, StoreError};
use futures_util::future::join_all;
use shared_types::DeviceId;

use super::{AnyStore, conformance, user};

conformance!(
    devices_are_listed_by_id_with_what_they_were_registered_with,
    a_device_that_registers_again_has_its_new_target_only,
    a_target_leaves_the_device_and_the_user_that_had_it,
    a_target_that_two_users_register_at_once_has_one_of_them,
    a_device_beyond_the_most_is_refused_and_takes_no_target,
    devices_that_register_at_once_stay_within_the_most,
    a_device_is_deleted_once,
    a_device_is_disabled_while_its_target_is_the_one_that_was_pushed_to,
    a_target_that_is_refused_changes_nothing,
);

fn device(id: &str) -> DeviceId {
    id.parse().unwrap()
}

fn installation(id: &str) -> DeviceTarget {
    DeviceTarget::Installation(id.into())
}

fn registration(token: &str) -> DeviceTarget {
    DeviceTarget::Registration(token.into())
}

async fn put(store: &AnyStore, owner: &str, id: &str, target: &DeviceTarget) -> Option<Device> {
    store.put_device(&user(owner), &device(id), DevicePlatform::Android, target, 10).await.unwrap()
}

fn target(device: &Device) -> String {
    match &device.target {
        DeviceTarget::Installation(id) => format!("installation {id}"),
        DeviceTarget::Registration(token) => format!("registration {token}"),
    }
}

/// The user's devices with their targets.
async fn listed(store: &AnyStore, owner: &str) -> Vec<String> {
    let devices = store.devices(&user(owner)).await.unwrap();
    devices.iter().map(|device| format!("{}: {}", device.device_id, target(device))).collect()
}

async fn devices_are_listed_by_id_with_what_they_were_registered_with(store: AnyStore) {
    for (id, platform, target) in [
        ("web", DevicePlatform::Web, registration("t-1")),
        ("Phone", DevicePlatform::Ios, installation("i-1")),
        ("phone", DevicePlatform::Android, installation("i-2")),
    ] {
        let put = store.put_device(&user("alice"), &device(id), platform, &target, 3).await.unwrap().unwrap();
        assert_eq!((put.device_id.as_str(), put.platform), (id, platform));
        assert!(put.target == target && put.disabled_at.is_none() && put.disabled_reason.is_none());
    }
    let expected = ["Phone: installation i-1", "phone: installation i-2", "web: registration t-1"];
    assert_eq!(listed(&store, "alice").await, expected);
    let platforms: Vec<_> =
        store.devices(&user("alice")).await.unwrap().iter().map(|device| device.platform).collect();
    assert_eq!(platforms, [DevicePlatform::Ios, DevicePlatform::Android, DevicePlatform::Web]);
    assert!(listed(&store, "nobody").await.is_empty());
}

async fn a_device_that_registers_again_has_its_new_target_only(store: AnyStore) {
    let first = put(&store, "alice", "phone", &installation("i-1")).await.unwrap();
    for again in [installation("i-1"), registration("t-1"), registration("t-2"), installation("i-2")] {
        let put = put(&store, "alice", "phone", &again).await.unwrap();
        assert!(put.target == again && put.updated_at >= first.updated_at);
        assert_eq!(store.devices(&user("alice")).await.unwrap().len(), 1);
    }
}

async fn a_target_leaves_the_device_and_the_user_that_had_it(store: AnyStore) {
    put(&store, "alice", "phone", &installation("same")).await;
    put(&store, "alice", "tablet", &registration("same")).await;
    put(&store, "bob", "phone", &installation("same")).await;
    assert_eq!(listed(&store, "alice").await, ["tablet: registration same"]);
    put(&store, "bob", "tablet", &registration("same")).await;
    assert!(listed(&store, "alice").await.is_empty());
    put(&store, "bob", "other", &installation("same")).await;
    assert_eq!(listed(&store, "bob").await, ["other: installation same", "tablet: registration same"]);
}

async fn a_target_that_two_users_register_at_once_has_one_of_them(store: AnyStore) {
    for round in 0..10 {
        let same = installation(&format!("i-{round}"));
        let names = ["alice", "bob", "carol"];
        join_all(names.map(|name| put(&store, name, "phone", &same))).await;
        let mut owners = 0;
        for name in names {
            owners += listed(&store, name)
                .await
                .iter()
                .filter(|told| told.ends_with(&format!(" i-{round}")))
                .count();
        }
        assert_eq!(owners, 1);
    }
}

async fn a_device_beyond_the_most_is_refused_and_takes_no_target(store: AnyStore) {
    put(&store, "bob", "phone", &installation("bobs")).await;
    let put = async |id: &str, target: &str| {
        let target = installation(target);
        let put = store.put_device(&user("alice"), &device(id), DevicePlatform::Web, &target, 2).await;
        put.unwrap().is_some()
    };
    assert!(put("one", "i-1").await && put("two", "i-2").await);
    assert!(!put("three", "bobs").await);
    assert_eq!(listed(&store, "bob").await, ["phone: installation bobs"]);
    assert!(put("two", "bobs").await && listed(&store, "bob").await.is_empty());
    // The target of one of their own: that device makes room.
    assert!(put("three", "i-1").await);
    assert_eq!(listed(&store, "alice").await, ["three: installation i-1", "two: installation bobs"]);
}

async fn devices_that_register_at_once_stay_within_the_most(store: AnyStore) {
    let puts = (0..10).map(|n| {
        let store = &store;
        async move {
            let target = installation(&format!("i-{n}"));
            let id = device(&format!("d-{n}"));
            store.put_device(&user("alice"), &id, DevicePlatform::Web, &target, 3).await.unwrap()
        }
    });
    let done = join_all(puts).await.into_iter().flatten().count();
    assert_eq!((done, store.devices(&user("alice")).await.unwrap().len()), (3, 3));
}

async fn a_device_is_deleted_once(store: AnyStore) {
    put(&store, "alice", "phone", &installation("i-1")).await;
    assert!(!store.delete_device(&user("bob"), &device("phone")).await.unwrap());
    assert!(store.delete_device(&user("alice"), &device("phone")).await.unwrap());
    assert!(!store.delete_device(&user("alice"), &device("phone")).await.unwrap());
    assert!(listed(&store, "alice").await.is_empty());
}

async fn a_device_is_disabled_while_its_target_is_the_one_that_was_pushed_to(store: AnyStore) {
    put(&store, "alice", "phone", &installation("i-1")).await;
    put(&store, "alice", "phone", &installation("i-2")).await;
    let disable = async |version, reason: &str| {
        store.disable_device(&user("alice"), &device("phone"), version, reason).await.unwrap()
    };
    assert!(!disable(1, "of the old target").await);
    assert!(disable(2, "UNREGISTERED").await);
    assert!(!disable(2, "again").await);
    let disabled = store.devices(&user("alice")).await.unwrap().remove(0);
    assert_eq!(disabled.disabled_reason.as_deref(), Some("UNREGISTERED"));
    assert!(disabled.disabled_at.is_some_and(|at| at >= disabled.updated_at));
    let enabled = put(&store, "alice", "phone", &installation("i-2")).await.unwrap();
    assert!(enabled.disabled_at.is_none() && enabled.disabled_reason.is_none());
    assert!(!disable(2, "late").await && disable(3, "in time").await);
    assert!(!store.disable_device(&user("bob"), &device("phone"), 3, "not his").await.unwrap());
}

async fn a_target_that_is_refused_changes_nothing(store: AnyStore) {
    put(&store, "alice", "phone", &installation("i-1")).await;
    for bad in [installation("no\0no"), registration("no\0no")] {
        let refused = store.put_device(&user("alice"), &device("phone"), DevicePlatform::Web, &bad, 9).await;
        assert!(matches!(refused.map(|_| ()), Err(StoreError::Refused(_))));
    }
    assert_eq!(listed(&store, "alice").await, ["phone: installation i-1"]);
}
