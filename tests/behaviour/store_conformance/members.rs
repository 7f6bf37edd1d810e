//! Participants: standing, lists, read cursors.

use api_server::store::{ChannelKind, Role};
use futures_util::future::join_all;
use shared_types::ChannelId;

use super::{AnyStore, changed, conformance, group, send, user, users};

conformance!(
    a_standing_says_what_a_caller_is_in_a_channel,
    members_are_listed_by_the_bytes_of_their_id_page_by_page,
    participants_come_with_their_version_and_where_they_joined,
    who_joins_has_read_what_was_there_before,
    members_are_added_once_in_the_order_given,
    two_who_add_the_same_user_add_them_once,
    a_read_cursor_moves_forward_and_never_back,
    read_cursors_that_race_end_at_the_furthest,
);

async fn a_standing_says_what_a_caller_is_in_a_channel(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    send(&store, channel, "bob", "hi").await;
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    for (channel, caller, kind, role, last_seq) in [
        (channel, "alice", ChannelKind::Group, Some(Role::Owner), 1),
        (channel, "bob", ChannelKind::Group, Some(Role::Member), 1),
        (channel, "mallory", ChannelKind::Group, None, 1),
        (direct, "bob", ChannelKind::Direct, Some(Role::Member), 0),
    ] {
        let standing = store.standing(channel, &user(caller)).await.unwrap().unwrap();
        assert_eq!((standing.kind, standing.role, standing.last_seq), (kind, role, last_seq), "{caller}");
    }
    assert!(store.standing(ChannelId::generate(), &user("alice")).await.unwrap().is_none());
}

async fn members_are_listed_by_the_bytes_of_their_id_page_by_page(store: AnyStore) {
    let mut names =
        ["b", "a|b", "A", "a.b", "_a", "a", "B", "a-b", "10", "9", "ab", "a_b", "a:b", "a@b", "Ab"];
    let channel = group(&store, &names).await;
    names.sort_unstable();
    for limit in [1, 4, 15, 99] {
        let mut listed = Vec::new();
        loop {
            let page = store.members(channel, listed.last(), limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|member| member.user_id));
        }
        assert_eq!(listed, users(&names), "{limit}");
    }
    assert!(store.members(ChannelId::generate(), None, 9).await.unwrap().is_empty());
}

async fn participants_come_with_their_version_and_where_they_joined(store: AnyStore) {
    let (one, two) = (group(&store, &["alice"]).await, group(&store, &["bob", "carol"]).await);
    let left = group(&store, &["dave"]).await;
    send(&store, one, "alice", "hi").await;
    store.add_members(one, &user("alice"), false, &users(&["bob"])).await.unwrap();
    store.remove_member(left, &user("dave"), false, &user("dave")).await.unwrap();

    let asked = [two, left, one, ChannelId::generate(), one];
    let mut found = store.participants(&asked).await.unwrap();

    found.sort_by_key(|(channel, _)| *channel);
    let mut told: Vec<_> = found
        .into_iter()
        .map(|(channel, mut participants)| {
            participants.members.sort_by(|a, b| a.user_id.cmp(&b.user_id));
            let members = participants.members.into_iter().map(|member| (member.user_id, member.joined_seq));
            (channel, participants.version, members.collect::<Vec<_>>())
        })
        .collect();
    let mut expected = vec![
        (one, 2, vec![(user("alice"), 0), (user("bob"), 2)]),
        (two, 1, vec![(user("bob"), 0), (user("carol"), 0)]),
    ];
    expected.sort();
    told.sort();
    assert_eq!(told, expected);
}

async fn who_joins_has_read_what_was_there_before(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    send(&store, channel, "alice", "1").await;
    send(&store, channel, "alice", "2").await;
    store.add_members(channel, &user("alice"), false, &users(&["bob"])).await.unwrap();
    let bob = &store.members(channel, Some(&user("alice")), 1).await.unwrap()[0];
    assert_eq!((bob.user_id.as_str(), bob.role), ("bob", Role::Member));
    assert_eq!((bob.read_seq, bob.delivered_seq), (3, 3));
    let log = super::log(&store, channel).await;
    assert!(bob.joined_at >= log[1].created_at, "{bob:?}");
}

async fn members_are_added_once_in_the_order_given(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    let add = async |names: &[&str]| {
        let change = store.add_members(channel, &user("alice"), false, &users(names)).await.unwrap();
        changed(&change)
    };
    assert_eq!(add(&["zoe", "bob", "carol", "zoe"]).await, "1 joined [\"zoe\", \"carol\"] by alice v2");
    assert_eq!(add(&["carol", "bob"]).await, "unchanged");
    assert_eq!(add(&[]).await, "unchanged");
    let many: Vec<String> = (0..1_000).map(|n| format!("u{n}")).collect();
    add(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let view = store.channel(channel, &user("u999"), false).await.unwrap().unwrap();
    assert_eq!((view.member_count, view.last_seq), (1_004, 2));
}

async fn two_who_add_the_same_user_add_them_once(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    for round in 0..10 {
        let new = users(&[&format!("u{round}")]);
        let alice = user("alice");
        let changes = join_all([(); 3].map(|()| store.add_members(channel, &alice, false, &new))).await;
        let mut changes: Vec<_> = changes.into_iter().map(|change| changed(&change.unwrap())).collect();
        changes.sort();
        let (seq, version) = (round + 1, round + 2);
        let told = format!("{seq} joined [\"u{round}\"] by alice v{version}");
        assert_eq!(changes, [told.as_str(), "unchanged", "unchanged"]);
    }
}

async fn a_read_cursor_moves_forward_and_never_back(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    let bob = user("bob");
    for (seq, expected, has_moved) in
        [(0, 0, false), (3, 3, true), (2, 3, false), (3, 3, false), (7, 7, true), (-1, 7, false)]
    {
        let cursor = store.mark_read(channel, &bob, seq).await.unwrap().unwrap();
        assert_eq!(
            (cursor.seq, cursor.has_moved, cursor.membership_version),
            (expected, has_moved, 1),
            "{seq}"
        );
    }
    assert_eq!(store.mark_read(channel, &user("mallory"), 1).await.unwrap(), None);
    assert_eq!(store.mark_read(ChannelId::generate(), &bob, 1).await.unwrap(), None);
    let read: Vec<_> = store.members(channel, None, 9).await.unwrap();
    assert_eq!(read.iter().map(|member| member.read_seq).collect::<Vec<_>>(), [0, 7]);
}

async fn read_cursors_that_race_end_at_the_furthest(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    let alice = user("alice");
    let marks = join_all((1..=20).rev().map(|seq| store.mark_read(channel, &alice, seq))).await;
    for (mark, seq) in marks.into_iter().zip((1..=20).rev()) {
        assert!(mark.unwrap().unwrap().seq >= seq);
    }
    assert_eq!(store.mark_read(channel, &alice, 0).await.unwrap().unwrap().seq, 20);
}
