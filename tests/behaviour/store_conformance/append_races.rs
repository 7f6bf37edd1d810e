//! Appenders beside each other, beside changes, and given up.

use std::time::Duration;

use api_server::store::{OutboxId, Verdict};
use futures_util::future::join_all;

use super::{AnyStore, conformance, draft, group, log, seqs, told, user};

conformance!(
    appenders_beside_each_other_leave_no_gap_and_nothing_out,
    appenders_that_take_channels_in_opposite_orders_both_finish,
    one_client_message_id_through_two_appenders_is_stored_once,
    messages_and_changes_share_one_numbering,
    a_batch_that_is_given_up_is_stored_whole_or_not_at_all,
);

async fn appenders_beside_each_other_leave_no_gap_and_nothing_out(store: AnyStore) {
    let channel = group(&store, &["alice", "bob", "carol"]).await;
    let writers = ["alice", "bob", "carol"].map(|sender| {
        let mut appender = store.appender();
        async move {
            let mut places = Vec::new();
            for round in 0..20 {
                let batch: Vec<_> =
                    (0..5).map(|n| draft(channel, sender, &format!("{round}-{n}"), None)).collect();
                let verdicts =
                    appender.append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
                places.extend(verdicts.iter().map(|verdict| match verdict {
                    Verdict::Stored { seq, .. } => *seq,
                    other => panic!("not stored: {other:?}"),
                }));
            }
            assert!(places.is_sorted());
            places
        }
    });
    let mut places = join_all(writers).await.concat();
    places.sort_unstable();
    assert_eq!(places, (1..=300).collect::<Vec<_>>());
    assert_eq!(seqs(&log(&store, channel).await), places);
}

async fn appenders_that_take_channels_in_opposite_orders_both_finish(store: AnyStore) {
    let (one, two) = (group(&store, &["alice"]).await, group(&store, &["alice"]).await);
    join_all([[one, two], [two, one]].map(|channels| {
        let mut appender = store.appender();
        async move {
            for _ in 0..25 {
                let batch = channels.map(|channel| draft(channel, "alice", "hi", None));
                appender.append(OutboxId::generate(), &batch.each_ref()).await.unwrap();
            }
        }
    }))
    .await;
    assert_eq!((log(&store, one).await.len(), log(&store, two).await.len()), (50, 50));
}

async fn one_client_message_id_through_two_appenders_is_stored_once(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let (mut one, mut two) = (store.appender(), store.appender());
    for round in 1..=20 {
        let id = format!("c-{round}");
        let drafts = ["one", "two"].map(|content| draft(channel, "alice", content, Some(&id)));
        let (first, second) = ([&drafts[0]], [&drafts[1]]);
        let (first, second) =
            tokio::join!(one.append(OutboxId::generate(), &first), two.append(OutboxId::generate(), &second));
        let mut verdicts = [told(&first.unwrap()[0]), told(&second.unwrap()[0])];
        verdicts.sort();
        let content = super::said(&log(&store, channel).await[round - 1].body);
        assert_eq!(verdicts, [format!("earlier {round}: {content}"), format!("stored {round}")]);
    }
    assert_eq!(log(&store, channel).await.len(), 20);
}

async fn messages_and_changes_share_one_numbering(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let alice = user("alice");
    let messages = async {
        let mut appender = store.appender();
        for _ in 0..30 {
            appender.append(OutboxId::generate(), &[&draft(channel, "alice", "hi", None)]).await.unwrap();
        }
    };
    let changes = async {
        for round in 0..10 {
            let bob = [user("bob")];
            store.add_members(channel, &alice, false, &bob).await.unwrap();
            store.rename(channel, &alice, false, &format!("crew {round}")).await.unwrap();
            store.remove_member(channel, &alice, false, &bob[0]).await.unwrap();
        }
    };
    tokio::join!(messages, changes);
    let log = log(&store, channel).await;
    assert_eq!(seqs(&log), (1..=60).collect::<Vec<_>>());
    assert!(log.is_sorted_by_key(|entry| entry.created_at));
}

async fn a_batch_that_is_given_up_is_stored_whole_or_not_at_all(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let mut appender = store.appender();
    for round in 0..30 {
        let batch: Vec<_> = (0..10).map(|_| draft(channel, "alice", "hi", None)).collect();
        let refs: Vec<_> = batch.iter().collect();
        // Somewhere between nothing done and everything done.
        let patience = Duration::from_micros(round * 150);
        let _given_up = tokio::time::timeout(patience, appender.append(OutboxId::generate(), &refs)).await;
    }
    let last = draft(channel, "alice", "last", None);
    appender.append(OutboxId::generate(), &[&last]).await.unwrap();
    let log = log(&store, channel).await;
    assert_eq!(log.len() % 10, 1);
    assert_eq!(seqs(&log), (1..).take(log.len()).collect::<Vec<_>>());
    let shown = store.channel(channel, &user("alice"), false).await.unwrap().unwrap();
    assert_eq!(shown.last_seq, log.last().unwrap().seq);
}
