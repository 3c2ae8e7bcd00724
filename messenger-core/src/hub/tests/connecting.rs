//! What a connection is told while its person joins chats, and afterwards.

use super::*;

/// Delays the next answer of this method of the store until the owner has removed the other member, and everybody has
/// been told.
fn removes_the_other_member_after(scene: &Scene, method: &'static str) {
    let (messenger, owner) = (scene.messenger.clone(), scene.actor(Who::Owner));
    let (chat_id, user_id) = (scene.group, scene.id(Who::OtherMember));
    scene.store.afterwards(method, async move {
        messenger.execute(&owner, RemoveMember { chat_id, user_id }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_when_it_has_been_read_is_read_once_more() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let _owner = scene.caught_up(Who::Owner).await;
    // A member is removed, and it could be the stranger.
    removes_the_other_member_after(&scene, "memberships");
    scene.messenger.service().hub.compare_all();
    let told = told(&mut stranger).await;
    assert_eq!(told, [format!("chatAdded {}", scene.revision().await)]);
}

#[test]
fn as_much_is_read_in_one_call_as_fits() {
    for (changes, expected) in [
        (vec![], 1),
        (vec![2000], 1),
        (vec![2001], 1),
        (vec![5000, 1], 1),
        (vec![1000, 1000, 1], 2),
        (vec![1000, 999, 1, 0, 0, 1], 5),
        (vec![1999, 2], 1),
    ] {
        assert_eq!(fitting(changes.iter().copied()), expected, "{changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_very_many_chats_is_not_taken_to_lack_them_while_connecting() {
    let hub = HubSettings { mailbox: 4, ..HubSettings::default() };
    let scene =
        Scene::with(Setup { settings: Settings { hub, ..Settings::default() }, ..Setup::default() }).await;
    let mut chat = scene.makes_group(Who::Stranger, []).await;
    for _ in 0..10 {
        chat = scene.makes_group(Who::Stranger, []).await;
    }
    let user = scene.id(Who::Stranger);
    // The person's second connection, so that comparing all of them also finds one that lacks nothing.
    let mut connection = scene.connect(Who::Stranger).await;
    let messenger = scene.messenger.clone();
    scene.store.meanwhile("memberships", async move {
        let invalid = BusMessage { topics: vec![Topic::User(user)], hint: Hint::Invalidate {}.into() };
        messenger.service().hub.apply(&invalid);
        tokio::time::sleep(SOON).await;
    });
    let mut other = scene.connect(Who::Stranger).await;
    scene.says_in(chat, Who::Stranger, "hello").await;
    for connection in [&mut connection, &mut other] {
        assert_eq!(told(connection).await, ["messageCreated 2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_large_chat_marks_are_told_to_ones_own_devices() {
    let scene = scene(Limits { ephemeral_members: 2, ..Limits::default() }).await;
    let mut devices = Vec::new();
    for who in [Who::Member, Who::Member, Who::Owner] {
        devices.push(scene.caught_up(who).await);
    }
    let sent = scene.says(Who::Owner, "hello").await;
    scene.must(Who::Member, MarkRead { chat_id: scene.group, seq: sent.seq }).await;
    let mut heard = Vec::new();
    for device in &mut devices {
        heard.push(told(device).await.iter().any(|what| what == "readMoved"));
    }
    assert_eq!(heard, [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_out_between_reading_a_chat_and_entering_it_is_read_once_more() {
    let scene = scene(Limits::default()).await;
    let stranger = scene.connect(Who::Stranger).await;
    tokio::time::sleep(UNTIL_TOLD).await;
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    // The room begins at the revision that this connection has read, and the stranger has not joined it.
    let _owner = scene.caught_up(Who::Owner).await;
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    scene.store.afterwards("chat_views", async move {
        let send = SendMessage { chat_id, body: "meanwhile".into(), client_id: None, reply_to: None };
        messenger.execute(&actor, send).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    let link = scene.link(&stranger);
    let (shown, _) = scene.messenger.service().hub.show(&link, &[scene.group]).await.unwrap();
    assert_eq!(shown.iter().map(|chat| chat.revision).collect::<Vec<_>>(), [added.next()]);
    assert_eq!(link.delivered(scene.group), Some(added.next()));
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_the_chat_is_read_for_them_is_not_shown_it() {
    let scene = scene(Limits::default()).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let mut member = scene.connect(Who::OtherMember).await;
    member.resume(Some(HashMap::new())).await.unwrap();
    removes_the_other_member_after(&scene, "chat_views");
    assert_eq!(told(&mut member).await, ["caughtUp"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_connecting_hears_nothing_of_the_chat() {
    let scene = scene(Limits::default()).await;
    let _owner = scene.caught_up(Who::Owner).await;
    removes_the_other_member_after(&scene, "memberships");
    let mut member = scene.connect(Who::OtherMember).await;
    scene.says(Who::Owner, "secret").await;
    assert_eq!(told(&mut member).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn who_was_added_before_the_room_began_is_let_in_as_the_store_says() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    let later = scene.elsewhere(&[Who::Left], &[]).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let hub = &scene.messenger.service().hub;
    let head = ChatHead { chat: scene.group, revision: added, peer: None };
    let link = scene.link(&stranger);
    assert_eq!(hub.enter(&link, &head, true), Entered::Stale, "somebody may have been removed since");
    hub.admit(scene.group, added, scene.id(Who::Stranger));
    assert_eq!(told(&mut stranger).await, [format!("chatAdded {later}")]);
    assert_eq!(hub.enter(&link, &head, true), Entered::Before);
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_after_being_added_is_not_let_in_by_late_news() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    scene.elsewhere(&[], &[Who::Stranger]).await;
    let hint = Hint::Added { chat: scene.group, revision: added, users: scene.ids([Who::Stranger]) };
    let news = BusMessage { topics: vec![Topic::User(scene.id(Who::Stranger))], hint: hint.into() };
    // Once with an empty room, and once with a connection in it.
    scene.messenger.service().hub.apply(&news);
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    let _owner = scene.caught_up(Who::Owner).await;
    scene.messenger.service().hub.apply(&news);
    scene.says(Who::Owner, "secret").await;
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    drop(stranger);
    assert_eq!(scene.messenger.service().hub.links_of(scene.id(Who::Stranger)).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_a_mailbox_is_filled_from_the_store() {
    // Two changes are missing, which is not too many.
    let scene = scene(Limits { catch_up: 2, ..Limits::default() }).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let known = scene.revision().await;
    let first = scene.says(Who::Member, "first").await;
    let second = scene.says(Who::Member, "second").await;
    // As if the first change had never been pushed.
    let link = scene.link(&owner);
    let change = Event::MessageCreated(crate::testing::change(&second));
    let mut owner_again = scene.caught_up(Who::Owner).await;
    let again = scene.link(&owner_again);
    again.set_snapshot(scene.group, known);
    again.mailbox.push(Item::Event(Delivery::new(change).into(), first.revision));
    let expected = [first, second].map(|message| format!("messageCreated {}", message.revision));
    assert_eq!(told(&mut owner_again).await, expected);
    assert_eq!(told(&mut owner).await, expected);
    assert_eq!(link.delivered(scene.group), again.delivered(scene.group));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_a_client_is_read_to_the_end_while_nobody_waits() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let add = AddMembers { chat_id: scene.group, user_ids: scene.ids([Who::Stranger]) };
    scene.must(Who::Owner, add).await;
    let (read, is_read) = tokio::sync::oneshot::channel::<()>();
    scene.store.afterwards("chat_views", async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        _ = read.send(());
    });
    // Reading takes longer than the test waits.
    assert!(timeout(Duration::from_secs(1), event(&mut stranger)).await.is_err());
    timeout(SOON, is_read).await.expect("it is read").unwrap();
    let calls = scene.store.calls("chat_views");
    let Event::ChatAdded { chat } = event(&mut stranger).await else { panic!() };
    assert_eq!((chat.id, scene.store.calls("chat_views")), (scene.group, calls));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_while_the_chat_is_read_for_them_is_shown_it_as_it_is_then() {
    let scene = scene(Limits::default()).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let mut member = scene.connect(Who::OtherMember).await;
    member.resume(Some(HashMap::new())).await.unwrap();
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    let user_id = scene.id(Who::OtherMember);
    scene.store.afterwards("chat_views", async move {
        messenger.execute(&actor, RemoveMember { chat_id, user_id }).await.unwrap();
        messenger.execute(&actor, AddMembers { chat_id, user_ids: vec![user_id] }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    let told = told(&mut member).await;
    assert_eq!(told, [format!("chatAdded {}", scene.revision().await), "caughtUp".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lasts_as_long_as_its_session_which_it_prolongs() {
    const DAY: Duration = Duration::from_secs(86_400);

    let with_sweeps = Scene::new().await;
    let mut connection = with_sweeps.caught_up(Who::Stranger).await;
    for _ in 0..4 {
        with_sweeps.clock.advance(20 * DAY);
        // Enough time for a sweep, and for each connection to be pinged.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(told(&mut connection).await, Vec::<String>::new());
    }

    // Nothing extends the session where there are no sweeps.
    let without = scene(Limits::default()).await;
    let mut connection = without.caught_up(Who::Stranger).await;
    without.clock.advance(31 * DAY);
    let ended = async { while !matches!(connection.next().await, Signal::End(_)) {} };
    assert!(timeout(Duration::from_secs(31), ended).await.is_ok());
    assert!(matches!(connection.next().await, Signal::End(Ending::SessionEnded)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_says_who_it_is_for_logs() {
    let scene = scene(Limits::default()).await;
    let connection = scene.connect(Who::Member).await;
    let shown = format!("{connection:?}");
    assert!(shown.contains(&connection.id().to_string()) && shown.contains("Actor("), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_does_not_contradict_what_is_answered_of_presence() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let admin = scene.id(Who::Admin);
    let there = scene.connect(Who::Admin).await;
    assert!(stranger.watch(&[admin]).await.unwrap()[0].online);
    drop(there);
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.clock.advance(Duration::from_secs(10));
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The announcement that the admin has gone still waits in the mailbox.
    stranger.unwatch(&[admin]).await.unwrap();
    let _there = scene.connect(Who::Admin).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(stranger.watch(&[admin]).await.unwrap()[0].online);
    let mut known = true;
    while let Ok(Signal::Event(delivery)) = timeout(Duration::from_secs(5), stranger.next()).await {
        if let Event::PresenceChanged(presence) = delivery.event() {
            known = presence.online;
        }
    }
    assert!(known);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_presence_does_not_undo_what_was_announced_meanwhile() {
    let scene = scene(Limits::default()).await;
    let (mut stranger, mut other) =
        (scene.caught_up(Who::Stranger).await, scene.caught_up(Who::Stranger).await);
    let admin = scene.id(Who::Admin);
    assert!(!other.watch(&[admin]).await.unwrap()[0].online);
    // The admin comes after it was found that nobody is there, and before that is answered.
    let (messenger, actor) = (scene.messenger.clone(), scene.actor(Who::Admin));
    let (keep, kept) = tokio::sync::oneshot::channel();
    scene.store.meanwhile("users", async move {
        let there = messenger.connect(&actor).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
        let _ = keep.send(there);
    });
    assert!(stranger.watch(&[admin]).await.unwrap()[0].online);
    let _there = kept.await.unwrap();
    for connection in [&mut stranger, &mut other] {
        let mut known = Vec::new();
        while let Ok(Signal::Event(delivery)) = timeout(Duration::from_secs(2), connection.next()).await {
            if let Event::PresenceChanged(presence) = delivery.event() {
                known.push(presence.online);
            }
        }
        assert!(!known.contains(&false), "{known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_added_by_a_change_that_the_room_began_after_is_let_in() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let known = scene.revision().await;
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    // The room begins at the revision that this connection has read, and then the announcement of the addition arrives.
    let _member = scene.connect(Who::Member).await;
    let read = scene.store.changes(&[(scene.group, known)], Budget::of_messages(10)).await.unwrap().remove(0);
    let adding = convert::event(read.messages[0].clone(), &read.chat, known);
    let news = BusMessage { topics: vec![Topic::Chat(scene.group)], hint: Hint::Event(adding).into() };
    scene.messenger.service().hub.apply(&news);
    assert_eq!(told(&mut stranger).await, [format!("chatAdded {added}")]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_is_forgotten_and_nobody_else() {
    let scene = scene(Limits::default()).await;
    let hub = &scene.messenger.service().hub;
    let mut connections = Vec::new();
    for n in 0..100 {
        assert_eq!(scene.messenger.connections(), n);
        connections.push(scene.connect(Who::Stranger).await);
    }
    // Enough connections that some are pinged together.
    drop(connections.split_off(50));
    assert_eq!(scene.messenger.connections(), 50);
    let here: BTreeSet<_> = connections.iter().map(Connection::id).collect();
    let pinged = hub.wheel.iter().flat_map(leases);
    assert_eq!(pinged.map(|lease| lease.connection).collect::<BTreeSet<_>>(), here);
    let of_person = hub.links_of(scene.id(Who::Stranger));
    assert_eq!(of_person.iter().map(|link| link.id).collect::<BTreeSet<_>>(), here);
}
