//! The outbox: what leaves a row, whose it is, and who may take it over.

use std::collections::HashSet;
use std::time::Duration;

use api_server::store::{Change, Committed, OutboxId};
use futures_util::future::join_all;
use shared_types::{ChannelId, Entry};

use super::{AnyStore, a_later_moment, conformance, draft, group, json, log, user, users};

conformance!(three handles:
    a_batch_leaves_one_row_for_all_that_it_stored,
    a_batch_that_stored_nothing_leaves_no_row,
    a_batch_that_was_refused_leaves_no_row,
    a_change_of_members_or_name_leaves_a_row_and_no_change_leaves_none,
    rows_of_a_process_that_lives_are_its_own_until_it_stops_or_dies,
    own_rows_come_back_when_they_are_old_and_nobody_works_on_them,
    who_takes_a_row_over_owns_it,
    sweepers_beside_each_other_take_each_row_once,
    the_oldest_rows_are_taken_first,
    entries_come_in_the_order_of_their_log_with_the_membership_of_now,
    a_row_that_is_removed_does_not_come_back,
    a_process_is_told_how_many_live,
    the_outbox_is_as_old_as_its_oldest_row_whosever_it_is,
);

const LONG: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;

/// One batch of messages of alice's; answers its row.
async fn batch(store: &AnyStore, channels: &[ChannelId]) -> OutboxId {
    let row = OutboxId::generate();
    let drafts: Vec<_> = channels.iter().map(|channel| draft(*channel, "alice", "hi", None)).collect();
    store.appender().append(row, &drafts.iter().collect::<Vec<_>>()).await.unwrap();
    row
}

/// What `store` takes over from others.
async fn adopt(store: &AnyStore) -> Vec<Committed> {
    store.adopt_outbox(&[], LONG, 99).await.unwrap()
}

fn places(committed: &[Committed]) -> Vec<(OutboxId, ChannelId, i64)> {
    committed.iter().map(|one| (one.outbox, one.entry.channel_id, one.entry.seq)).collect()
}

fn rows(committed: &[Committed]) -> HashSet<OutboxId> {
    committed.iter().map(|one| one.outbox).collect()
}

async fn a_batch_leaves_one_row_for_all_that_it_stored([store, other, _]: [AnyStore; 3]) {
    let (one, two) = (group(&store, &["alice", "bob"]).await, group(&store, &["alice"]).await);
    let first = draft(one, "alice", "1", Some("c-1"));
    let row = OutboxId::generate();
    store.appender().append(row, &[&first]).await.unwrap();
    store.remove_from_outbox(&[row]).await.unwrap();
    let row = OutboxId::generate();
    let drafts = [
        draft(one, "alice", "2", None),
        draft(two, "alice", "1", None),
        draft(one, "mallory", "no", None),
        draft(ChannelId::generate(), "alice", "no", None),
        first,
        draft(one, "bob", "3", None),
        draft(two, "alice", "2", None),
    ];
    store.appender().append(row, &drafts.each_ref()).await.unwrap();

    let adopted = adopt(&other).await;

    let mut expected = vec![(row, one, 2), (row, one, 3), (row, two, 1), (row, two, 2)];
    expected.sort_by_key(|(_, channel, seq)| (*channel, *seq));
    assert_eq!(places(&adopted), expected);
    let stored: Vec<Entry> = [log(&store, one).await, log(&store, two).await].concat();
    for committed in &adopted {
        let stored = stored.iter().find(|entry| entry.id == committed.entry.id).unwrap();
        assert_eq!(json(&committed.entry), json(stored));
        assert_eq!(committed.membership_version, 1);
    }
}

async fn a_batch_that_stored_nothing_leaves_no_row([store, other, _]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let first = draft(channel, "alice", "1", Some("c-1"));
    let row = OutboxId::generate();
    store.appender().append(row, &[&first]).await.unwrap();
    store.remove_from_outbox(&[row]).await.unwrap();
    let nothing = [first, draft(channel, "mallory", "no", None)];
    let again = OutboxId::generate();
    store.appender().append(again, &nothing.each_ref()).await.unwrap();
    store.appender().append(OutboxId::generate(), &[]).await.unwrap();
    assert!(adopt(&other).await.is_empty());
    // Not even one without entries: its id is free.
    store.appender().append(again, &[&draft(channel, "alice", "2", None)]).await.unwrap();
    assert_eq!(places(&adopt(&other).await), [(again, channel, 2)]);
}

async fn a_batch_that_was_refused_leaves_no_row([store, other, _]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let drafts = [draft(channel, "alice", "good", None), draft(channel, "alice", "no\0no", None)];
    store.appender().append(OutboxId::generate(), &drafts.each_ref()).await.unwrap_err();
    assert!(adopt(&other).await.is_empty());
}

async fn a_change_of_members_or_name_leaves_a_row_and_no_change_leaves_none(
    [store, other, _]: [AnyStore; 3],
) {
    let channel = group(&store, &["alice"]).await;
    store.open_direct(&user("alice"), &user("bob")).await.unwrap();
    let (alice, bob) = (user("alice"), user("bob"));
    assert!(adopt(&other).await.is_empty());
    for seq in 1..=6 {
        let change = match seq % 3 {
            1 => store.add_members(channel, &alice, false, &users(&["bob"])).await,
            2 => store.rename(channel, &alice, false, &format!("crew {seq}")).await,
            _ => store.remove_member(channel, &alice, false, &bob).await,
        };
        let Change::Committed(committed) = change.unwrap() else { panic!("not changed") };
        let adopted = adopt(&other).await;
        assert_eq!(places(&adopted), [(committed.outbox, channel, seq)]);
        assert_eq!(json(&adopted[0].entry), json(&committed.entry));
        assert_eq!(adopted[0].membership_version, committed.membership_version);
        other.remove_from_outbox(&[committed.outbox]).await.unwrap();
    }
    store.rename(channel, &alice, false, "crew 5").await.unwrap();
    store.remove_member(channel, &alice, false, &bob).await.unwrap();
    store.add_members(channel, &bob, false, &users(&["bob"])).await.unwrap();
    assert!(adopt(&other).await.is_empty());
}

async fn rows_of_a_process_that_lives_are_its_own_until_it_stops_or_dies(
    [store, other, third]: [AnyStore; 3],
) {
    let channel = group(&store, &["alice"]).await;
    other.keep_outbox(LONG).await.unwrap();
    for dies in [false, true] {
        store.keep_outbox(LONG).await.unwrap();
        let row = batch(&store, &[channel]).await;
        assert!(adopt(&other).await.is_empty());
        assert!(third.adopt_outbox(&[], AT_ONCE, 99).await.unwrap().is_empty());
        if dies {
            store.keep_outbox(AT_ONCE).await.unwrap();
        } else {
            store.leave_outbox().await.unwrap();
        }
        assert_eq!(rows(&adopt(&other).await), HashSet::from([row]));
    }
}

async fn own_rows_come_back_when_they_are_old_and_nobody_works_on_them([store, _, _]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    store.keep_outbox(LONG).await.unwrap();
    let (worked_on, forgotten) = (batch(&store, &[channel]).await, batch(&store, &[channel]).await);
    let own = async |in_flight: &[OutboxId], forgotten_after| {
        rows(&store.adopt_outbox(in_flight, forgotten_after, 99).await.unwrap())
    };
    assert!(own(&[], LONG).await.is_empty());
    assert!(own(&[forgotten, worked_on], AT_ONCE).await.is_empty());
    assert_eq!(own(&[worked_on], AT_ONCE).await, HashSet::from([forgotten]));
    // Whoever takes a row over works on it, and says so; or else it comes again.
    assert!(own(&[worked_on, forgotten], AT_ONCE).await.is_empty());
    assert_eq!(own(&[], AT_ONCE).await, HashSet::from([worked_on, forgotten]));
}

async fn who_takes_a_row_over_owns_it([store, other, third]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let row = batch(&store, &[channel]).await;
    other.keep_outbox(LONG).await.unwrap();
    assert_eq!(rows(&adopt(&other).await), HashSet::from([row]));
    // Its first owner was only slow.
    store.keep_outbox(LONG).await.unwrap();
    assert!(store.adopt_outbox(&[], AT_ONCE, 99).await.unwrap().is_empty());
    assert!(adopt(&third).await.is_empty());
    other.leave_outbox().await.unwrap();
    assert_eq!(rows(&adopt(&third).await), HashSet::from([row]));
}

async fn sweepers_beside_each_other_take_each_row_once([store, other, third]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let mut left = HashSet::new();
    for _ in 0..60 {
        left.insert(batch(&store, &[channel]).await);
    }
    let sweepers = [&other, &third];
    join_all(sweepers.map(|sweeper| sweeper.keep_outbox(LONG))).await;
    let mut taken = Vec::new();
    // Postgres passes over what another one is taking, so that some may be left for the next call.
    while taken.len() < left.len() {
        let found = join_all(sweepers.map(|sweeper| sweeper.adopt_outbox(&[], LONG, 1))).await;
        taken.extend(found.into_iter().flat_map(|committed| rows(&committed.unwrap())));
    }
    assert_eq!(taken.len(), left.len());
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), left);
    assert!(adopt(&other).await.is_empty() && adopt(&third).await.is_empty());
}

async fn the_oldest_rows_are_taken_first([store, other, _]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let mut written = Vec::new();
    for _ in 0..5 {
        written.push(batch(&store, &[channel]).await);
        a_later_moment().await;
    }
    other.keep_outbox(LONG).await.unwrap();
    for expected in written.chunks(2) {
        let taken = other.adopt_outbox(&[], LONG, 2).await.unwrap();
        assert_eq!(rows(&taken), expected.iter().copied().collect());
    }
}

async fn entries_come_in_the_order_of_their_log_with_the_membership_of_now([store, other, _]: [AnyStore; 3]) {
    let (one, two) = (group(&store, &["alice"]).await, group(&store, &["alice"]).await);
    let mut expected = Vec::new();
    for round in 0..3 {
        let row = batch(&store, &[one, two, one]).await;
        expected.extend([(row, one, 2 * round + 1), (row, one, 2 * round + 2), (row, two, round + 1)]);
    }
    expected.sort_by_key(|(_, channel, seq)| (*channel, *seq));
    let joined = store.add_members(two, &user("alice"), false, &users(&["bob"])).await.unwrap();
    let Change::Committed(joined) = joined else { panic!("not added") };
    store.remove_from_outbox(&[joined.outbox]).await.unwrap();

    let adopted = adopt(&other).await;

    assert_eq!(places(&adopted), expected);
    for committed in adopted {
        let version = if committed.entry.channel_id == two { 2 } else { 1 };
        assert_eq!(committed.membership_version, version);
    }
}

async fn a_row_that_is_removed_does_not_come_back([store, other, _]: [AnyStore; 3]) {
    let channel = group(&store, &["alice"]).await;
    let (done, also_done, left) =
        (batch(&store, &[channel]).await, batch(&store, &[channel]).await, batch(&store, &[channel]).await);
    store.remove_from_outbox(&[done, OutboxId::generate(), also_done]).await.unwrap();
    store.remove_from_outbox(&[done]).await.unwrap();
    store.remove_from_outbox(&[]).await.unwrap();
    assert_eq!(rows(&adopt(&other).await), HashSet::from([left]));
    // Two may come to the end of the same one.
    let removals = [&store, &other].map(|store| async { store.remove_from_outbox(&[left]).await });
    assert!(join_all(removals).await.into_iter().all(|removed| removed.is_ok()));
    assert!(store.adopt_outbox(&[], AT_ONCE, 99).await.unwrap().is_empty());
    assert!(other.adopt_outbox(&[], AT_ONCE, 99).await.unwrap().is_empty());
}

async fn a_process_is_told_how_many_live([store, other, third]: [AnyStore; 3]) {
    for (store, expected) in [(&store, 1), (&store, 1), (&other, 2), (&third, 3), (&store, 3)] {
        assert_eq!(store.keep_outbox(LONG).await.unwrap(), expected);
    }
    other.leave_outbox().await.unwrap();
    other.leave_outbox().await.unwrap();
    assert_eq!(store.keep_outbox(LONG).await.unwrap(), 2);
    third.keep_outbox(AT_ONCE).await.unwrap();
    assert_eq!(store.keep_outbox(LONG).await.unwrap(), 1);
}

async fn the_outbox_is_as_old_as_its_oldest_row_whosever_it_is([store, other, _]: [AnyStore; 3]) {
    assert_eq!(store.outbox_age().await.unwrap(), Duration::ZERO);
    let channel = group(&store, &["alice"]).await;
    let first = batch(&store, &[channel]).await;
    a_later_moment().await;
    let second = batch(&store, &[channel]).await;
    let of_both = other.outbox_age().await.unwrap();
    store.remove_from_outbox(&[first]).await.unwrap();
    let of_second = other.outbox_age().await.unwrap();
    assert!(Duration::ZERO < of_both && of_second < of_both + LONG, "{of_both:?} {of_second:?}");
    store.remove_from_outbox(&[second]).await.unwrap();
    assert_eq!(other.outbox_age().await.unwrap(), Duration::ZERO);
}
