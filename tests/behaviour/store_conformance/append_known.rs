//! Batches whose senders are known to take part: what comes of them is the same.

use api_server::store::{Draft, OutboxId, Verdict};
use shared_types::ChannelId;

use super::{AnyStore, conformance, draft, group, log, seqs, told, user, users};

conformance!(
    known_senders_are_stored_in_their_channels_in_the_order_of_the_batch,
    who_was_known_and_has_left_is_refused_and_the_others_are_stored,
    a_known_senders_repeat_is_answered_with_the_first_entry_and_the_others_are_stored,
    one_sender_who_is_not_known_is_looked_for,
    the_membership_may_have_changed_without_the_known_senders,
);

fn known(channel: ChannelId, sender: &str, version: i64, id: Option<&str>) -> Draft {
    Draft { known_membership: Some(version), ..draft(channel, sender, sender, id) }
}

async fn append(store: &AnyStore, batch: &[Draft]) -> Vec<Verdict> {
    let batch: Vec<&Draft> = batch.iter().collect();
    store.appender().append(OutboxId::generate(), &batch).await.unwrap()
}

fn all_told(verdicts: &[Verdict]) -> Vec<String> {
    verdicts.iter().map(told).collect()
}

async fn known_senders_are_stored_in_their_channels_in_the_order_of_the_batch(store: AnyStore) {
    let (one, other) = (group(&store, &["alice", "bob"]).await, group(&store, &["alice"]).await);
    let batch = [
        known(other, "alice", 1, None),
        known(one, "bob", 1, Some("c-1")),
        known(one, "alice", 1, Some("c-1")),
        known(other, "alice", 1, Some("c-1")),
        known(one, "bob", 1, None),
    ];
    for round in 0..2 {
        // The second time all that has an id is a repeat.
        let told = all_told(&append(&store, &batch).await);
        let expected = match round {
            0 => ["stored 1", "stored 1", "stored 2", "stored 2", "stored 3"],
            _ => ["stored 3", "earlier 1: bob", "earlier 2: alice", "earlier 2: alice", "stored 4"],
        };
        assert_eq!(told, expected);
    }
    assert_eq!(seqs(&log(&store, one).await), [1, 2, 3, 4]);
    assert_eq!(seqs(&log(&store, other).await), [1, 2, 3]);
    let committed = store.adopt_outbox(&[], std::time::Duration::ZERO, 9).await.unwrap();
    assert_eq!(committed.len(), 7, "every entry is in the outbox");
}

async fn who_was_known_and_has_left_is_refused_and_the_others_are_stored(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    store.remove_member(channel, &user("bob"), false, &user("bob")).await.unwrap();
    let verdicts =
        append(&store, &[known(channel, "bob", 1, None), known(channel, "alice", 1, Some("c-1"))]).await;
    assert_eq!(all_told(&verdicts), ["not a participant", "stored 2"]);
    assert!(matches!(verdicts[1], Verdict::Stored { membership_version: 2, .. }), "{verdicts:?}");
}

async fn a_known_senders_repeat_is_answered_with_the_first_entry_and_the_others_are_stored(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    let first = known(channel, "alice", 1, Some("c-1"));
    assert_eq!(all_told(&append(&store, std::slice::from_ref(&first)).await), ["stored 1"]);
    let batch = [known(channel, "bob", 1, Some("c-1")), first, known(channel, "bob", 1, Some("c-2"))];
    assert_eq!(all_told(&append(&store, &batch).await), ["stored 2", "earlier 1: alice", "stored 3"]);
    assert_eq!(seqs(&log(&store, channel).await), [1, 2, 3]);
}

async fn one_sender_who_is_not_known_is_looked_for(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let nowhere = ChannelId::generate();
    let batch = [
        known(channel, "alice", 1, None),
        draft(channel, "mallory", "let me in", None),
        known(nowhere, "alice", 1, None),
    ];
    assert_eq!(all_told(&append(&store, &batch).await), ["stored 1", "not a participant", "no such channel"]);
}

async fn the_membership_may_have_changed_without_the_known_senders(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    store.add_members(channel, &user("alice"), false, &users(&["bob"])).await.unwrap();
    let verdicts =
        append(&store, &[known(channel, "alice", 1, None), known(channel, "alice", 2, None)]).await;
    assert_eq!(all_told(&verdicts), ["stored 2", "stored 3"]);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { membership_version: 2, .. })));
}
