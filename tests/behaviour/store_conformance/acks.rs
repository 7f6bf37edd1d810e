//! Acks: delivered cursors, and what a user is in when they come back.

use std::collections::HashMap;

use api_server::store::{Membership, MovedCursor};
use futures_util::future::join_all;
use shared_types::api_server_api::Ack;
use shared_types::{ChannelId, Seq};

use super::{AnyStore, a_later_moment, conformance, group, send, user, users};

conformance!(
    a_delivered_cursor_moves_forward_never_back_and_not_beyond_the_log,
    acks_of_one_cursor_count_as_the_furthest_of_them,
    acks_of_who_is_not_in_the_channel_are_passed_over,
    one_batch_moves_cursors_of_many_users_and_channels,
    batches_that_race_all_succeed_and_end_at_the_furthest,
    what_is_read_is_delivered,
    a_cursor_that_moved_comes_with_the_version_of_the_membership,
    memberships_name_each_channel_with_its_end_latest_activity_first,
    memberships_follow_who_joins_and_leaves_and_know_since_when,
);

fn ack(name: &str, channel_id: ChannelId, seq: Seq) -> Ack {
    Ack { user_id: user(name), channel_id, seq, is_foreground: true }
}

fn moved(name: &str, channel_id: ChannelId, seq: Seq) -> MovedCursor {
    MovedCursor { user_id: user(name), channel_id, seq, membership_version: 1 }
}

async fn acknowledge(store: &AnyStore, acks: &[Ack]) -> Vec<MovedCursor> {
    let mut moved = store.acknowledge(acks).await.unwrap();
    moved.sort_by(|a, b| (a.channel_id, &a.user_id).cmp(&(b.channel_id, &b.user_id)));
    moved
}

/// A group of these users with this many messages of the first one's.
async fn messages(store: &AnyStore, names: &[&str], count: i64) -> ChannelId {
    let channel = group(store, names).await;
    for seq in 1..=count {
        send(store, channel, names[0], &seq.to_string()).await;
    }
    channel
}

/// Each member's delivered cursor, by user id.
async fn delivered(store: &AnyStore, channel: ChannelId) -> Vec<Seq> {
    let members = store.members(channel, None, 999).await.unwrap();
    members.into_iter().map(|member| member.delivered_seq).collect()
}

async fn a_delivered_cursor_moves_forward_never_back_and_not_beyond_the_log(store: AnyStore) {
    let channel = messages(&store, &["alice", "bob"], 5).await;
    for (seq, expected) in [
        (0, None),
        (2, Some(2)),
        (2, None),
        (1, None),
        (-7, None),
        (4, Some(4)),
        (9, Some(5)),
        (Seq::MAX, None),
    ] {
        let expected: Vec<_> = expected.map(|seq| moved("bob", channel, seq)).into_iter().collect();
        assert_eq!(acknowledge(&store, &[ack("bob", channel, seq)]).await, expected, "{seq}");
    }
    assert_eq!(delivered(&store, channel).await, [0, 5]);
    assert!(acknowledge(&store, &[]).await.is_empty());
}

async fn acks_of_one_cursor_count_as_the_furthest_of_them(store: AnyStore) {
    let channel = messages(&store, &["alice", "bob"], 5).await;
    let acks = [1, 4, 2, 4].map(|seq| ack("bob", channel, seq));
    assert_eq!(acknowledge(&store, &acks).await, [moved("bob", channel, 4)]);
    assert_eq!(delivered(&store, channel).await, [0, 4]);
}

async fn acks_of_who_is_not_in_the_channel_are_passed_over(store: AnyStore) {
    let channel = messages(&store, &["alice", "bob"], 2).await;
    let acks = [ack("mallory", channel, 1), ack("bob", ChannelId::generate(), 1), ack("bob", channel, 1)];
    assert_eq!(acknowledge(&store, &acks).await, [moved("bob", channel, 1)]);
    store.remove_member(channel, &user("bob"), false, &user("bob")).await.unwrap();
    assert!(acknowledge(&store, &[ack("bob", channel, 2)]).await.is_empty());
}

async fn one_batch_moves_cursors_of_many_users_and_channels(store: AnyStore) {
    let names: Vec<String> = (10..60).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut channels = Vec::new();
    for _ in 0..10 {
        channels.push(messages(&store, &names, 3).await);
    }
    let acks: Vec<_> = (channels.iter())
        .flat_map(|channel| names.iter().flat_map(move |name| (1..=2).map(|seq| ack(name, *channel, seq))))
        .collect();
    assert_eq!(acks.len(), 1_000);
    let answered = acknowledge(&store, &acks).await;
    channels.sort();
    let expected: Vec<_> =
        channels.iter().flat_map(|channel| names.iter().map(|name| moved(name, *channel, 2))).collect();
    assert_eq!(answered, expected);
    assert!(acknowledge(&store, &acks).await.is_empty());
}

async fn batches_that_race_all_succeed_and_end_at_the_furthest(store: AnyStore) {
    // So many that batches overlap: two that lock rows in opposite orders would deadlock.
    let names: Vec<String> = (100..300).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let channels = [messages(&store, &names, 16).await, messages(&store, &names, 16).await];
    let batches = (1..=16).map(|seq| {
        let mut acks: Vec<_> = (channels.iter())
            .flat_map(|channel| names.iter().map(move |name| ack(name, *channel, seq)))
            .collect();
        acks.rotate_left(usize::try_from(seq * 25).unwrap());
        if seq % 2 == 0 {
            acks.reverse();
        }
        let store = store.clone();
        async move { store.acknowledge(&acks).await.unwrap() }
    });
    let moves = join_all(batches).await.concat();
    for channel in channels {
        assert_eq!(delivered(&store, channel).await, vec![16; names.len()]);
        for name in &names {
            let mut seqs: Vec<_> = (moves.iter())
                .filter(|moved| moved.channel_id == channel && moved.user_id.as_str() == *name)
                .map(|moved| moved.seq)
                .collect();
            seqs.sort_unstable();
            assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "a move was told twice: {seqs:?}");
            assert_eq!(seqs.last(), Some(&16));
        }
    }
}

async fn what_is_read_is_delivered(store: AnyStore) {
    let channel = messages(&store, &["alice", "bob"], 5).await;
    store.mark_read(channel, &user("bob"), 3).await.unwrap();
    assert_eq!(delivered(&store, channel).await, [0, 3]);
    acknowledge(&store, &[ack("bob", channel, 5)]).await;
    store.mark_read(channel, &user("bob"), 4).await.unwrap();
    assert_eq!(delivered(&store, channel).await, [0, 5]);
}

async fn a_cursor_that_moved_comes_with_the_version_of_the_membership(store: AnyStore) {
    let channel = messages(&store, &["alice", "bob"], 1).await;
    store.add_members(channel, &user("alice"), false, &users(&["carol"])).await.unwrap();
    let answered = acknowledge(&store, &[ack("bob", channel, 2), ack("carol", channel, 2)]).await;
    // Whoever joins has what was there before.
    assert_eq!(answered, [MovedCursor { membership_version: 2, ..moved("bob", channel, 2) }]);
    let read = store.mark_read(channel, &user("bob"), 2).await.unwrap().unwrap();
    assert!(read.has_moved && read.membership_version == 2);
}

async fn memberships_name_each_channel_with_its_end_latest_activity_first(store: AnyStore) {
    let old = messages(&store, &["alice", "bob"], 1).await;
    a_later_moment().await;
    let quiet = group(&store, &["bob"]).await;
    a_later_moment().await;
    let busy = messages(&store, &["alice", "bob", "carol"], 3).await;
    let asked = users(&["bob", "nobody", "alice", "bob"]);
    let from_the_beginning = |(channel_id, last_seq)| Membership { channel_id, last_seq, joined_seq: 0 };
    let expected = HashMap::from([
        (user("alice"), [(busy, 3), (old, 1)].map(from_the_beginning).to_vec()),
        (user("bob"), [(busy, 3), (quiet, 0), (old, 1)].map(from_the_beginning).to_vec()),
    ]);
    assert_eq!(store.memberships(&asked).await.unwrap(), expected);
    assert!(store.memberships(&[]).await.unwrap().is_empty());
}

async fn memberships_follow_who_joins_and_leaves_and_know_since_when(store: AnyStore) {
    let channel = messages(&store, &["alice"], 2).await;
    let (alice, bob) = (user("alice"), users(&["bob"]));
    assert!(store.memberships(&bob).await.unwrap().is_empty());
    store.add_members(channel, &alice, false, &bob).await.unwrap();
    send(&store, channel, "alice", "welcome").await;
    let since_joining = Membership { channel_id: channel, last_seq: 4, joined_seq: 3 };
    let expected = HashMap::from([(bob[0].clone(), vec![since_joining])]);
    assert_eq!(store.memberships(&bob).await.unwrap(), expected);
    store.remove_member(channel, &alice, false, &bob[0]).await.unwrap();
    assert!(store.memberships(&bob).await.unwrap().is_empty());
}
