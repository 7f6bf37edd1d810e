//! Push jobs: made once, leased, put off, ended, and what they read.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use api_server::store::{DevicePlatform, DeviceTarget, PushJob};
use futures_util::future::join_all;
use harness::wait::eventually_some;
use shared_types::ChannelId;

use super::{AnyStore, a_later_moment, conformance, draft, group, json, send, user};

conformance!(
    a_push_is_made_once_for_every_live_device,
    a_lease_holds_until_it_ends_and_counts_the_attempts,
    a_lease_of_no_more_than_asked_takes_the_oldest,
    workers_beside_each_other_take_each_job_once,
    a_job_that_is_finished_or_has_failed_does_not_come_back,
    a_job_that_is_postponed_comes_back_when_its_pause_ends,
    a_push_reads_its_entry_channel_target_and_what_is_unread,
    a_push_reads_what_is_true_when_it_is_taken,
    a_push_for_who_has_left_or_a_device_that_is_gone_has_nothing_to_push,
    the_id_of_a_finished_job_is_not_given_again,
);

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(60);

/// The jobs that come back, as soon as they do.
async fn lease_again(store: &AnyStore) -> Vec<PushJob> {
    eventually_some("a job is due again", async || {
        let jobs = store.lease_pushes(9, LONG).await.unwrap();
        (!jobs.is_empty()).then_some(jobs)
    })
    .await
}

async fn device(store: &AnyStore, owner: &str, id: &str) {
    let target = DeviceTarget::Installation(format!("{owner}-{id}"));
    let put = store.put_device(&user(owner), &id.parse().unwrap(), DevicePlatform::Ios, &target, 9).await;
    assert!(put.unwrap().is_some());
}

/// A group of alice and bob with this many messages of alice's; bob has one device.
async fn messages(store: &AnyStore, count: i64) -> ChannelId {
    let channel = group(store, &["alice", "bob"]).await;
    device(store, "bob", "phone").await;
    let batch: Vec<_> = (1..=count).map(|n| draft(channel, "alice", &n.to_string(), None)).collect();
    store.appender().append(&batch.iter().collect::<Vec<_>>()).await.unwrap();
    channel
}

async fn enqueue(store: &AnyStore, channel: ChannelId, seqs: impl IntoIterator<Item = i64>) -> u64 {
    let pushes: Vec<_> = seqs.into_iter().map(|seq| (user("bob"), channel, seq)).collect();
    store.enqueue_pushes(&pushes).await.unwrap()
}

fn ids(jobs: &[PushJob]) -> Vec<i64> {
    jobs.iter().map(|job| job.id).collect()
}

async fn a_push_is_made_once_for_every_live_device(store: AnyStore) {
    let channel = messages(&store, 2).await;
    device(&store, "bob", "tablet").await;
    device(&store, "bob", "dead").await;
    store.disable_device(&user("bob"), &"dead".parse().unwrap(), 1, "UNREGISTERED").await.unwrap();
    let pushes = [(user("bob"), channel, 1), (user("nobody"), channel, 1), (user("bob"), channel, 2)];
    assert_eq!(store.enqueue_pushes(&pushes).await.unwrap(), 4);
    assert_eq!(store.enqueue_pushes(&pushes).await.unwrap(), 0);
    assert_eq!(store.enqueue_pushes(&[]).await.unwrap(), 0);
    device(&store, "bob", "new").await;
    assert_eq!(store.enqueue_pushes(&pushes).await.unwrap(), 2);
    let jobs = store.lease_pushes(99, LONG).await.unwrap();
    let mut devices: Vec<_> = jobs.iter().map(|job| format!("{} {}", job.user_id, job.device_id)).collect();
    devices.sort();
    let expected = ["bob new", "bob new", "bob phone", "bob phone", "bob tablet", "bob tablet"];
    assert_eq!(devices, expected);
    assert!(ids(&jobs).is_sorted());
}

async fn a_lease_holds_until_it_ends_and_counts_the_attempts(store: AnyStore) {
    let channel = messages(&store, 1).await;
    enqueue(&store, channel, [1]).await;
    let taken = Instant::now();
    let first = store.lease_pushes(9, SHORT).await.unwrap();
    assert_eq!((first.len(), first[0].attempts), (1, 1));
    let second = lease_again(&store).await;
    assert!(taken.elapsed() >= SHORT);
    assert_eq!((ids(&second), second[0].attempts), (ids(&first), 2));
    assert_eq!(second[0].created_at, first[0].created_at);
    assert!(store.lease_pushes(9, LONG).await.unwrap().is_empty());
}

async fn a_lease_of_no_more_than_asked_takes_the_oldest(store: AnyStore) {
    let channel = messages(&store, 3).await;
    for seq in 1..=3 {
        enqueue(&store, channel, [seq]).await;
        a_later_moment().await;
    }
    let seqs = async |limit| {
        let jobs = store.lease_pushes(limit, LONG).await.unwrap();
        jobs.iter().map(|job| job.push.as_ref().unwrap().entry.seq).collect::<Vec<_>>()
    };
    assert_eq!((seqs(2).await, seqs(2).await, seqs(2).await), (vec![1, 2], vec![3], vec![]));
}

async fn workers_beside_each_other_take_each_job_once(store: AnyStore) {
    let channel = messages(&store, 60).await;
    assert_eq!(enqueue(&store, channel, 1..=60).await, 60);
    let taken = join_all((0..8).map(|_| store.lease_pushes(10, LONG))).await;
    let mut taken: Vec<i64> = taken.into_iter().flat_map(|jobs| ids(&jobs.unwrap())).collect();
    // Postgres passes over what another worker is taking, so that some may be left for the next call.
    loop {
        let rest = store.lease_pushes(10, LONG).await.unwrap();
        if rest.is_empty() {
            break;
        }
        taken.extend(ids(&rest));
    }
    assert_eq!((taken.len(), taken.iter().collect::<HashSet<_>>().len()), (60, 60));
}

async fn a_job_that_is_finished_or_has_failed_does_not_come_back(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, 1..=4).await;
    let jobs = ids(&store.lease_pushes(9, Duration::ZERO).await.unwrap());
    store.finish_pushes(&jobs[..2]).await.unwrap();
    store.finish_pushes(&[]).await.unwrap();
    store.finish_pushes(&[i64::MAX]).await.unwrap();
    store.fail_push(jobs[2], "it's over").await.unwrap();
    assert_eq!(ids(&store.lease_pushes(9, Duration::ZERO).await.unwrap()), jobs[3..]);
    // A failed job is kept, and keeps its place; a finished one is forgotten.
    assert_eq!(enqueue(&store, channel, 1..=4).await, 2);
}

async fn a_job_that_is_postponed_comes_back_when_its_pause_ends(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, 1..=2).await;
    let jobs = ids(&store.lease_pushes(9, LONG).await.unwrap());
    let postponed = Instant::now();
    store.postpone_push(jobs[0], SHORT).await.unwrap();
    store.postpone_push(jobs[1], LONG).await.unwrap();
    let back = lease_again(&store).await;
    assert!(postponed.elapsed() >= SHORT);
    assert_eq!((ids(&back), back[0].attempts), (vec![jobs[0]], 2));
}

async fn a_push_reads_its_entry_channel_target_and_what_is_unread(store: AnyStore) {
    let channel = messages(&store, 0).await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    let entry = send(&store, channel, "alice", "hi").await;
    send(&store, channel, "bob", "mine").await;
    let direct = store.open_direct(&user("bob"), &user("carol")).await.unwrap().0;
    send(&store, direct, "carol", "1").await;
    send(&store, direct, "carol", "2").await;
    store.mark_read(direct, &user("bob"), 1).await.unwrap();
    let foreign = group(&store, &["alice", "carol"]).await;
    send(&store, foreign, "alice", "not bob's").await;
    device(&store, "carol", "web").await;
    let pushes = [(user("bob"), channel, entry.seq), (user("bob"), direct, 2), (user("carol"), direct, 1)];
    assert_eq!(store.enqueue_pushes(&pushes).await.unwrap(), 3);

    let jobs = store.lease_pushes(9, LONG).await.unwrap();

    let mut told: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let push = job.push.unwrap();
            assert!(matches!(push.platform, DevicePlatform::Ios) && push.target_version == 1);
            let DeviceTarget::Installation(target) = push.target else { panic!("not what was registered") };
            (target, push.channel_name, push.unread_total, json(&push.entry))
        })
        .collect();
    told.sort();
    let log = super::log(&store, direct).await;
    let expected = [
        ("bob-phone".to_owned(), None, 2, json(&log[1])),
        ("bob-phone".to_owned(), Some("crew".to_owned()), 2, json(&entry)),
        ("carol-web".to_owned(), None, 1, json(&log[0])),
    ];
    assert_eq!(told, expected);
}

async fn a_push_reads_what_is_true_when_it_is_taken(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, [1]).await;
    let read = async || {
        let push = store.lease_pushes(9, Duration::ZERO).await.unwrap().remove(0).push.unwrap();
        let DeviceTarget::Registration(target) = push.target else { panic!("the old target") };
        (target, push.target_version, push.channel_name, push.unread_total)
    };
    for (version, target) in [(2, "t-1"), (3, "t-2")] {
        let (bob, phone) = (user("bob"), "phone".parse().unwrap());
        let target = DeviceTarget::Registration(target.to_owned());
        store.put_device(&bob, &phone, DevicePlatform::Web, &target, 9).await.unwrap();
        store.rename(channel, &user("alice"), false, &format!("crew {version}")).await.unwrap();
        store.mark_read(channel, &bob, version - 1).await.unwrap();
        let DeviceTarget::Registration(target) = target else { unreachable!() };
        assert_eq!(read().await, (target, version, Some(format!("crew {version}")), 3 - version));
    }
}

async fn a_push_for_who_has_left_or_a_device_that_is_gone_has_nothing_to_push(store: AnyStore) {
    let channel = messages(&store, 1).await;
    device(&store, "bob", "deleted").await;
    device(&store, "bob", "disabled").await;
    let missing = 99;
    enqueue(&store, channel, [1, missing]).await;
    store.delete_device(&user("bob"), &"deleted".parse().unwrap()).await.unwrap();
    store.disable_device(&user("bob"), &"disabled".parse().unwrap(), 1, "UNREGISTERED").await.unwrap();
    let live = async || {
        let jobs = store.lease_pushes(99, Duration::ZERO).await.unwrap();
        assert_eq!(jobs.len(), 6);
        jobs.into_iter()
            .filter(|job| job.push.is_some())
            .map(|job| job.device_id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(live().await, ["phone"]);
    store.remove_member(channel, &user("alice"), false, &user("bob")).await.unwrap();
    assert!(live().await.is_empty());
}

async fn the_id_of_a_finished_job_is_not_given_again(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, [1]).await;
    let first = ids(&store.lease_pushes(9, LONG).await.unwrap());
    store.finish_pushes(&first).await.unwrap();
    enqueue(&store, channel, [2]).await;
    let second = ids(&store.lease_pushes(9, LONG).await.unwrap());
    assert!(second[0] > first[0], "{second:?} after {first:?}");
}
