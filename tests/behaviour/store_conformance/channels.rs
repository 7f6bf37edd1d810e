//! Channels: made, opened, shown, listed, renamed.

use api_server::store::{ChannelCursor, ChannelKind, ChannelView, OutboxId, Role, StoreError};
use futures_util::future::join_all;
use shared_types::{ChannelId, UserId};

use super::{AnyStore, a_later_moment, changed, conformance, group, send, user, users};

conformance!(
    a_new_group_is_empty_and_has_its_name,
    a_pair_has_one_direct_channel_whoever_opens_it,
    many_who_open_one_direct_channel_at_once_get_the_same_one,
    a_channel_is_shown_to_its_participants_and_to_who_sees_all,
    unread_are_the_messages_of_others_after_the_read_cursor,
    the_last_message_is_a_message_and_not_a_change,
    channels_are_listed_latest_activity_first_page_by_page,
    channels_with_activity_at_the_same_moment_are_listed_by_id,
    channels_besides_those_known_are_listed,
    a_rename_is_told_once_and_only_by_who_manages,
    a_name_that_is_refused_changes_nothing,
);

async fn shown(store: &AnyStore, channel: ChannelId, name: &str) -> Option<ChannelView> {
    store.channel(channel, &user(name), false).await.unwrap()
}

async fn a_new_group_is_empty_and_has_its_name(store: AnyStore) {
    let members = [(user("alice"), Role::Owner), (user("bob"), Role::Admin)];
    let channel = store.create_group(Some("Crew 나루"), &members).await.unwrap();
    let view = shown(&store, channel, "bob").await.unwrap();
    assert_eq!((view.id, view.kind, view.name.as_deref()), (channel, ChannelKind::Group, Some("Crew 나루")));
    assert_eq!((view.last_seq, view.read_seq, view.unread_count, view.member_count), (0, 0, 0, 2));
    assert!(view.last_message.is_none());
    let age = chrono::Utc::now() - view.updated_at.as_datetime();
    assert!(age.num_seconds().abs() < 60, "{age}");
    let roles: Vec<Role> =
        store.members(channel, None, 9).await.unwrap().into_iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Owner, Role::Admin]);
}

async fn a_pair_has_one_direct_channel_whoever_opens_it(store: AnyStore) {
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let (channel, is_new) = store.open_direct(&bob, &alice).await.unwrap();
    assert!(is_new);
    assert_eq!(store.open_direct(&alice, &bob).await.unwrap(), (channel, false));
    assert_eq!(store.open_direct(&bob, &alice).await.unwrap(), (channel, false));
    assert_ne!(store.open_direct(&alice, &carol).await.unwrap().0, channel);
    let view = shown(&store, channel, "alice").await.unwrap();
    assert_eq!((view.kind, view.name, view.member_count), (ChannelKind::Direct, None, 2));
}

async fn many_who_open_one_direct_channel_at_once_get_the_same_one(store: AnyStore) {
    for round in 0..10 {
        let (one, other) = (user(&format!("a{round}")), user(&format!("b{round}")));
        let pairs = [(&one, &other), (&other, &one), (&one, &other), (&other, &one)];
        let opened = join_all(pairs.map(|(one, other)| store.open_direct(one, other))).await;
        let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        assert!(opened.iter().all(|(channel, _)| *channel == opened[0].0), "{opened:?}");
        assert_eq!(opened.iter().filter(|(_, is_new)| *is_new).count(), 1, "{opened:?}");
    }
}

async fn a_channel_is_shown_to_its_participants_and_to_who_sees_all(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    send(&store, channel, "alice", "hi").await;
    assert!(shown(&store, channel, "mallory").await.is_none());
    assert!(store.channel(ChannelId::generate(), &user("alice"), true).await.unwrap().is_none());
    let seen = store.channel(channel, &user("service"), true).await.unwrap().unwrap();
    assert_eq!((seen.last_seq, seen.read_seq, seen.unread_count, seen.member_count), (1, 0, 0, 2));
}

async fn unread_are_the_messages_of_others_after_the_read_cursor(store: AnyStore) {
    let channel = group(&store, &["alice", "bob"]).await;
    send(&store, channel, "alice", "1").await;
    send(&store, channel, "bob", "2").await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    send(&store, channel, "alice", "4").await;
    let unread = async |name| {
        let (shown, listed) = (
            shown(&store, channel, name).await.unwrap(),
            store.channels(&user(name), None, 9).await.unwrap(),
        );
        assert_eq!(listed[0].unread_count, shown.unread_count, "{name}");
        shown.unread_count
    };
    assert_eq!((unread("alice").await, unread("bob").await), (1, 2));
    store.mark_read(channel, &user("bob"), 1).await.unwrap();
    assert_eq!(unread("bob").await, 1);
    store.mark_read(channel, &user("bob"), 4).await.unwrap();
    assert_eq!(unread("bob").await, 0);
    store.add_members(channel, &user("alice"), false, &users(&["carol"])).await.unwrap();
    assert_eq!(unread("carol").await, 0);
    send(&store, channel, "bob", "6").await;
    assert_eq!((unread("alice").await, unread("bob").await, unread("carol").await), (2, 0, 1));
    let listed = store.channels(&user("carol"), None, 9).await.unwrap();
    assert_eq!((listed[0].unread_count, listed[0].read_seq, listed[0].member_count), (1, 5, 3));
}

async fn the_last_message_is_a_message_and_not_a_change(store: AnyStore) {
    let channel = group(&store, &["alice"]).await;
    store.rename(channel, &user("alice"), false, "crew").await.unwrap();
    assert!(shown(&store, channel, "alice").await.unwrap().last_message.is_none());
    send(&store, channel, "alice", "one").await;
    let two = send(&store, channel, "alice", "two").await;
    store.rename(channel, &user("alice"), false, "the crew").await.unwrap();
    let view = shown(&store, channel, "alice").await.unwrap();
    assert_eq!((view.last_seq, view.name.as_deref()), (4, Some("the crew")));
    assert_eq!(super::json(&view.last_message.unwrap()), super::json(&two));
}

/// The ids of the user's channels, in the order of pages of `limit`.
async fn pages(store: &AnyStore, user: &UserId, limit: i64) -> Vec<ChannelId> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.channels(user, cursor, limit).await.unwrap();
        let Some(last) = page.last() else { return found };
        cursor = Some(ChannelCursor {
            updated_at_us: last.updated_at.as_datetime().timestamp_micros(),
            id: last.id,
        });
        found.extend(page.iter().map(|view| view.id));
    }
}

async fn channels_are_listed_latest_activity_first_page_by_page(store: AnyStore) {
    let mut channels = Vec::new();
    for _ in 0..7 {
        channels.push(group(&store, &["alice"]).await);
        group(&store, &["bob"]).await;
    }
    for n in [4, 1, 6, 0] {
        a_later_moment().await;
        send(&store, channels[n], "alice", &n.to_string()).await;
    }
    let expected = [0, 6, 1, 4, 5, 3, 2].map(|n| channels[n]);
    for limit in [1, 2, 3, 7, 50] {
        assert_eq!(pages(&store, &user("alice"), limit).await, expected, "{limit}");
    }
    let listed = store.channels(&user("alice"), None, 2).await.unwrap();
    let last = listed.iter().map(|view| super::said(&view.last_message.as_ref().unwrap().body));
    assert_eq!(last.collect::<Vec<_>>(), ["0", "6"]);
    assert!(store.channels(&user("nobody"), None, 9).await.unwrap().is_empty());
}

async fn channels_with_activity_at_the_same_moment_are_listed_by_id(store: AnyStore) {
    let mut channels = Vec::new();
    for _ in 0..20 {
        channels.push(group(&store, &["alice"]).await);
    }
    let batch: Vec<_> = channels.iter().map(|channel| super::draft(*channel, "alice", "hi", None)).collect();
    store.appender().append(OutboxId::generate(), &batch.iter().collect::<Vec<_>>()).await.unwrap();
    channels.sort_unstable();
    channels.reverse();
    assert_eq!(pages(&store, &user("alice"), 3).await, channels);
    let known = [channels[0], channels[2]];
    assert_eq!(store.channels_besides(&user("alice"), &known, 2).await.unwrap(), [channels[1], channels[3]]);
}

async fn channels_besides_those_known_are_listed(store: AnyStore) {
    let (one, two) = (group(&store, &["alice"]).await, group(&store, &["alice", "bob"]).await);
    let foreign = group(&store, &["bob"]).await;
    let alice = user("alice");
    let besides = async |known: &[ChannelId]| {
        let mut found = store.channels_besides(&alice, known, 9).await.unwrap();
        found.sort_unstable();
        found
    };
    assert_eq!(besides(&[]).await, [one, two]);
    assert_eq!(besides(&[one, foreign, ChannelId::generate()]).await, [two]);
    assert!(besides(&[one, two]).await.is_empty());
}

async fn a_rename_is_told_once_and_only_by_who_manages(store: AnyStore) {
    let members = [("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Member)];
    let members = members.map(|(name, role)| (user(name), role));
    let channel = store.create_group(Some("crew"), &members).await.unwrap();
    let direct = store.open_direct(&user("alice"), &user("bob")).await.unwrap().0;
    let nowhere = ChannelId::generate();
    for (channel, caller, may_manage, name, expected) in [
        (channel, "alice", false, "crew", "unchanged"),
        (channel, "carol", false, "mine", "forbidden"),
        (channel, "mallory", false, "mine", "not found"),
        (nowhere, "alice", true, "mine", "not found"),
        (direct, "alice", true, "us", "refused"),
        (direct, "carol", false, "us", "not found"),
        (channel, "alice", false, "Crew", "1 renamed Crew by alice v1"),
        (channel, "bob", false, "crew 2", "2 renamed crew 2 by bob v1"),
        (channel, "service", true, "crew 3", "3 renamed crew 3 by service v1"),
        (channel, "carol", true, "crew 4", "4 renamed crew 4 by carol v1"),
    ] {
        let change = store.rename(channel, &user(caller), may_manage, name).await.unwrap();
        assert_eq!(changed(&change), expected, "{caller} {name}");
    }
    assert_eq!(shown(&store, channel, "alice").await.unwrap().name.as_deref(), Some("crew 4"));
    assert_eq!(super::seqs(&super::log(&store, channel).await), [1, 2, 3, 4]);
}

async fn a_name_that_is_refused_changes_nothing(store: AnyStore) {
    let members = [(user("alice"), Role::Owner)];
    let made = store.create_group(Some("no\0no"), &members).await;
    assert!(matches!(made, Err(StoreError::Refused(_))), "{made:?}");
    assert!(store.channels(&user("alice"), None, 9).await.unwrap().is_empty());
    let channel = store.create_group(Some("crew"), &members).await.unwrap();
    let renamed = store.rename(channel, &user("alice"), false, "no\0no").await;
    assert!(matches!(renamed, Err(StoreError::Refused(_))), "{renamed:?}");
    let view = shown(&store, channel, "alice").await.unwrap();
    assert_eq!((view.name.as_deref(), view.last_seq), (Some("crew"), 0));
}
