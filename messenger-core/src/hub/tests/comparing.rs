//! Changes that this node has missed, and finds by comparing rooms and people with the store.

use super::*;

#[tokio::test(start_paused = true)]
async fn topics_are_wanted_for_as_long_as_somebody_needs_them() {
    let scene = scene(Limits::default()).await;
    let (member, owner) = (scene.id(Who::Member), scene.id(Who::Owner));
    let of_group = [Topic::Nodes, Topic::Chat(scene.group)];
    let of_member = [Topic::User(member), Topic::Chat(scene.direct), Topic::User(owner)];
    scene.wants([Topic::Nodes]).await;
    let first = scene.caught_up(Who::Member).await;
    scene.wants(of_group.into_iter().chain(of_member)).await;
    let second = scene.caught_up(Who::Member).await;
    let admin = scene.caught_up(Who::Admin).await;
    drop(first);
    scene.wants(of_group.into_iter().chain(of_member).chain([Topic::User(scene.id(Who::Admin))])).await;
    drop(second);
    scene.wants(of_group.into_iter().chain([Topic::User(scene.id(Who::Admin))])).await;
    admin.watch(&[member]).await.unwrap();
    scene.wants(of_group.into_iter().chain([Topic::User(scene.id(Who::Admin)), Topic::User(member)])).await;
    admin.unwatch(&[member]).await.unwrap();
    scene.wants(of_group.into_iter().chain([Topic::User(scene.id(Who::Admin))])).await;
    drop(admin);
    scene.wants([Topic::Nodes]).await;
    assert!(scene.messenger.service().hub.rooms.is_empty(), "no room is left");
}

#[tokio::test(start_paused = true)]
async fn the_room_of_one_who_is_removed_is_closed() {
    let scene = scene(Limits::default()).await;
    let mut connection = scene.caught_up(Who::OtherMember).await;
    let remove = RemoveMember { chat_id: scene.group, user_id: scene.id(Who::OtherMember) };
    scene.must(Who::Owner, remove).await;
    assert_eq!(event(&mut connection).await, Event::ChatRemoved { chat_id: scene.group });
    scene.wants([Topic::Nodes, Topic::User(scene.id(Who::OtherMember))]).await;
    assert!(scene.messenger.service().hub.rooms.is_empty(), "no room is left");
    assert!(connection.link.state().chats.is_empty(), "nor a place in it");
}

#[tokio::test(start_paused = true)]
async fn topics_that_the_bus_did_not_take_are_named_again() {
    let scene = scene(Limits::default()).await;
    scene.bus.refuse_topics(3);
    let connection = scene.caught_up(Who::OtherMember).await;
    let topics = [Topic::Nodes, Topic::Chat(scene.group), Topic::User(scene.id(Who::OtherMember))];
    scene.wants(topics).await;
    scene.bus.refuse_topics(3);
    drop(connection);
    scene.wants([Topic::Nodes]).await;
    // The last change of a topic before the bus could be told counts, not the earlier ones.
    scene.bus.refuse_topics(1);
    let connection = scene.caught_up(Who::OtherMember).await;
    drop(connection);
    let _again = scene.caught_up(Who::OtherMember).await;
    scene.wants(topics).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again_after_a_while_and_not_at_once() {
    for method in ["revisions", "membership_counts", "existing_sessions"] {
        let scene = scene(Limits::default()).await;
        let _connection = scene.caught_up(Who::Member).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        scene.store.fail(method, StoreErrorKind::Unavailable, 1000);
        let before = scene.store.calls(method);
        scene.messenger.service().hub.compare_all();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = scene.store.calls(method) - before;
        assert!((10..=50).contains(&asked), "{method} was asked {asked} times in 10 s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_chats_does_not_keep_people_from_being_compared() {
    let scene = scene(Limits::default()).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    scene.store.fail("revisions", StoreErrorKind::Unavailable, 1000);
    scene.store.fail("existing_sessions", StoreErrorKind::Unavailable, 1000);
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut stranger).await, [format!("chatAdded {added}")]);
    assert_eq!(told(&mut owner).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_cannot_be_read_keeps_no_other_from_being_repaired() {
    let scene = scene(Limits::default()).await;
    let chats = [scene.group, scene.makes_group(Who::Owner, []).await];
    let mut owner = scene.caught_up(Who::Owner).await;
    for chat in chats {
        scene.says_elsewhere(chat).await;
    }
    // Reading both together fails, and then reading the first alone.
    scene.store.fail("changes", StoreErrorKind::Corrupt, 2);
    for _ in chats {
        scene.messenger.service().hub.compare_all();
        assert_eq!(told(&mut owner).await.len(), 1, "the other one");
    }
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut owner).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_room_missed_is_read_for_all_in_it_at_once_or_not_at_all() {
    let scene = scene(Limits { catch_up: 3, ..Limits::default() }).await;
    let mut devices = [scene.caught_up(Who::Owner).await, scene.caught_up(Who::Member).await];
    for missed in [3, 4] {
        let before = ["changes", "roster", "chat_views"].map(|method| scene.store.calls(method));
        for _ in 0..missed {
            scene.says_elsewhere(scene.group).await;
        }
        let rosters = scene.store.calls("roster") - before[1];
        scene.messenger.service().hub.compare_all();
        for device in &mut devices {
            let told = told(device).await;
            assert_eq!(told.len(), if missed == 3 { 3 } else { 1 }, "{told:?}");
        }
        let after = ["changes", "roster", "chat_views"].map(|method| scene.store.calls(method));
        let read = [after[0] - before[0], after[1] - before[1] - rosters, after[2] - before[2]];
        // The changes, or the members and then the chat as each of the two people sees it.
        assert_eq!(read, if missed == 3 { [1, 0, 0] } else { [0, 1, 2] });
    }
}

#[tokio::test(start_paused = true)]
async fn what_rooms_missed_is_read_in_steps_of_so_many_bytes() {
    const MIB: usize = 1 << 20;
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::Member).await;
    let before = scene.store.calls("changes");
    // The group is read first, and the other chat does not fit beside it.
    scene.says_at_length_elsewhere(scene.group, 3 * MIB).await;
    scene.says_at_length_elsewhere(scene.direct, 3 * MIB).await;
    scene.messenger.service().hub.compare_all();
    let told_then = told(&mut member).await;
    assert!(told_then.len() == 2 && told_then.iter().all(|told| told.starts_with("messageCreated")));
    assert_eq!(scene.store.calls("changes") - before, 2);
    // If one chat exceeds the budget, each connection reads it for itself, step by step.
    let before = scene.store.calls("roster");
    for _ in 0..2 {
        scene.says_at_length_elsewhere(scene.group, 3 * MIB).await;
    }
    scene.says_elsewhere(scene.direct).await;
    scene.messenger.service().hub.compare_all();
    let mut told_then = told(&mut member).await;
    told_then.sort();
    assert_eq!(scene.store.calls("roster") - before, 1);
    let head = scene.revision().await.get();
    let created = [head - 1, head, 2].map(|revision| format!("messageCreated {revision}"));
    assert_eq!(told_then, created);
}

#[tokio::test(start_paused = true)]
async fn chats_are_read_anew_for_those_who_lack_some() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let before = scene.store.calls("memberships");
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    assert_eq!(scene.store.calls("memberships"), before, "nothing is lacking");
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut stranger).await, [format!("chatAdded {added}")]);
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    assert_eq!(scene.store.calls("memberships"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_a_connection_that_goes_while_its_chats_are_read() {
    let scene = scene(Limits::default()).await;
    let stranger = scene.caught_up(Who::Stranger).await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    scene.store.afterwards("memberships", async move { _ = left.await });
    scene.messenger.service().hub.compare(&[Topic::User(scene.id(Who::Stranger))]);
    tokio::time::sleep(UNTIL_TOLD).await;
    drop(stranger);
    leave.send(()).unwrap();
    scene.wants([Topic::Nodes]).await;
    assert!(scene.messenger.service().hub.rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_before_the_room_says_that_they_went_is_let_in_again() {
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::OtherMember).await;
    let known = scene.revision().await;
    scene.elsewhere(&[], &[Who::OtherMember]).await;
    let back = scene.elsewhere(&[Who::OtherMember], &[]).await;
    scene.messenger.service().hub.compare(&[Topic::User(scene.id(Who::OtherMember))]);
    tokio::time::sleep(UNTIL_TOLD).await;
    // The announcement of the removal arrives late, and that of the return is lost.
    let read = scene.store.changes(&[(scene.group, known)], Budget::of_messages(10)).await.unwrap().remove(0);
    let removal = convert::event(read.messages[0].clone(), &read.chat, known);
    let news = BusMessage { topics: vec![Topic::Chat(scene.group)], hint: Hint::Event(removal).into() };
    scene.messenger.service().hub.apply(&news);
    let mut all = told(&mut member).await;
    scene.messenger.service().hub.compare_all();
    all.extend(told(&mut member).await);
    assert_eq!(all, ["chatRemoved".to_owned(), format!("chatAdded {back}")]);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_by_a_change_that_cannot_be_read_hears_of_the_end() {
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::OtherMember).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let roster = scene.store.roster(scene.group).await.unwrap();
    let context = &scene.messenger.service().context;
    let message = NewSystemMessage {
        id: context.id(),
        sender: scene.id(Who::Owner),
        note: Content(b"sealed with a key that is lost".to_vec()),
        at: context.now(),
    };
    let change = RosterChange {
        chat: scene.group,
        expected: roster.chat.roster_version,
        add: vec![],
        remove: scene.ids([Who::OtherMember]),
        roles: vec![],
        title: None,
        messages: vec![message],
    };
    let head = scene.store.change_roster(change).await.unwrap().chat.revision;
    scene.messenger.service().hub.compare_all();
    tokio::time::sleep(UNTIL_TOLD).await;
    scene.says(Who::Owner, "without them").await;
    assert_eq!(told(&mut member).await, ["chatRemoved"]);
    // The others are shown the chat again, without what can't be read.
    assert_eq!(told(&mut owner).await, [format!("chatReset {}", head.next())]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_of_one_chat_or_person_keeps_no_other_waiting() {
    let scene = scene(Limits { catch_up: 3, ..Limits::default() }).await;
    let chats = [scene.group, scene.makes_group(Who::Owner, []).await];
    let mut owner = scene.caught_up(Who::Owner).await;
    for chat in chats {
        for _ in 0..5 {
            scene.says_elsewhere(chat).await;
        }
    }
    let before = scene.store.calls("roster");
    scene.store.fail("roster", StoreErrorKind::Corrupt, 1);
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut owner).await.len(), 1);
    assert_eq!(scene.store.calls("roster") - before, 2);

    let mut people = [scene.caught_up(Who::Stranger).await, scene.caught_up(Who::Left).await];
    scene.elsewhere(&[Who::Stranger, Who::Left], &[]).await;
    scene.store.fail("memberships", StoreErrorKind::Corrupt, 1);
    scene.messenger.service().hub.compare(&[Who::Stranger, Who::Left].map(|who| Topic::User(scene.id(who))));
    let mut heard = 0;
    for connection in &mut people {
        heard += told(connection).await.len();
    }
    assert_eq!(heard, 1);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_more_than_there_is_connects_anew() {
    let scene = scene(Limits::default()).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let head = scene.revision().await;
    // As after a failover that lost the last commit.
    let room = scene.messenger.service().hub.room(scene.group).unwrap();
    let mut lost = scene.system_message().await;
    lost.revision = head.next().next();
    let note = SystemNote { event: SystemEvent::MembersRemoved, ..lost.system.clone().unwrap() };
    lost.system = Some(note);
    let (chat_id, revision) = (scene.group, lost.revision);
    let update = crate::domain::ChatUpdate { chat_id, revision, title: None, member_count: 1, message: lost };
    let delivery = std::sync::Arc::new(Delivery::new(Event::ChatUpdated(update)));
    let mut next = scene.revision().await;
    while next < revision {
        next = next.next();
        room.announce(next, std::sync::Arc::clone(&delivery), |_| vec![]);
    }
    scene.messenger.service().hub.compare_all();
    assert_eq!(told(&mut owner).await.last(), Some(&"TooFarBehind".to_owned()));
    assert!(scene.messenger.connect(&scene.actor(Who::Member)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_no_connection_is_told_of_is_not_looked_at() {
    let scene = scene(Limits::default()).await;
    let _member = scene.caught_up(Who::Member).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let read = || ["revisions", "membership_counts"].map(|method| scene.store.calls(method));
    let (elsewhere, before) = (scene.makes_group(Who::Stranger, []).await, read());
    scene.messenger.service().hub.compare(&[Topic::Chat(elsewhere), Topic::User(scene.id(Who::Stranger))]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read(), before);
    scene.messenger.service().hub.compare(&[Topic::Chat(scene.group), Topic::User(scene.id(Who::Member))]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(read(), before.map(|calls| calls + 1));
}
