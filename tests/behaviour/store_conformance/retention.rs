//! What is older than is to be kept goes, and everything else stays as it was.

use std::collections::HashMap;
use std::time::Duration;

use api_server::store::{Removal, Window};
use harness::storage::Tables;
use shared_types::{ChannelId, Seq};

use super::clocks::both_editions;
use super::push_jobs::{AT_ONCE, LONG};
use super::{AnyStore, draft, group, log, send, seqs, told, user};

const A_DAY: Duration = Duration::from_secs(86_400);

/// A channel of alice and bob in which alice has sent so many messages.
async fn filled(store: &AnyStore, entries: usize) -> ChannelId {
    let channel = group(store, &["alice", "bob"]).await;
    let batch: Vec<_> =
        (1..=entries).map(|n| draft(channel, "alice", &n.to_string(), Some(&format!("c-{n}")))).collect();
    store
        .appender()
        .append(api_server::store::OutboxId::generate(), &batch.iter().collect::<Vec<_>>())
        .await
        .unwrap();
    channel
}

/// Makes every entry up to `seq`, of every channel, two days old.
async fn age(tables: &Tables, seq: Seq) {
    let then = tables.moment_in(-2 * 86_400);
    tables.change(&format!("UPDATE entries SET created_at = {then} WHERE seq <= {seq}")).await;
}

/// Removes what is older than a day, batch by batch; the next round is due at once.
async fn remove(store: &AnyStore, most: i64) -> Vec<Removal> {
    let mut batches = Vec::new();
    loop {
        let batch = store.remove_old_entries(A_DAY, most, LONG, AT_ONCE).await.unwrap();
        batches.push(batch);
        assert!(batches.len() < 100, "it ends: {batches:?}");
        if batch.is_done {
            return batches;
        }
    }
}

fn removed(batches: &[Removal]) -> u64 {
    batches.iter().map(|batch| batch.entries).sum()
}

#[tokio::test]
async fn what_is_old_goes_in_bounded_batches_and_what_is_left_keeps_its_seq() {
    let (editions, _folder) = both_editions().await;
    for ([store, _], tables) in editions {
        let channels = [filled(&store, 25).await, filled(&store, 3).await, filled(&store, 12).await];
        let young = group(&store, &["alice"]).await;
        age(&tables, 10).await;
        send(&store, young, "alice", "young").await;

        let batches = remove(&store, 4).await;

        assert_eq!(removed(&batches), 10 + 3 + 10);
        assert!(batches.iter().all(|batch| batch.entries <= 4), "{batches:?}");
        for (channel, (first, last)) in channels.into_iter().zip([(11, 25), (4, 3), (11, 12)]) {
            assert_eq!(seqs(&log(&store, channel).await), (first..=last).collect::<Vec<_>>());
        }
        assert_eq!(seqs(&log(&store, young).await), [1]);
        assert_eq!(send(&store, channels[1], "alice", "on it goes").await.seq, 4);
        assert_eq!(removed(&remove(&store, 4).await), 0);
    }
}

#[tokio::test]
async fn cursors_stay_valid_and_say_what_is_not_kept_any_more() {
    let (editions, _folder) = both_editions().await;
    for ([store, _], tables) in editions {
        let (channel, empty) = (filled(&store, 10).await, filled(&store, 5).await);
        age(&tables, 6).await;
        remove(&store, 100).await;

        for (window, expected) in [
            (Window::After(0), (vec![7, 8, 9, 10], 6)),
            (Window::After(5), (vec![7, 8, 9, 10], 6)),
            (Window::After(6), (vec![7, 8, 9, 10], 0)),
            (Window::After(8), (vec![9, 10], 0)),
            (Window::Before(9), (vec![7, 8], 0)),
            (Window::Before(5), (vec![], 0)),
            (Window::Around(3), (vec![7, 8, 9, 10], 0)),
        ] {
            let page = store.history(channel, window, 50).await.unwrap();
            assert_eq!((seqs(&page.entries), page.removed_seq), expected, "{window:?}");
        }
        let page = store.history(empty, Window::After(2), 50).await.unwrap();
        assert_eq!((page.entries.len(), page.removed_seq, page.has_more), (0, 5, false));

        let cursors = HashMap::from([(channel, 2), (empty, 5)]);
        let synced = store.sync(&user("bob"), &cursors, 50).await.unwrap();
        let shown = |id| (seqs(&synced[&id].entries), synced[&id].removed_seq);
        assert_eq!((shown(channel), shown(empty)), ((vec![7, 8, 9, 10], 6), (vec![], 0)));
        let synced = store.sync(&user("bob"), &HashMap::from([(empty, 4)]), 50).await.unwrap();
        assert_eq!(synced[&empty].removed_seq, 5);
    }
}

#[tokio::test]
async fn the_list_counts_and_shows_what_is_kept() {
    let (editions, _folder) = both_editions().await;
    for ([store, _], tables) in editions {
        let (channel, empty) = (filled(&store, 10).await, filled(&store, 5).await);
        age(&tables, 6).await;
        remove(&store, 100).await;

        let view = store.channel(channel, &user("bob"), false).await.unwrap().unwrap();
        let last = view.last_message.map(|entry| entry.seq);
        assert_eq!((view.last_seq, view.unread_count, last), (10, 4, Some(10)));
        let view = store.channel(empty, &user("bob"), false).await.unwrap().unwrap();
        assert_eq!((view.last_seq, view.unread_count, view.last_message.is_none()), (5, 0, true));
        assert_eq!(store.mark_read(empty, &user("bob"), 5).await.unwrap().unwrap().seq, 5);
    }
}

#[tokio::test]
async fn a_repeat_is_known_for_as_long_as_its_entry_is_kept() {
    let (editions, _folder) = both_editions().await;
    for ([store, _], tables) in editions {
        let channel = filled(&store, 2).await;
        age(&tables, 1).await;
        remove(&store, 100).await;
        let repeats = [draft(channel, "alice", "1", Some("c-1")), draft(channel, "alice", "2", Some("c-2"))];
        let verdicts = store
            .appender()
            .append(api_server::store::OutboxId::generate(), &repeats.iter().collect::<Vec<_>>())
            .await
            .unwrap();
        assert_eq!(verdicts.iter().map(told).collect::<Vec<_>>(), ["stored 3", "earlier 2: 2"]);
    }
}

#[tokio::test]
async fn what_was_still_to_be_delivered_goes_along() {
    let (editions, _folder) = both_editions().await;
    for ([store, other], tables) in editions {
        filled(&store, 3).await;
        age(&tables, 3).await;
        tables.change(&format!("UPDATE outbox SET written_at = {}", tables.moment_in(-2 * 86_400))).await;
        let kept = filled(&store, 1).await;
        remove(&store, 100).await;
        let adopted = other.adopt_outbox(&[], AT_ONCE, 9).await.unwrap();
        assert_eq!(adopted.iter().map(|one| one.entry.channel_id).collect::<Vec<_>>(), [kept]);
        assert_eq!(tables.count("SELECT count(*) FROM outbox").await, 1);
    }
}

#[tokio::test]
async fn one_process_removes_at_a_time_and_another_goes_on_when_it_has_died() {
    let (editions, _folder) = both_editions().await;
    for ([store, other], tables) in editions {
        let channel = filled(&store, 9).await;
        age(&tables, 9).await;
        let batch = async |store: &AnyStore, lease, pause| {
            let batch = store.remove_old_entries(A_DAY, 3, lease, pause).await.unwrap();
            (batch.entries, batch.is_done)
        };
        assert_eq!(batch(&store, LONG, LONG).await, (3, false));
        assert_eq!(batch(&other, LONG, LONG).await, (0, true), "it is not its turn");
        assert_eq!(batch(&store, AT_ONCE, LONG).await, (3, false));
        // It has died: its lease has ended.
        assert_eq!(batch(&other, LONG, LONG).await, (3, false));
        assert_eq!(batch(&store, LONG, LONG).await, (0, true));
        assert_eq!(batch(&other, LONG, LONG).await, (0, true));
        assert!(log(&store, channel).await.is_empty());
        // The round is over, and the next one is not due: not for either of them.
        age(&tables, 9).await;
        filled(&store, 1).await;
        age(&tables, 9).await;
        assert_eq!((batch(&store, LONG, LONG).await.0, batch(&other, LONG, LONG).await.0), (0, 0));
        // The clock has been set back since.
        tables.change(&format!("UPDATE retention SET due_at = {}", tables.moment_in(7 * 86_400))).await;
        assert_eq!(batch(&other, LONG, LONG).await.0, 1);
    }
}
