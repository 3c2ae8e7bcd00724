use std::sync::Arc;

use super::{counts, members, newcomer};
use crate::{
    domain::{NotifyLevel, Revision, Role, Seq, SystemEvent},
    ports::{ChatRecord, Content, MemberRecord, RosterChange, StoreErrorKind},
    testkit::{Pace, World, check_chat, error_kind, expected_system, race, while_racing},
};

pub async fn roster_lists_members_in_the_order_of_joining(world: &World) {
    // The order of the ids differs from that of joining.
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

pub async fn roster_is_of_one_moment(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada]).await;
    let base = world.change_by(group, ada).await;
    let changes: Vec<_> = (0..40)
        .map(|n| {
            let (add, remove) =
                if n % 2 == 0 { (vec![bob, cleo], vec![]) } else { (vec![], vec![bob, cleo]) };
            let messages = vec![world.system(ada, SystemEvent::MembersAdded)];
            RosterChange { expected: base.expected + n, add, remove, messages, ..base.clone() }
        })
        .collect();
    let (store, pace) = (Arc::clone(&world.store), Pace::default());
    let paced = pace.clone();
    let writer = async move {
        for change in changes {
            paced.step().await;
            store.change_roster(change).await.unwrap();
        }
    };
    while_racing(pace, [writer], async || {
        let roster = world.store.roster(group).await.unwrap();
        let members = if (roster.chat.roster_version - base.expected) % 2 == 0 { 1 } else { 3 };
        assert_eq!((roster.members.len(), roster.chat.member_count), (members, members as u32));
    })
    .await;
    assert_eq!(members(world, group).await, [ada]);
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
        title: Some(Content::from("New title")),
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
    let late = RosterChange { remove: vec![bob], title: Some(Content::from("Late")), ..stale };
    assert_eq!(error_kind(world.store.change_roster(late).await), StoreErrorKind::Conflict);
    assert_eq!(world.store.roster(group).await.unwrap(), before);
    assert_eq!(check_chat(&*world.store, group, bob).await.len(), 2);

    // Sends and marks don't cause a conflict for a change of the roster.
    let change = world.change_by(group, ada).await;
    world.send(group, bob, "meanwhile").await;
    world.store.change_roster(change).await.expect("a message changes no roster");

    let version = world.store.roster(group).await.unwrap().chat.roster_version;
    let mut racers = vec![];
    for n in 0..8 {
        let title = Some(Content::from(format!("Title {n}")));
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
    world.store.set_notify_level(group, bob, NotifyLevel::None).await.unwrap();
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
    assert_eq!(world.store.memberships(bob, None).await.unwrap().chats.len(), 1);
}

pub async fn change_roster_writes_its_system_messages_in_order(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    world.send(group, bob, "between").await;
    let mut change = world.change_by(group, ada).await;
    change.title = Some(Content::from("Title"));
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
            title: Some(Content::from("Never")),
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
