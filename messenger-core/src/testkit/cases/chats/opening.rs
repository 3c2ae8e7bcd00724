use std::{collections::BTreeSet, sync::Arc};

use super::{counts, newcomer};
use crate::{
    domain::{ChatKind, Revision, Role, Seq, UserId},
    ports::{Appended, ChatRecord, Content, NewGroup, Opened, RosterChange, StoreErrorKind},
    testkit::{
        World, check_chat, error_kind, expected_system, race,
        world::{name, sealed_text},
    },
};

pub async fn open_direct_makes_one_chat_for_each_pair(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let first = world.new_direct(ada, bob);
    let made = world.store.open_direct(first).await.unwrap();
    assert_eq!(made, Opened::new(first.id));
    for (a, b) in [(ada, bob), (bob, ada)] {
        let again = world.store.open_direct(world.new_direct(a, b)).await.unwrap();
        assert_eq!(again, Opened { created: false, ..made });
    }
    let other = world.store.open_direct(world.new_direct(cleo, ada)).await.unwrap();
    assert!(other.created && other.chat != made.chat);

    let expected = ChatRecord {
        id: first.id,
        kind: ChatKind::Direct,
        title: None,
        created_at: first.created_at,
        revision: Revision::ZERO,
        last_seq: Seq::ZERO,
        texts: 0,
        member_count: 2,
        roster_version: 1,
    };
    let roster = world.store.roster(first.id).await.unwrap();
    assert_eq!(roster.chat, expected);
    assert_eq!(roster.members, [ada, bob].map(|user| newcomer(user, Role::Member, first.created_at)));
    assert_eq!(check_chat(&*world.store, first.id, ada).await, []);

    let racers = (0..16).map(|n| world.new_direct([bob, cleo][n % 2], [cleo, bob][n % 2]));
    let answers = race(racers.map(|chat| {
        let store = Arc::clone(&world.store);
        async move { store.open_direct(chat).await.unwrap() }
    }))
    .await;
    assert_eq!(answers.iter().filter(|opened| opened.created).count(), 1);
    assert!(answers.iter().all(|opened| opened.chat == answers[0].chat), "all racers find the same chat");
    check_chat(&*world.store, answers[0].chat, bob).await;
    assert_eq!(world.record(bob).await.memberships, 2, "it is counted once");
}

pub async fn open_direct_with_unknown_or_erased_user_is_not_found(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    world.direct(ada, bob).await;
    world.erase(bob).await;
    world.erase(cleo).await;
    for other in [bob, cleo, world.id()] {
        for (a, b) in [(ada, other), (other, ada)] {
            let answer = world.store.open_direct(world.new_direct(a, b)).await;
            assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
        }
    }
    assert_eq!(world.record(ada).await.memberships, 1, "nothing is stored");
    assert_eq!(world.store.chats_ever_joined(ada).await.unwrap().len(), 1);
}

pub async fn open_direct_counts_a_membership_for_both(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    for other in [bob, cleo, bob, cleo] {
        world.direct(ada, other).await;
    }
    assert_eq!(counts(world, [ada, bob, cleo]).await, [2, 1, 1]);
}

pub async fn create_group_stores_members_roles_and_the_system_message(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let title = Content::from("🦀".repeat(128));
    let group = NewGroup { title, ..world.new_group(bob, &[cleo, ada]) };
    let made = world.store.create_group(group.clone()).await.unwrap();
    assert_eq!(made, Opened::new(group.id));

    let roster = world.store.roster(group.id).await.unwrap();
    let expected = ChatRecord {
        id: group.id,
        kind: ChatKind::Group,
        title: Some(group.title.clone()),
        created_at: group.created_at,
        revision: Revision::new(1),
        last_seq: Seq::new(1),
        texts: 0,
        member_count: 3,
        roster_version: 1,
    };
    assert_eq!(roster.chat, expected);
    let at = group.created_at;
    let members = [(bob, Role::Owner), (cleo, Role::Member), (ada, Role::Member)];
    assert_eq!(roster.members, members.map(|(user, role)| newcomer(user, role, at)));
    for user in [ada, bob, cleo] {
        assert_eq!(world.unread(group.id, user).await, 0);
    }
    let message = expected_system(group.id, &group.message, 1, 1);
    assert_eq!(check_chat(&*world.store, group.id, ada).await, [message]);

    for title in [sealed_text(300), sealed_text(1600), Content::from(" \u{1}\n\u{10ffff} ")] {
        let group = NewGroup { title: title.clone(), ..world.new_group(ada, &[bob]) };
        world.store.create_group(group.clone()).await.unwrap();
        assert_eq!(world.view(group.id, bob).await.chat.title, Some(title.clone()), "byte for byte");
        let plain =
            RosterChange { title: Some(Content::from("Tea")), ..world.change_by(group.id, ada).await };
        world.store.change_roster(plain).await.unwrap();
        let sealed = RosterChange { title: Some(title.clone()), ..world.change_by(group.id, ada).await };
        assert_eq!(world.store.change_roster(sealed).await.unwrap().chat.title, Some(title));
    }

    let alone = world.group([ada]).await;
    let roster = world.store.roster(alone).await.unwrap();
    assert_eq!((roster.chat.member_count, roster.members.len()), (1, 1));
}

pub async fn create_group_finds_the_one_made_with_the_same_client_id(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let named = |members: &[UserId], client_id: &str, mark: &str| {
        let client_id = Some(name(client_id, mark));
        NewGroup { client_id, ..world.new_group(ada, members) }
    };
    let first = named(&[bob], "g1", "first");
    let made = world.store.create_group(first.clone()).await.unwrap();
    assert_eq!(made, Opened::new(first.id));

    let found = Opened { created: false, ..made };
    let repeated = NewGroup { client_id: first.client_id.clone(), ..world.new_group(ada, &[bob]) };
    assert_eq!(world.store.create_group(repeated).await.unwrap(), found);
    let another = world.store.create_group(named(&[], "g1", "another")).await.unwrap();
    assert_eq!(another, Opened { same_request: false, ..found }, "made by another request");
    world.erase(bob).await;
    assert_eq!(world.store.create_group(first.clone()).await.unwrap(), found, "though a member was erased");
    assert!(world.store.create_group(named(&[], "G1", "first")).await.unwrap().created, "case counts");
    assert!(world.store.create_group(named(&[], "g2", "first")).await.unwrap().created);
    assert_eq!(counts(world, [ada, bob]).await, [3, 1]);
    assert_eq!(check_chat(&*world.store, first.id, ada).await.len(), 1);

    let answers = race((0..8).map(|_| {
        let (store, group) = (Arc::clone(&world.store), named(&[], "race", "race"));
        async move { store.create_group(group).await.unwrap() }
    }))
    .await;
    assert_eq!(answers.iter().filter(|opened| opened.created).count(), 1);
    assert!(answers.iter().all(|opened| opened.chat == answers[0].chat));
    assert_eq!(world.store.memberships(ada, None).await.unwrap().chats.len(), 4);
}

pub async fn create_group_keeps_client_ids_of_different_creators_apart(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let client_id = Some(name("same", "same"));
    let mut made = BTreeSet::new();
    for creator in [ada, bob] {
        let group = NewGroup { client_id: client_id.clone(), ..world.new_group(creator, &[]) };
        let opened = world.store.create_group(group).await.unwrap();
        assert!(opened.created);
        made.insert(opened.chat);
        let message = world.named(opened.chat, creator, "text", "same");
        let appended = world.append(&message).await.unwrap();
        assert!(matches!(appended, Appended::New(_)), "a message may have the id of a group");
    }
    assert_eq!(made.len(), 2);
}

pub async fn create_group_with_unknown_or_erased_member_is_not_found(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    world.erase(cleo).await;
    for stranger in [cleo, world.id()] {
        for (creator, members) in [(ada, [bob, stranger]), (stranger, [ada, bob])] {
            let group = NewGroup { client_id: Some(name("g1", "g1")), ..world.new_group(creator, &members) };
            let answer = world.store.create_group(group.clone()).await;
            assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
            assert_eq!(error_kind(world.store.roster(group.id).await), StoreErrorKind::NotFound);
        }
    }
    assert_eq!(counts(world, [ada, bob, cleo]).await, [0, 0, 0]);
    assert_eq!(world.store.chats_ever_joined(bob).await.unwrap(), []);
    let group = NewGroup { client_id: Some(name("g1", "g1")), ..world.new_group(ada, &[bob]) };
    assert!(world.store.create_group(group).await.unwrap().created, "the client id is still free");
}

pub async fn create_group_counts_a_membership_for_everyone(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    world.group([ada, bob, cleo]).await;
    world.group([bob, ada]).await;
    assert_eq!(counts(world, [ada, bob, cleo]).await, [2, 2, 1]);
}
