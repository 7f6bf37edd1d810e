//! Push jobs: made once, leased, put off, ended, and what they read. How they fold: `push_folding`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use api_server::store::{DevicePlatform, DeviceTarget, OutboxId, PushJob, PushWanted};
use futures_util::future::join_all;
use harness::wait::eventually_some;
use shared_types::ChannelId;

use super::{AnyStore, a_later_moment, conformance, draft, group, json, send, user, users};

conformance!(
    a_push_is_made_once_for_every_live_device,
    nobody_but_participants_is_pushed_to,
    a_job_is_due_when_its_pause_has_ended,
    a_lease_holds_until_it_ends_and_counts_the_attempts,
    a_lease_of_no_more_than_asked_takes_the_oldest,
    workers_beside_each_other_take_each_job_once,
    a_job_that_is_finished_or_has_failed_does_not_come_back,
    jobs_that_are_finished_together_end_each_by_its_own_seq,
    a_job_that_is_postponed_comes_back_when_its_pause_ends,
    an_attempt_may_be_left_uncounted,
    a_push_reads_its_entry_channel_target_and_what_is_unread,
    a_push_reads_what_is_true_when_it_is_taken,
    a_push_for_who_has_left_or_a_device_that_is_gone_has_nothing_to_push,
    a_device_that_is_deleted_takes_its_jobs_along,
    the_id_of_a_job_that_is_gone_is_not_given_again,
    jobs_that_are_due_are_counted_until_somebody_takes_them,
);

const SHORT: Duration = Duration::from_millis(150);
pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const AT_ONCE: Duration = Duration::ZERO;

/// The jobs that come back, as soon as they do.
async fn lease_again(store: &AnyStore) -> Vec<PushJob> {
    eventually_some("a job is due again", async || {
        let jobs = store.lease_pushes(9, LONG).await.unwrap();
        (!jobs.is_empty()).then_some(jobs)
    })
    .await
}

pub(super) async fn device(store: &AnyStore, owner: &str, id: &str) {
    let target = DeviceTarget::Installation(format!("{owner}-{id}"));
    let put = store.put_device(&user(owner), &id.parse().unwrap(), DevicePlatform::Ios, &target, 9).await;
    assert!(put.unwrap().is_some());
}

/// A group of alice and bob with this many messages of alice's; bob has one device.
pub(super) async fn messages(store: &AnyStore, count: i64) -> ChannelId {
    let channel = group(store, &["alice", "bob"]).await;
    device(store, "bob", "phone").await;
    let batch: Vec<_> = (1..=count).map(|n| draft(channel, "alice", &n.to_string(), None)).collect();
    store.appender().append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
    channel
}

pub(super) fn wanted(name: &str, channel_id: ChannelId, seq: i64) -> PushWanted {
    PushWanted { user_id: user(name), channel_id, seq, unless_delivered: false }
}

pub(super) async fn enqueue(
    store: &AnyStore,
    channel: ChannelId,
    seqs: impl IntoIterator<Item = i64>,
) -> u64 {
    let pushes: Vec<_> = seqs.into_iter().map(|seq| wanted("bob", channel, seq)).collect();
    store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap()
}

/// Jobs of this many channels, in the order in which they became due.
async fn jobs_in_turn(store: &AnyStore, count: usize) -> Vec<ChannelId> {
    let mut channels = Vec::new();
    for _ in 0..count {
        let channel = messages(store, 1).await;
        assert_eq!(enqueue(store, channel, [1]).await, 1);
        channels.push(channel);
        a_later_moment().await;
    }
    channels
}

fn ids(jobs: &[PushJob]) -> Vec<i64> {
    jobs.iter().map(|job| job.id).collect()
}

async fn a_push_is_made_once_for_every_live_device(store: AnyStore) {
    let channel = messages(&store, 2).await;
    device(&store, "bob", "tablet").await;
    device(&store, "bob", "dead").await;
    store.disable_device(&user("bob"), &"dead".parse().unwrap(), 1, "UNREGISTERED").await.unwrap();
    let pushes = [wanted("bob", channel, 1), wanted("nobody", channel, 1), wanted("bob", channel, 2)];
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 2);
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 0);
    assert_eq!(store.enqueue_pushes(&[], AT_ONCE).await.unwrap(), 0);
    device(&store, "bob", "new").await;
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 1);
    let jobs = store.lease_pushes(99, LONG).await.unwrap();
    let mut devices: Vec<_> = jobs.iter().map(|job| format!("{} {}", job.user_id, job.device_id)).collect();
    devices.sort();
    assert_eq!(devices, ["bob new", "bob phone", "bob tablet"]);
    assert!(ids(&jobs).is_sorted());
}

async fn nobody_but_participants_is_pushed_to(store: AnyStore) {
    let channel = messages(&store, 1).await;
    device(&store, "mallory", "phone").await;
    store.remove_member(channel, &user("bob"), false, &user("bob")).await.unwrap();
    let pushes = [wanted("mallory", channel, 1), wanted("bob", channel, 1)];
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 0);
}

async fn a_job_is_due_when_its_pause_has_ended(store: AnyStore) {
    let channel = messages(&store, 1).await;
    let enqueued = Instant::now();
    assert_eq!(store.enqueue_pushes(&[wanted("bob", channel, 1)], SHORT).await.unwrap(), 1);
    assert_eq!(lease_again(&store).await.len(), 1);
    assert!(enqueued.elapsed() >= SHORT);
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
    let channels = jobs_in_turn(&store, 3).await;
    let take = async |limit| {
        let jobs = store.lease_pushes(limit, LONG).await.unwrap();
        jobs.into_iter().map(|job| job.push.unwrap().entry.channel_id).collect::<Vec<_>>()
    };
    assert_eq!((take(2).await, take(2).await), (channels[..2].to_vec(), channels[2..].to_vec()));
    assert!(take(2).await.is_empty());
}

async fn workers_beside_each_other_take_each_job_once(store: AnyStore) {
    for _ in 0..60 {
        let channel = messages(&store, 1).await;
        enqueue(&store, channel, [1]).await;
    }
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
    let channels = jobs_in_turn(&store, 3).await;
    let jobs = ids(&store.lease_pushes(9, AT_ONCE).await.unwrap());
    store.finish_pushes(&[(jobs[0], 1)], AT_ONCE).await.unwrap();
    store.finish_pushes(&[(i64::MAX, 1)], AT_ONCE).await.unwrap();
    store.fail_push(jobs[1], "it's over").await.unwrap();
    assert_eq!(ids(&store.lease_pushes(9, AT_ONCE).await.unwrap()), jobs[2..]);
    // Both are kept: what has been told, or given up, is not told again.
    for channel in channels {
        assert_eq!(enqueue(&store, channel, [1]).await, 0);
    }
    // Nor does a verdict that comes late begin anything.
    store.postpone_push(jobs[0], AT_ONCE, false).await.unwrap();
    store.postpone_push(jobs[1], AT_ONCE, true).await.unwrap();
    store.fail_push(jobs[0], "late").await.unwrap();
    store.finish_pushes(&[(jobs[1], 1)], AT_ONCE).await.unwrap();
    assert_eq!(ids(&store.lease_pushes(9, AT_ONCE).await.unwrap()), jobs[2..]);
}

async fn jobs_that_are_finished_together_end_each_by_its_own_seq(store: AnyStore) {
    let channels = [messages(&store, 2).await, messages(&store, 2).await, messages(&store, 2).await];
    for channel in channels {
        enqueue(&store, channel, [2]).await;
    }
    let jobs = store.lease_pushes(9, LONG).await.unwrap();
    // The first has been told of both messages, of one of them by a lease that had ended; the second of one.
    let (told, half_told) = (jobs[0].id, jobs[1].id);
    store.finish_pushes(&[(told, 2), (half_told, 1), (told, 1), (i64::MAX, 2)], AT_ONCE).await.unwrap();
    assert_eq!(ids(&lease_again(&store).await), [half_told], "the third is leased yet");
    store.finish_pushes(&[], AT_ONCE).await.unwrap();
}

async fn a_job_that_is_postponed_comes_back_when_its_pause_ends(store: AnyStore) {
    jobs_in_turn(&store, 2).await;
    let jobs = ids(&store.lease_pushes(9, LONG).await.unwrap());
    let postponed = Instant::now();
    store.postpone_push(jobs[0], SHORT, false).await.unwrap();
    store.postpone_push(jobs[1], LONG, false).await.unwrap();
    let back = lease_again(&store).await;
    assert!(postponed.elapsed() >= SHORT);
    assert_eq!((ids(&back), back[0].attempts), (vec![jobs[0]], 2));
}

async fn an_attempt_may_be_left_uncounted(store: AnyStore) {
    let channel = messages(&store, 1).await;
    enqueue(&store, channel, [1]).await;
    let mut attempts = Vec::new();
    for uncounted in [true, true, false, true, false] {
        let job = store.lease_pushes(9, LONG).await.unwrap().remove(0);
        attempts.push(job.attempts);
        store.postpone_push(job.id, AT_ONCE, uncounted).await.unwrap();
    }
    assert_eq!(attempts, [1, 1, 1, 2, 2]);
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
    let pushes = [wanted("bob", channel, entry.seq), wanted("bob", direct, 2), wanted("carol", direct, 1)];
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 3);

    let jobs = store.lease_pushes(9, LONG).await.unwrap();

    let mut told: Vec<_> = jobs
        .into_iter()
        .map(|job| {
            let push = job.push.unwrap();
            assert!(matches!(push.platform, DevicePlatform::Ios) && push.target_version == 1);
            let DeviceTarget::Installation(target) = push.target else { panic!("not what was registered") };
            assert_eq!((push.messages, job.seq), (1, push.entry.seq));
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
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, 1..=4).await;
    let read = async || {
        let push = store.lease_pushes(9, AT_ONCE).await.unwrap().remove(0).push.unwrap();
        let DeviceTarget::Registration(target) = push.target else { panic!("the old target") };
        (target, push.target_version, push.channel_name, push.messages, push.unread_total)
    };
    for (version, target) in [(2, "t-1"), (3, "t-2")] {
        let (bob, phone) = (user("bob"), "phone".parse().unwrap());
        let target = DeviceTarget::Registration(target.to_owned());
        store.put_device(&bob, &phone, DevicePlatform::Web, &target, 9).await.unwrap();
        store.rename(channel, &user("alice"), false, &format!("crew {version}")).await.unwrap();
        store.mark_read(channel, &bob, version - 1).await.unwrap();
        let DeviceTarget::Registration(target) = target else { unreachable!() };
        let unread = 5 - version;
        assert_eq!(read().await, (target, version, Some(format!("crew {version}")), unread, unread));
    }
}

async fn a_push_for_who_has_left_or_a_device_that_is_gone_has_nothing_to_push(store: AnyStore) {
    let channel = messages(&store, 1).await;
    device(&store, "bob", "moved").await;
    device(&store, "bob", "disabled").await;
    device(&store, "carol", "phone").await;
    store.add_members(channel, &user("alice"), false, &users(&["carol"])).await.unwrap();
    enqueue(&store, channel, [1]).await;
    let missing = 99;
    store.enqueue_pushes(&[wanted("carol", channel, missing)], AT_ONCE).await.unwrap();
    let target = DeviceTarget::Installation("bob-moved".to_owned());
    let (mallory, bob) = (user("mallory"), user("bob"));
    store.put_device(&mallory, &"moved".parse().unwrap(), DevicePlatform::Ios, &target, 9).await.unwrap();
    store.disable_device(&bob, &"disabled".parse().unwrap(), 1, "UNREGISTERED").await.unwrap();
    let live = async || {
        let jobs = store.lease_pushes(99, AT_ONCE).await.unwrap();
        assert_eq!(jobs.len(), 4);
        jobs.into_iter()
            .filter(|job| job.push.is_some())
            .map(|job| format!("{} {}", job.user_id, job.device_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(live().await, ["bob phone"]);
    store.remove_member(channel, &user("alice"), false, &bob).await.unwrap();
    assert!(live().await.is_empty());
}

async fn a_device_that_is_deleted_takes_its_jobs_along(store: AnyStore) {
    let channel = messages(&store, 1).await;
    device(&store, "bob", "tablet").await;
    assert_eq!(enqueue(&store, channel, [1]).await, 2);
    assert!(store.delete_device(&user("bob"), &"phone".parse().unwrap()).await.unwrap());
    let jobs = store.lease_pushes(9, AT_ONCE).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.device_id.as_str()).collect::<Vec<_>>(), ["tablet"]);
}

async fn the_id_of_a_job_that_is_gone_is_not_given_again(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, [1]).await;
    let first = ids(&store.lease_pushes(9, LONG).await.unwrap());
    store.delete_device(&user("bob"), &"phone".parse().unwrap()).await.unwrap();
    device(&store, "bob", "phone").await;
    enqueue(&store, channel, [2]).await;
    let second = ids(&store.lease_pushes(9, LONG).await.unwrap());
    assert!(second[0] > first[0], "{second:?} after {first:?}");
}

async fn jobs_that_are_due_are_counted_until_somebody_takes_them(store: AnyStore) {
    let due = async |at_most| store.due_pushes(at_most).await.unwrap();
    let channel = messages(&store, 1).await;
    store.enqueue_pushes(&[wanted("bob", channel, 1)], LONG).await.unwrap();
    assert_eq!(due(9).await, 0, "its time has not come");
    jobs_in_turn(&store, 3).await;
    assert_eq!([due(9).await, due(2).await], [3, 2]);
    store.lease_pushes(1, LONG).await.unwrap();
    assert_eq!(due(9).await, 2);
}
