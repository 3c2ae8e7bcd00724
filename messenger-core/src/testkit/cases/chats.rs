use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::{
    domain::{ChatId, ChatKind, Revision, Role, Seq, SystemEvent, Timestamp, Title, UserId},
    ports::{
        Activity, ChatHead, ChatRecord, ChatView, DirectChat, MemberRecord, NewGroup, Opened, RosterChange,
        StoreErrorKind,
    },
    testkit::{World, check_chat, error_kind, expected_system, race, world::name},
};

pub async fn open_direct_makes_one_chat_for_each_pair(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let first = world.new_direct(ada, bob);
    let made = world.store.open_direct(first).await.unwrap();
    assert_eq!(made, Opened { chat: first.id, created: true, fingerprint: None });
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
    let title = Title::trusted("🦀".repeat(128));
    let group = NewGroup { title, ..world.new_group(bob, &[cleo, ada]) };
    let made = world.store.create_group(group.clone()).await.unwrap();
    assert_eq!(made, Opened { chat: group.id, created: true, fingerprint: None });

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
    let fingerprint = first.client_id.as_ref().map(|(_, mark)| *mark);
    let made = world.store.create_group(first.clone()).await.unwrap();
    assert_eq!(made, Opened { chat: first.id, created: true, fingerprint });

    let found = Opened { created: false, ..made };
    let repeated = NewGroup { client_id: first.client_id.clone(), ..world.new_group(ada, &[bob]) };
    assert_eq!(world.store.create_group(repeated).await.unwrap(), found);
    let another = world.store.create_group(named(&[], "g1", "another")).await.unwrap();
    assert_eq!(another, found, "with the mark of the request that made it");
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
    assert_eq!(world.store.memberships(ada).await.unwrap().chats.len(), 4);
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
        assert!(matches!(appended, crate::ports::Appended::New(_)), "a message may have the id of a group");
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

pub async fn chat_views_skip_chats_of_others(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (theirs, left, mine) =
        (world.direct(bob, cleo).await, world.group([bob, ada]).await, world.group([ada, bob]).await);
    world.remove(left, bob, &[ada]).await;
    let mut asked: Vec<ChatId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([theirs, left, mine]);
    let views = world.store.chat_views(ada, &asked).await.unwrap();
    assert_eq!(views.iter().map(|view| view.chat.id).collect::<Vec<_>>(), [mine]);
    assert_eq!(world.store.chat_views(ada, &[]).await.unwrap(), []);
    assert_eq!(world.store.chat_views(world.id(), &[mine]).await.unwrap(), []);
}

pub async fn chat_views_show_peer_last_message_and_unread(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob, cleo]).await);
    let empty = world.view(direct, ada).await;
    assert_eq!((empty.last_message, empty.peer), (None, Some(world.record(bob).await)));

    world.send(direct, bob, "one").await;
    let last = world.send(direct, bob, "two").await;
    let last = world.edit(&last, "zwei").await;
    let roster = world.store.roster(direct).await.unwrap();
    let view = ChatView {
        chat: roster.chat.clone(),
        me: roster.members[0].clone(),
        peer: Some(world.record(bob).await),
        last_message: Some(last.clone()),
    };
    assert_eq!(world.view(direct, ada).await, view);
    assert_eq!((view.chat.texts, view.me.read_texts), (2, 0));
    let theirs = world.view(direct, bob).await;
    assert_eq!((theirs.peer, theirs.me.read_texts), (Some(world.record(ada).await), 2));

    let system = world.view(group, bob).await;
    assert_eq!(system.peer, None, "a group has no peer, not even one of two");
    assert_eq!(system.last_message.map(|message| message.seq), Some(Seq::new(1)));
    assert_eq!(world.unread(group, bob).await, 0);
    let deleted = world.delete(&last).await;
    assert_eq!(world.view(direct, ada).await.last_message, Some(deleted));
    assert_eq!(world.unread(direct, ada).await, 2, "a tombstone is still counted");
    world.erase(bob).await;
    assert_eq!(world.view(direct, ada).await.peer, Some(world.record(bob).await), "also when erased");
}

pub async fn list_chats_has_the_newest_activity_first(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let first = world.direct(ada, bob).await;
    let second = world.group([ada, bob, cleo]).await;
    let third = world.direct(ada, cleo).await;
    let others = world.direct(bob, cleo).await;
    assert_eq!(list(world, ada, None, 10).await, [third, second, first]);
    let message = world.send(first, bob, "hello").await;
    assert_eq!(list(world, ada, None, 10).await, [first, third, second]);
    world.add(second, ada, &[world.user("dan").await]).await;
    assert_eq!(list(world, ada, None, 10).await, [second, first, third], "a system message is activity");
    world.edit(&message, "changed").await;
    assert_eq!(list(world, ada, None, 10).await, [second, first, third], "a change of a message is none");
    assert_eq!(list(world, bob, None, 10).await, [second, first, others]);

    let views = world.store.list_chats(ada, None, 10).await.unwrap();
    for view in views {
        assert_eq!(view, world.view(view.chat.id, ada).await);
    }
    world.remove(second, ada, &[cleo]).await;
    assert_eq!(list(world, cleo, None, 10).await, [others, third], "chats that one left are not listed");

    // By the moment of the last message, not the latest moment of any.
    let mut early = world.text(first, ada, "from a clock that is late");
    early.created_at = Timestamp::from_micros(1);
    world.append(&early).await.unwrap();
    assert_eq!(list(world, ada, None, 10).await, [second, third, first]);
}

pub async fn list_chats_pages_without_gap_or_repetition(world: &World) {
    let ada = world.user("ada").await;
    let at = world.tick();
    let mut chats = vec![];
    for n in 0..11 {
        let other = world.user(&format!("user{n}")).await;
        let chat = DirectChat { created_at: at, ..world.new_direct(ada, other) };
        chats.push(world.store.open_direct(chat).await.unwrap().chat);
        if n % 3 == 0 {
            world.send(chats[n], other, "hello").await;
        }
    }
    let all = list(world, ada, None, 100).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>(), chats.iter().collect());
    // Seven chats have the same moment, so pages end between such.
    for limit in 1..=4 {
        let (mut found, mut after) = (vec![], None);
        // One page more than are full, which is empty or not.
        for _ in 0..=chats.len() / limit {
            let page = world.store.list_chats(ada, after, limit).await.unwrap();
            assert!(page.len() <= limit && page.is_sorted_by(|a, b| a.activity() > b.activity()));
            after = page.last().map(|last| last.activity()).or(after);
            found.extend(page.iter().map(|view| view.chat.id));
        }
        assert_eq!(found, all, "in pages of {limit}");
    }
    assert_eq!(list(world, ada, None, 0).await, []);
    let before_all = Activity { at: 0, chat: chats[0] };
    assert_eq!(list(world, ada, Some(before_all), 10).await, []);
}

pub async fn membership_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    let roster = world.store.roster(group).await.unwrap();
    let membership = world.store.membership(group, bob).await.unwrap();
    assert_eq!((membership.chat, membership.member), (roster.chat, roster.members[1].clone()));

    for (chat, user) in [(group, cleo), (group, world.id()), (world.id(), ada)] {
        let answer = world.store.membership(chat, user).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
    world.remove(group, ada, &[bob]).await;
    assert_eq!(error_kind(world.store.membership(group, bob).await), StoreErrorKind::NotMember);
}

pub async fn roster_lists_members_in_the_order_of_joining(world: &World) {
    // The order of the ids is another one than that of joining.
    let [a, b, c, d, e, f] = world.people(["a1", "b1", "c1", "d1", "e1", "f1"]).await;
    let group = world.group([d, b, f]).await;
    world.add(group, d, &[e, a]).await;
    world.add(group, d, &[c]).await;
    assert_eq!(members(world, group).await, [d, b, f, e, a, c]);
    world.remove(group, d, &[b]).await;
    assert_eq!(members(world, group).await, [d, f, e, a, c]);
    world.add(group, d, &[b]).await;
    assert_eq!(members(world, group).await, [d, f, e, a, c, b], "one who comes back is last");
    let direct = world.direct(f, e).await;
    assert_eq!(members(world, direct).await, [f, e]);
}

pub async fn roster_of_unknown_chat_is_not_found(world: &World) {
    world.group([world.user("ada").await]).await;
    assert_eq!(error_kind(world.store.roster(world.id()).await), StoreErrorKind::NotFound);
}

pub async fn change_roster_adds_removes_and_gives_roles(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let group = world.group([ada, bob, cleo]).await;
    let other = world.group([ada, bob]).await;
    let (before, untouched) =
        (world.store.roster(group).await.unwrap(), world.store.roster(other).await.unwrap());
    let change = RosterChange {
        add: vec![dan],
        remove: vec![bob],
        roles: vec![(ada, Role::Admin), (cleo, Role::Owner)],
        title: Some(Title::trusted("New title")),
        ..world.change_by(group, ada).await
    };
    let changed = world.store.change_roster(change.clone()).await.unwrap();
    let chat = ChatRecord {
        title: change.title.clone(),
        revision: Revision::new(2),
        last_seq: Seq::new(2),
        roster_version: before.chat.roster_version + 1,
        ..before.chat
    };
    assert_eq!(changed.chat, chat);
    let after = world.store.roster(group).await.unwrap();
    assert_eq!(after.chat, chat);
    let seen = |seq| MemberRecord {
        read_seq: Seq::new(seq),
        delivered_seq: Seq::new(seq),
        ..newcomer(dan, Role::Member, change.messages[0].at)
    };
    let expected = [
        MemberRecord { role: Role::Admin, ..before.members[0].clone() },
        MemberRecord { role: Role::Owner, ..before.members[2].clone() },
        seen(1),
    ];
    assert_eq!(after.members, expected);
    assert_eq!(world.store.roster(other).await.unwrap(), untouched);
    for user in [ada, bob, cleo, dan] {
        check_chat(&*world.store, group, user).await;
    }

    let title_stays = world.remove(group, cleo, &[ada]).await;
    assert_eq!(title_stays.chat.title, change.title);
    assert_eq!(title_stays.chat.member_count, 2);
}

pub async fn change_roster_conflicts_with_an_older_version(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    let stale = world.change_by(group, ada).await;
    world.add(group, ada, &[cleo]).await;
    let before = world.store.roster(group).await.unwrap();
    let late = RosterChange { remove: vec![bob], title: Some(Title::trusted("Late")), ..stale };
    assert_eq!(error_kind(world.store.change_roster(late).await), StoreErrorKind::Conflict);
    assert_eq!(world.store.roster(group).await.unwrap(), before);
    assert_eq!(check_chat(&*world.store, group, bob).await.len(), 2);

    // Sends and marks don't disturb one who changes the roster.
    let change = world.change_by(group, ada).await;
    world.send(group, bob, "meanwhile").await;
    world.store.change_roster(change).await.expect("a message changes no roster");

    let version = world.store.roster(group).await.unwrap().chat.roster_version;
    let mut racers = vec![];
    for n in 0..8 {
        let title = Some(Title::trusted(format!("Title {n}")));
        let change = RosterChange { title, ..world.change_by(group, ada).await };
        let store = Arc::clone(&world.store);
        racers.push(async move { store.change_roster(change).await });
    }
    let answers = race(racers).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "of those who decided on the same version one wins");
    assert!(lost.into_iter().all(|answer| error_kind(answer) == StoreErrorKind::Conflict));
    let after = world.store.roster(group).await.unwrap().chat;
    assert_eq!(after.roster_version, version + 1);
    assert_eq!(won.into_iter().next().unwrap().unwrap().chat, after);
    check_chat(&*world.store, group, ada).await;
}

pub async fn change_roster_of_unknown_chat_is_not_found(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada]).await;
    let change = RosterChange { add: vec![bob], chat: world.id(), ..world.change_by(group, ada).await };
    assert_eq!(error_kind(world.store.change_roster(change).await), StoreErrorKind::NotFound);
    assert_eq!(counts(world, [bob]).await, [0]);
}

pub async fn change_roster_brings_back_one_who_left(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    let change = RosterChange { roles: vec![(bob, Role::Admin)], ..world.change_by(group, ada).await };
    world.store.change_roster(change).await.unwrap();
    world.send(group, bob, "before").await;
    world.store.set_mute(group, bob, Some(world.tick())).await.unwrap();
    world.remove(group, ada, &[bob]).await;
    world.send(group, ada, "meanwhile").await;
    let back = world.add(group, ada, &[bob]).await;
    let member = MemberRecord {
        read_seq: Seq::new(5),
        read_texts: 2,
        delivered_seq: Seq::new(5),
        ..newcomer(bob, Role::Member, back.messages[0].created_at)
    };
    assert_eq!(world.view(group, bob).await.me, member);
    assert_eq!(back.chat.member_count, 2);
    assert_eq!(check_chat(&*world.store, group, bob).await.len(), 6);
    assert_eq!(counts(world, [bob]).await, [2]);
    assert_eq!(world.store.chats_ever_joined(bob).await.unwrap(), [group], "still one chat");
    assert_eq!(world.store.memberships(bob).await.unwrap().chats.len(), 1);
}

pub async fn change_roster_writes_its_system_messages_in_order(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    world.send(group, bob, "between").await;
    let mut change = world.change_by(group, ada).await;
    change.title = Some(Title::trusted("Title"));
    change
        .messages
        .extend([SystemEvent::MembersAdded, SystemEvent::RoleChanged].map(|e| world.system(bob, e)));
    let changed = world.store.change_roster(change.clone()).await.unwrap();
    let written: Vec<_> =
        change.messages.iter().zip(3..).map(|(new, n)| expected_system(group, new, n, n)).collect();
    assert_eq!(changed.messages, written);
    assert_eq!((changed.chat.revision, changed.chat.last_seq), (Revision::new(5), Seq::new(5)));
    assert_eq!(changed.chat.texts, 1);
    assert_eq!(check_chat(&*world.store, group, ada).await[2..], written);
    let marks = world.view(group, ada).await.me;
    assert_eq!(marks.read_seq, Seq::ZERO, "a system message moves nobody's mark");
}

pub async fn change_roster_leaves_nothing_unread_for_the_added(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada]).await;
    for text in ["one", "two", "three"] {
        world.send(group, ada, text).await;
    }
    world.add(group, ada, &[bob]).await;
    let me = world.view(group, bob).await.me;
    assert_eq!((me.read_seq, me.read_texts, me.delivered_seq), (Seq::new(4), 3, Seq::new(4)));
    assert_eq!(world.unread(group, bob).await, 0);
    world.send(group, ada, "four").await;
    assert_eq!(world.unread(group, bob).await, 1);
    assert_eq!(
        check_chat(&*world.store, group, bob).await.len(),
        6,
        "the history is there from the beginning"
    );
}

pub async fn change_roster_with_unknown_or_erased_user_is_not_found(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let group = world.group([ada, dan]).await;
    world.erase(cleo).await;
    let before = world.store.roster(group).await.unwrap();
    for stranger in [cleo, world.id()] {
        let change = RosterChange {
            add: vec![bob, stranger],
            remove: vec![dan],
            title: Some(Title::trusted("Never")),
            ..world.change_by(group, ada).await
        };
        assert_eq!(error_kind(world.store.change_roster(change).await), StoreErrorKind::NotFound);
    }
    assert_eq!(world.store.roster(group).await.unwrap(), before);
    assert_eq!(check_chat(&*world.store, group, ada).await.len(), 1);
    assert_eq!(counts(world, [bob, cleo]).await, [0, 0]);
    assert_eq!(world.store.chats_ever_joined(bob).await.unwrap(), []);

    world.erase(dan).await;
    let removed = world.remove(group, ada, &[dan]).await;
    assert_eq!(removed.chat.member_count, 1, "one who is erased can be removed");
}

pub async fn change_roster_counts_a_membership_for_the_added(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada]).await;
    world.add(group, ada, &[bob, cleo]).await;
    world.remove(group, ada, &[bob]).await;
    assert_eq!(counts(world, [ada, bob, cleo]).await, [1, 1, 1], "it does not fall when one is removed");
    world.add(group, ada, &[bob]).await;
    assert_eq!(counts(world, [ada, bob, cleo]).await, [1, 2, 1]);
}

pub async fn set_mute_is_ones_own(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (muted, other) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let (before, until) = (world.view(muted, ada).await, world.tick());
    world.store.set_mute(muted, ada, Some(until)).await.unwrap();
    let mut after = before.clone();
    after.me.muted_until = Some(until);
    assert_eq!(world.view(muted, ada).await, after);
    assert_eq!(world.view(muted, bob).await.me.muted_until, None);
    assert_eq!(world.view(other, ada).await.me.muted_until, None);
    let earlier = until.before(Duration::from_secs(1));
    world.store.set_mute(muted, ada, Some(earlier)).await.unwrap();
    assert_eq!(world.view(muted, ada).await.me.muted_until, Some(earlier), "it may become shorter");
    world.store.set_mute(muted, ada, None).await.unwrap();
    assert_eq!(world.view(muted, ada).await, before);
}

pub async fn set_mute_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.remove(group, ada, &[bob]).await;
    for (chat, user) in [(group, cleo), (group, bob), (world.id(), ada)] {
        let answer = world.store.set_mute(chat, user, Some(world.tick())).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
}

pub async fn memberships_lists_every_chat_with_its_revision(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group, left) =
        (world.direct(bob, ada).await, world.group([ada, bob]).await, world.group([bob, ada]).await);
    world.remove(left, bob, &[ada]).await;
    let message = world.send(group, bob, "hello").await;
    world.edit(&message, "changed").await;
    let mut memberships = world.store.memberships(ada).await.unwrap();
    memberships.chats.sort_by_key(|head| head.chat);
    let heads = [
        ChatHead { chat: direct, revision: Revision::ZERO, peer: Some(bob) },
        ChatHead { chat: group, revision: Revision::new(3), peer: None },
    ];
    assert_eq!(memberships.chats, heads);
    assert_eq!(memberships.count, 3, "one more than the list, as it never falls");
    let nobody = world.store.memberships(world.user("cleo").await).await.unwrap();
    assert_eq!((nobody.count, nobody.chats.len()), (0, 0));
}

pub async fn membership_counts_rise_when_one_is_added(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    assert_eq!(counts(world, [ada, bob, cleo]).await, [0, 0, 0]);
    let group = world.group([ada, bob]).await;
    world.direct(ada, cleo).await;
    world.add(group, ada, &[cleo]).await;
    let mut asked: Vec<UserId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([ada, bob, cleo]);
    let mut counted = world.store.membership_counts(&asked).await.unwrap();
    counted.sort_unstable();
    assert_eq!(counted, [(ada, 2), (bob, 1), (cleo, 2)]);
    assert_eq!(world.record(cleo).await.memberships, 2);
    assert_eq!(world.store.membership_counts(&[]).await.unwrap(), []);
}

pub async fn revisions_skips_unknown_chats(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    world.send(group, ada, "hello").await;
    let mut asked: Vec<ChatId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([group, direct]);
    let mut revisions = world.store.revisions(&asked).await.unwrap();
    revisions.sort_unstable();
    assert_eq!(revisions, [(direct, Revision::ZERO), (group, Revision::new(2))]);
    assert_eq!(world.store.revisions(&[]).await.unwrap(), []);
}

pub async fn chats_ever_joined_includes_those_left(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, left) = (world.direct(ada, bob).await, world.group([bob, ada]).await);
    world.group([bob]).await;
    world.remove(left, bob, &[ada]).await;
    let mut joined = world.store.chats_ever_joined(ada).await.unwrap();
    joined.sort_unstable();
    assert_eq!(joined, [direct, left]);
    world.erase(ada).await;
    assert_eq!(world.store.chats_ever_joined(ada).await.unwrap().len(), 2, "also of an erased person");
    assert_eq!(world.store.chats_ever_joined(world.id()).await.unwrap(), []);
}

/// A member of a chat without messages.
fn newcomer(user_id: UserId, role: Role, joined_at: Timestamp) -> MemberRecord {
    MemberRecord {
        user_id,
        role,
        joined_at,
        read_seq: Seq::ZERO,
        read_texts: 0,
        delivered_seq: Seq::ZERO,
        muted_until: None,
    }
}

async fn counts<const N: usize>(world: &World, users: [UserId; N]) -> [u64; N] {
    let mut counts = [0; N];
    for (count, user) in counts.iter_mut().zip(users) {
        *count = world.record(user).await.memberships;
    }
    counts
}

async fn members(world: &World, chat: ChatId) -> Vec<UserId> {
    let roster = world.store.roster(chat).await.unwrap();
    roster.members.into_iter().map(|member| member.user_id).collect()
}

async fn list(world: &World, user: UserId, after: Option<Activity>, limit: usize) -> Vec<ChatId> {
    let views = world.store.list_chats(user, after, limit).await.unwrap();
    views.into_iter().map(|view| view.chat.id).collect()
}
