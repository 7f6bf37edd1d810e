//! Batches: a verdict for each row, places without gaps, all of the rest or nothing.

use api_server::store::{Draft, OutboxId, StoreError, Verdict};
use serde_json::value::RawValue;
use shared_types::ChannelId;

use super::{AnyStore, changed, conformance, draft, group, json, log, send, seqs, told, user, users};

conformance!(
    a_batch_says_of_each_row_what_became_of_it,
    an_entry_is_read_back_as_it_was_answered,
    a_repeat_is_answered_with_the_first_entry_whatever_it_says,
    a_client_message_id_belongs_to_one_sender_in_one_channel,
    a_batch_of_any_size_is_numbered_in_its_order,
    a_batch_over_many_channels_numbers_each_by_itself,
    a_batch_without_rows_is_answered_without_verdicts,
    a_batch_with_a_value_that_is_refused_stores_nothing_and_the_appender_goes_on,
    a_batch_that_holds_one_message_twice_is_refused_whole,
    the_membership_version_is_that_of_the_commit,
    who_has_left_is_refused_and_their_repeats_too,
    a_message_moves_its_channel_and_no_other,
);

async fn a_batch_says_of_each_row_what_became_of_it(store: AnyStore) {
    let (channel, quiet) = (group(&store, &["alice", "bob"]).await, group(&store, &["bob"]).await);
    let mut appender = store.appender();
    appender.append(OutboxId::generate(), &[&draft(channel, "alice", "first", Some("c-1"))]).await.unwrap();
    let batch = [
        draft(channel, "alice", "second", None),
        draft(channel, "mallory", "let me in", None),
        draft(ChannelId::generate(), "alice", "to nobody", None),
        draft(channel, "alice", "again, or not", Some("c-1")),
        draft(quiet, "alice", "not mine", Some("c-1")),
        draft(channel, "bob", "third", Some("c-1")),
        draft(quiet, "bob", "elsewhere", None),
        draft(channel, "alice", "fourth", Some("c-2")),
    ];

    let verdicts = appender.append(OutboxId::generate(), &batch.each_ref()).await.unwrap();

    let verdicts: Vec<String> = verdicts.iter().map(told).collect();
    let expected = "stored 2, not a participant, no such channel, earlier 1: first, not a participant, \
                    stored 3, stored 1, stored 4";
    assert_eq!(verdicts.join(", "), expected);
    assert_eq!(seqs(&log(&store, channel).await), [1, 2, 3, 4]);
    assert_eq!(seqs(&log(&store, quiet).await), [1]);
}

async fn an_entry_is_read_back_as_it_was_answered(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let mut first = draft(channel, "alice", "näru \"나루\" \\ 🛶\n\u{7f}'; --", Some("c'\"\\ 나루 🛶 [1]"));
    first.kind = "image".into();
    first.metadata = Some(RawValue::from_string("{\"b\": 1.0,\t\"a\":\"\\u0000\"}".into()).unwrap());
    let second = draft(channel, "alice", &"🛶".repeat(4_096), None);

    let verdicts = store.appender().append(OutboxId::generate(), &[&first, &second]).await.unwrap();

    let answered: Vec<String> = [&first, &second]
        .iter()
        .zip(&verdicts)
        .map(|(draft, verdict)| match verdict {
            Verdict::Stored { seq, created_at, .. } => {
                json(&Draft::clone(draft).into_entry(*seq, *created_at))
            }
            other => panic!("not stored: {other:?}"),
        })
        .collect();
    assert!(answered[0].contains("{\"b\": 1.0,\t\"a\":\"\\u0000\"}"), "{}", answered[0]);
    assert_eq!(log(&store, channel).await.iter().map(json).collect::<Vec<_>>(), answered);
    let again = store.appender().append(OutboxId::generate(), &[&first]).await.unwrap();
    assert!(matches!(&again[0], Verdict::Earlier(entry) if json(entry) == answered[0]), "{again:?}");
}

async fn a_repeat_is_answered_with_the_first_entry_whatever_it_says(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let mut first = draft(channel, "alice", "first", Some("c-1"));
    first.metadata = Some(RawValue::from_string("{\"n\":1}".into()).unwrap());
    store.appender().append(OutboxId::generate(), &[&first]).await.unwrap();
    let stored = log(&store, channel).await.iter().map(json).collect::<Vec<_>>();
    let mut other = draft(channel, "alice", "second", Some("c-1"));
    other.kind = "image".into();
    for repeat in [first, other] {
        let verdicts = store.appender().append(OutboxId::generate(), &[&repeat]).await.unwrap();
        assert!(matches!(&verdicts[0], Verdict::Earlier(entry) if json(entry) == stored[0]), "{verdicts:?}");
    }
    assert_eq!(log(&store, channel).await.len(), 1);
}

async fn a_client_message_id_belongs_to_one_sender_in_one_channel(store: AnyStore) {
    let (one, other) = (group(&store, &["alice", "bob"]).await, group(&store, &["alice"]).await);
    let batch = [
        (one, "alice", "c"),
        (one, "bob", "c"),
        (other, "alice", "c"),
        (one, "alice", "C"),
        (one, "alice", "c "),
    ];
    let drafts = batch.map(|(channel, sender, id)| draft(channel, sender, "hi", Some(id)));
    let verdicts = store.appender().append(OutboxId::generate(), &drafts.each_ref()).await.unwrap();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. })), "{verdicts:?}");
}

async fn a_batch_of_any_size_is_numbered_in_its_order(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let mut appender = store.appender();
    let mut expected = Vec::new();
    for size in [1, 2, 7, 8, 9, 63, 64, 65, 73, 255, 256, 300] {
        let batch: Vec<_> =
            (0..size).map(|n| draft(channel, "alice", &format!("{size}-{n}"), None)).collect();
        let verdicts =
            appender.append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!(verdicts.len(), size);
        expected.extend(batch.into_iter().map(|draft| draft.content));
    }
    let log = log(&store, channel).await;
    assert_eq!(seqs(&log), (1..).take(expected.len()).collect::<Vec<_>>());
    assert_eq!(log.iter().map(|entry| super::said(&entry.body)).collect::<Vec<_>>(), expected);
    assert!(log.is_sorted_by_key(|entry| entry.created_at));
}

async fn a_batch_over_many_channels_numbers_each_by_itself(store: AnyStore) {
    let mut channels = Vec::new();
    for _ in 0..10 {
        channels.push(group(&store, &["alice"]).await);
    }
    let batch: Vec<_> =
        (0..100).map(|n| draft(channels[n * 7 % 10], "alice", &n.to_string(), None)).collect();
    let verdicts =
        store.appender().append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
    for (n, verdict) in verdicts.iter().enumerate() {
        assert_eq!(told(verdict), format!("stored {}", n / 10 + 1));
    }
    for channel in channels {
        assert_eq!(seqs(&log(&store, channel).await), (1..=10).collect::<Vec<_>>());
    }
}

async fn a_batch_without_rows_is_answered_without_verdicts(store: AnyStore) {
    assert!(store.appender().append(OutboxId::generate(), &[]).await.unwrap().is_empty());
}

async fn a_batch_with_a_value_that_is_refused_stores_nothing_and_the_appender_goes_on(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let mut appender = store.appender();
    let good = draft(channel, "alice", "good", Some("c-1"));
    let mut bad_kind = draft(channel, "alice", "good", None);
    bad_kind.kind = "te\0xt".into();
    for bad in [draft(channel, "alice", "no\0no", None), draft(channel, "alice", "\0", None), bad_kind] {
        let refused = appender.append(OutboxId::generate(), &[&good, &bad, &good]).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert!(log(&store, channel).await.is_empty());
    }
    assert_eq!(told(&appender.append(OutboxId::generate(), &[&good]).await.unwrap()[0]), "stored 1");
}

async fn a_batch_that_holds_one_message_twice_is_refused_whole(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let twice = [draft(channel, "alice", "one", Some("c-1")), draft(channel, "alice", "two", Some("c-1"))];
    let refused = store.appender().append(OutboxId::generate(), &twice.each_ref()).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(log(&store, channel).await.is_empty());
}

async fn the_membership_version_is_that_of_the_commit(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let version = async || match &store
        .appender()
        .append(OutboxId::generate(), &[&draft(channel, "alice", "hi", None)])
        .await
        .unwrap()[0]
    {
        Verdict::Stored { membership_version, .. } => *membership_version,
        other => panic!("not stored: {other:?}"),
    };
    let alice = user("alice");
    assert_eq!(version().await, 1);
    store.add_members(channel, &alice, false, &users(&["bob"])).await.unwrap();
    assert_eq!(version().await, 2);
    store.rename(channel, &alice, false, "crew").await.unwrap();
    assert_eq!(version().await, 2);
    store.remove_member(channel, &alice, false, &user("bob")).await.unwrap();
    assert_eq!(version().await, 3);
    assert_eq!(store.participants(&[channel]).await.unwrap()[0].1.version, 3);
}

async fn who_has_left_is_refused_and_their_repeats_too(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    let message = draft(channel, "bob", "hi", Some("c-1"));
    store.appender().append(OutboxId::generate(), &[&message]).await.unwrap();
    let left = store.remove_member(channel, &user("bob"), false, &user("bob")).await.unwrap();
    assert_eq!(changed(&left), "2 left [\"bob\"] by bob v2");
    let verdicts = store.appender().append(OutboxId::generate(), &[&message]).await.unwrap();
    assert_eq!(told(&verdicts[0]), "not a participant");
}

async fn a_message_moves_its_channel_and_no_other(store: AnyStore) {
    let (busy, quiet) = (group(&store, &["alice"]).await, group(&store, &["alice"]).await);
    let alice = user("alice");
    let before = store.channel(quiet, &alice, false).await.unwrap().unwrap();
    let entry = send(&store, busy, "alice", "hi").await;
    let moved = store.channel(busy, &alice, false).await.unwrap().unwrap();
    assert_eq!((moved.last_seq, moved.updated_at), (1, entry.created_at));
    let after = store.channel(quiet, &alice, false).await.unwrap().unwrap();
    assert_eq!((after.last_seq, after.updated_at), (0, before.updated_at));
}
