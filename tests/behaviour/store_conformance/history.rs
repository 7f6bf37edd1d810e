//! Reading the log: windows, sync.

use std::collections::HashMap;

use api_server::store::{OutboxId, Page, Window};
use shared_types::{ChannelId, Seq};

use super::{AnyStore, conformance, draft, group, log, said, send, seqs, user, users};

conformance!(
    a_window_shows_its_part_of_the_log_in_order,
    a_log_is_read_to_its_end_page_by_page_from_either_side,
    every_kind_of_entry_is_read_back,
    a_channel_without_entries_has_an_empty_history,
    sync_answers_what_comes_after_each_cursor_for_ones_own_channels,
    sync_ends_with_membership,
    the_store_answers_that_it_is_there,
);

async fn filled(store: &AnyStore, entries: usize) -> ChannelId {
    let channel = group(store, &["alice"]).await;
    let batch: Vec<_> = (1..=entries).map(|n| draft(channel, "alice", &n.to_string(), None)).collect();
    store.appender().append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
    channel
}

fn shown(page: &Page) -> (Vec<Seq>, bool) {
    (seqs(&page.entries), page.has_more)
}

async fn a_window_shows_its_part_of_the_log_in_order(store: AnyStore) {
    let channel = filled(&store, 10).await;
    filled(&store, 3).await;
    let all: Vec<Seq> = (1..=10).collect();
    for (window, limit, expected, has_more) in [
        (Window::Latest, 3, &[8, 9, 10][..], true),
        (Window::Latest, 10, &all[..], false),
        (Window::Latest, 99, &all[..], false),
        (Window::Before(10), 3, &[7, 8, 9][..], true),
        (Window::Before(4), 3, &[1, 2, 3][..], false),
        (Window::Before(1), 3, &[][..], false),
        (Window::Before(Seq::MAX), 2, &[9, 10][..], true),
        (Window::After(0), 3, &[1, 2, 3][..], true),
        (Window::After(7), 3, &[8, 9, 10][..], false),
        (Window::After(10), 3, &[][..], false),
        (Window::After(-5), 1, &[1][..], true),
        (Window::Around(5), 4, &[3, 4, 5, 6][..], true),
        (Window::Around(5), 5, &[3, 4, 5, 6, 7][..], true),
        (Window::Around(1), 4, &[1, 2][..], true),
        (Window::Around(10), 4, &[8, 9, 10][..], true),
        (Window::Around(5), 1, &[5][..], true),
        (Window::Around(5), 99, &all[..], false),
        (Window::Around(12), 4, &[9, 10][..], true),
    ] {
        let page = store.history(channel, window, limit).await.unwrap();
        assert_eq!(shown(&page), (expected.to_vec(), has_more), "{window:?} {limit}");
    }
}

async fn a_log_is_read_to_its_end_page_by_page_from_either_side(store: AnyStore) {
    let channel = filled(&store, 25).await;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    loop {
        let page = store.history(channel, Window::After(up.last().copied().unwrap_or(0)), 4).await.unwrap();
        up.extend(seqs(&page.entries));
        if !page.has_more {
            break;
        }
    }
    loop {
        let window = down.last().map_or(Window::Latest, |seq| Window::Before(*seq));
        let page = store.history(channel, window, 4).await.unwrap();
        down.extend(seqs(&page.entries).into_iter().rev());
        if !page.has_more {
            break;
        }
    }
    down.reverse();
    assert_eq!((up, down), ((1..=25).collect(), (1..=25).collect()));
}

async fn every_kind_of_entry_is_read_back(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let alice = user("alice");
    let mut told = Vec::new();
    for change in [
        store.add_members(channel, &alice, false, &users(&["z|@:.-_", "bob"])).await.unwrap(),
        store.rename(channel, &alice, false, "the \"crew\" 🛶\n").await.unwrap(),
        store.remove_member(channel, &alice, false, &user("bob")).await.unwrap(),
    ] {
        match change {
            api_server::store::Change::Committed(committed) => told.push(super::json(&committed.entry)),
            other => panic!("not done: {other:?}"),
        }
    }
    told.push(super::json(&send(&store, channel, "alice", "hi").await));
    assert_eq!(log(&store, channel).await.iter().map(super::json).collect::<Vec<_>>(), told);
}

async fn a_channel_without_entries_has_an_empty_history(store: AnyStore) {
    let empty = group(&store, &["alice"]).await;
    for channel in [empty, ChannelId::generate()] {
        for window in [Window::Latest, Window::Before(5), Window::After(0), Window::Around(3)] {
            assert_eq!(shown(&store.history(channel, window, 5).await.unwrap()), (vec![], false));
        }
    }
}

async fn sync_answers_what_comes_after_each_cursor_for_ones_own_channels(store: AnyStore) {
    let (behind, even, ahead) = (filled(&store, 5).await, filled(&store, 3).await, filled(&store, 2).await);
    let (exact, empty) = (filled(&store, 4).await, group(&store, &["alice"]).await);
    let foreign = group(&store, &["bob"]).await;
    send(&store, foreign, "bob", "private").await;
    let cursors = [
        (behind, 1),
        (even, 3),
        (ahead, 9),
        (exact, 1),
        (empty, 0),
        (foreign, 0),
        (ChannelId::generate(), 0),
    ];

    let mut pages = store.sync(&user("alice"), &HashMap::from(cursors), 3).await.unwrap();

    let mut expect = |channel, expected: (Vec<Seq>, bool)| {
        assert_eq!(shown(&pages.remove(&channel).unwrap()), expected);
    };
    expect(behind, (vec![2, 3, 4], true));
    expect(even, (vec![], false));
    expect(ahead, (vec![], false));
    expect(exact, (vec![2, 3, 4], false));
    expect(empty, (vec![], false));
    assert!(pages.is_empty(), "{pages:?}");
    assert!(store.sync(&user("alice"), &HashMap::new(), 3).await.unwrap().is_empty());
}

async fn sync_ends_with_membership(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    send(&store, channel, "alice", "1").await;
    let cursors = HashMap::from([(channel, 0)]);
    let pages = store.sync(&user("bob"), &cursors, 9).await.unwrap();
    assert_eq!(pages[&channel].entries.iter().map(|entry| said(&entry.body)).collect::<Vec<_>>(), ["1"]);
    store.remove_member(channel, &user("alice"), false, &user("bob")).await.unwrap();
    assert!(store.sync(&user("bob"), &cursors, 9).await.unwrap().is_empty());
    assert!(store.channel(channel, &user("bob"), false).await.unwrap().is_none());
}

async fn the_store_answers_that_it_is_there(store: AnyStore) {
    store.ping().await.unwrap();
    group(&store, &["alice"]).await;
    store.ping().await.unwrap();
    store.close().await;
    store.ping().await.unwrap_err();
}
