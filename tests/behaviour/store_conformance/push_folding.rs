//! One job for each device and channel: what folds into one push, what cancels it, what is never told twice.

use api_server::store::{PushJob, PushWanted};
use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, Seq, Timestamp};

use super::push_jobs::{AT_ONCE, LONG, device, enqueue, messages, wanted};
use super::{AnyStore, a_later_moment, conformance, send, user};

conformance!(
    what_comes_while_a_job_waits_folds_into_it_and_keeps_its_time,
    only_messages_of_others_are_counted,
    what_comes_while_a_push_is_made_is_told_by_the_next,
    what_comes_while_a_push_is_made_waits_for_a_pause,
    what_comes_while_a_push_fails_is_told_by_the_next,
    an_entry_that_comes_late_widens_what_waits,
    doing_it_again_changes_nothing_whatever_became_of_the_job,
    a_failed_job_goes_on_with_what_is_new,
    what_is_read_is_not_told,
    what_a_foreground_session_has_is_not_told,
    what_a_background_session_has_is_told,
    a_cursor_in_between_leaves_the_rest_waiting,
    a_job_that_is_cancelled_while_it_is_pushed_stays_cancelled,
    what_is_delivered_is_not_enqueued_unless_it_was_to_be_in_any_case,
    devices_and_channels_fold_each_for_itself,
);

async fn lease(store: &AnyStore) -> Vec<PushJob> {
    store.lease_pushes(9, LONG).await.unwrap()
}

/// The one job that is due, and what it tells of: the newest entry and how many messages.
async fn told(store: &AnyStore) -> (PushJob, Seq, i64) {
    let mut jobs = lease(store).await;
    assert_eq!(jobs.len(), 1);
    let job = jobs.remove(0);
    let push = job.push.clone().unwrap();
    assert_eq!(push.entry.seq, job.seq);
    let (seq, messages) = (job.seq, push.messages);
    (job, seq, messages)
}

async fn acknowledge(store: &AnyStore, channel_id: ChannelId, seq: Seq, is_foreground: bool) {
    store.acknowledge(&[Ack { user_id: user("bob"), channel_id, seq, is_foreground }]).await.unwrap();
}

async fn nothing_is_due(store: &AnyStore) -> bool {
    lease(store).await.is_empty()
}

async fn what_comes_while_a_job_waits_folds_into_it_and_keeps_its_time(store: AnyStore) {
    let channel = messages(&store, 5).await;
    assert_eq!(enqueue(&store, channel, [2]).await, 1);
    let began = Timestamp::now();
    a_later_moment().await;
    for seqs in [vec![3], vec![3, 5, 4]] {
        let pushes: Vec<_> = seqs.into_iter().map(|seq| wanted("bob", channel, seq)).collect();
        assert_eq!(store.enqueue_pushes(&pushes, LONG).await.unwrap(), 0);
    }
    let (job, seq, messages) = told(&store).await;
    assert_eq!((seq, messages, job.attempts), (5, 4, 1));
    assert!(job.created_at <= began);
}

async fn only_messages_of_others_are_counted(store: AnyStore) {
    let channel = messages(&store, 1).await;
    send(&store, channel, "bob", "mine").await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    send(&store, channel, "alice", "theirs").await;
    enqueue(&store, channel, [1, 4]).await;
    assert_eq!(told(&store).await.2, 2);
    // Of its own making, and yet a push tells of something.
    let own = messages(&store, 0).await;
    send(&store, own, "bob", "mine").await;
    enqueue(&store, own, [1]).await;
    assert_eq!(told(&store).await.2, 1);
}

async fn what_comes_while_a_push_is_made_is_told_by_the_next(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, [1, 2]).await;
    let (first, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (2, 2));
    assert_eq!(enqueue(&store, channel, [3, 4]).await, 0);
    assert!(nothing_is_due(&store).await);
    a_later_moment().await;
    store.finish_pushes(&[(first.id, first.seq)], AT_ONCE).await.unwrap();
    let (next, seq, messages) = told(&store).await;
    assert_eq!((next.id, seq, messages, next.attempts), (first.id, 4, 2, 1));
    assert!(next.created_at > first.created_at);
    store.finish_pushes(&[(next.id, next.seq)], AT_ONCE).await.unwrap();
    assert!(nothing_is_due(&store).await);
}

async fn what_comes_while_a_push_is_made_waits_for_a_pause(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, [1]).await;
    let (job, ..) = told(&store).await;
    enqueue(&store, channel, [2]).await;
    store.finish_pushes(&[(job.id, job.seq)], LONG).await.unwrap();
    assert!(nothing_is_due(&store).await);
}

async fn what_comes_while_a_push_fails_is_told_by_the_next(store: AnyStore) {
    let channel = messages(&store, 3).await;
    enqueue(&store, channel, [1]).await;
    let (first, ..) = told(&store).await;
    enqueue(&store, channel, [2, 3]).await;
    store.fail_push(first.id, "invalid_argument").await.unwrap();
    let (next, seq, messages) = told(&store).await;
    assert_eq!((seq, messages, next.attempts), (3, 2, 1));
    store.fail_push(next.id, "invalid_argument").await.unwrap();
    assert!(nothing_is_due(&store).await);
}

async fn an_entry_that_comes_late_widens_what_waits(store: AnyStore) {
    let channel = messages(&store, 5).await;
    enqueue(&store, channel, [5]).await;
    assert_eq!(enqueue(&store, channel, [3]).await, 0);
    let (job, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (5, 3));
    store.finish_pushes(&[(job.id, 5)], AT_ONCE).await.unwrap();
    // The device has been told of a newer one.
    assert_eq!(enqueue(&store, channel, [2, 4]).await, 0);
    assert!(nothing_is_due(&store).await);
}

async fn doing_it_again_changes_nothing_whatever_became_of_the_job(store: AnyStore) {
    let channel = messages(&store, 3).await;
    assert_eq!(enqueue(&store, channel, [1, 2]).await, 1);
    let again = async || {
        for seqs in [vec![1, 2], vec![2], vec![1]] {
            assert_eq!(enqueue(&store, channel, seqs).await, 0);
        }
    };
    again().await;
    let (job, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (2, 2));
    again().await;
    assert!(nothing_is_due(&store).await);
    store.finish_pushes(&[(job.id, job.seq)], AT_ONCE).await.unwrap();
    again().await;
    assert!(nothing_is_due(&store).await);
    // An adopted batch names old and new alike.
    assert_eq!(enqueue(&store, channel, [1, 2, 3]).await, 1);
    let (job, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (3, 1));
    store.fail_push(job.id, "over").await.unwrap();
    again().await;
    assert_eq!(enqueue(&store, channel, [3]).await, 0);
    assert!(nothing_is_due(&store).await);
}

async fn a_failed_job_goes_on_with_what_is_new(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, [1, 2]).await;
    let (failed, ..) = told(&store).await;
    store.fail_push(failed.id, "over").await.unwrap();
    assert_eq!(enqueue(&store, channel, [2, 3, 4]).await, 1);
    let (job, seq, messages) = told(&store).await;
    assert_eq!((job.id, seq, messages, job.attempts), (failed.id, 4, 2, 1));
}

async fn what_is_read_is_not_told(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, [1, 2]).await;
    store.mark_read(channel, &user("bob"), 2).await.unwrap();
    assert!(nothing_is_due(&store).await);
    assert_eq!(enqueue(&store, channel, [1, 2]).await, 0);
    assert_eq!(enqueue(&store, channel, [2, 3]).await, 1);
    assert_eq!(told(&store).await.2, 1);
}

async fn what_a_foreground_session_has_is_not_told(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, [1, 2]).await;
    acknowledge(&store, channel, 2, true).await;
    assert!(nothing_is_due(&store).await);
    assert_eq!(enqueue(&store, channel, [1, 2]).await, 0);
    assert_eq!(enqueue(&store, channel, [4]).await, 1);
    assert_eq!(told(&store).await.2, 1);
}

async fn what_a_background_session_has_is_told(store: AnyStore) {
    let channel = messages(&store, 2).await;
    enqueue(&store, channel, [1, 2]).await;
    acknowledge(&store, channel, 2, false).await;
    let (job, _, messages) = told(&store).await;
    assert_eq!(messages, 2);
    // Then somebody looks: nothing moves any more, and yet there is nothing to tell.
    store.postpone_push(job.id, AT_ONCE, false).await.unwrap();
    acknowledge(&store, channel, 2, true).await;
    assert!(nothing_is_due(&store).await);
}

async fn a_cursor_in_between_leaves_the_rest_waiting(store: AnyStore) {
    let channel = messages(&store, 4).await;
    enqueue(&store, channel, 1..=4).await;
    store.mark_read(channel, &user("bob"), 1).await.unwrap();
    acknowledge(&store, channel, 3, true).await;
    // Not even by a repetition is it told again.
    assert_eq!(enqueue(&store, channel, 1..=4).await, 0);
    let (_, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (4, 1));
}

async fn a_job_that_is_cancelled_while_it_is_pushed_stays_cancelled(store: AnyStore) {
    for verdict in 0..3 {
        let channel = messages(&store, 3).await;
        enqueue(&store, channel, [1]).await;
        let (job, ..) = told(&store).await;
        enqueue(&store, channel, [2]).await;
        if verdict == 2 {
            store.mark_read(channel, &user("bob"), 2).await.unwrap();
        } else {
            acknowledge(&store, channel, 3, true).await;
        }
        match verdict {
            0 => store.finish_pushes(&[(job.id, job.seq)], AT_ONCE).await.unwrap(),
            1 => store.postpone_push(job.id, AT_ONCE, false).await.unwrap(),
            _ => store.fail_push(job.id, "over").await.unwrap(),
        }
        assert!(nothing_is_due(&store).await, "{verdict}");
        assert_eq!(enqueue(&store, channel, [3]).await, 1);
        let (job, seq, messages) = told(&store).await;
        assert_eq!((seq, messages), (3, 1));
        store.finish_pushes(&[(job.id, job.seq)], AT_ONCE).await.unwrap();
    }
}

async fn what_is_delivered_is_not_enqueued_unless_it_was_to_be_in_any_case(store: AnyStore) {
    let channel = messages(&store, 4).await;
    acknowledge(&store, channel, 2, false).await;
    let unless = |seq| PushWanted { unless_delivered: true, ..wanted("bob", channel, seq) };
    assert_eq!(store.enqueue_pushes(&[unless(1), unless(2)], AT_ONCE).await.unwrap(), 0);
    assert_eq!(store.enqueue_pushes(&[unless(1), wanted("bob", channel, 2)], AT_ONCE).await.unwrap(), 1);
    assert_eq!(told(&store).await.2, 1);
    let channel = messages(&store, 4).await;
    let unless = |seq| PushWanted { unless_delivered: true, ..wanted("bob", channel, seq) };
    acknowledge(&store, channel, 2, false).await;
    assert_eq!(store.enqueue_pushes(&[unless(1), unless(3), unless(2)], AT_ONCE).await.unwrap(), 1);
    let (_, seq, messages) = told(&store).await;
    assert_eq!((seq, messages), (3, 1));
}

async fn devices_and_channels_fold_each_for_itself(store: AnyStore) {
    let (one, two) = (messages(&store, 3).await, messages(&store, 3).await);
    device(&store, "bob", "tablet").await;
    let pushes = [wanted("bob", one, 1), wanted("bob", two, 2), wanted("bob", one, 3), wanted("bob", two, 3)];
    assert_eq!(store.enqueue_pushes(&pushes, AT_ONCE).await.unwrap(), 4);
    let jobs = lease(&store).await;
    let mut told: Vec<_> = jobs
        .iter()
        .map(|job| {
            let push = job.push.as_ref().unwrap();
            (push.entry.channel_id, job.device_id.to_string(), job.seq, push.messages)
        })
        .collect();
    told.sort();
    let mut expected: Vec<_> = ["phone", "tablet"]
        .into_iter()
        .flat_map(|id| [(one, id.into(), 3, 3), (two, id.into(), 3, 2)])
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}
