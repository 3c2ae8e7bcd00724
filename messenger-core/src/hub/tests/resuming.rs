//! What a client is told when it resumes.

use super::*;
use crate::{
    domain::{Position, RetentionPeriod},
    hub::Resumed,
    ports::{Purge, RetentionStore as _},
};

#[tokio::test(start_paused = true)]
async fn a_client_may_have_missed_so_much_and_no_more() {
    let scene = scene(Limits { catch_up: 3, ..Limits::default() }).await;
    let known = scene.revision().await;
    let chats =
        |revision: Revision| Some(HashMap::from([(scene.group, revision), (scene.direct, Revision::ZERO)]));
    for said in 0..5_u64 {
        let mut connection = scene.connect(Who::Member).await;
        connection.resume(chats(known)).await.unwrap();
        let told = told(&mut connection).await;
        let head = known.get() + said;
        let expected: Vec<String> = if said <= 3 {
            (known.get() + 1..=head).map(|revision| format!("messageCreated {revision}")).collect()
        } else {
            vec![format!("chatReset {head}")]
        };
        assert_eq!(told[..told.len() - 1], expected, "{said} were missed");
        assert_eq!(told[told.len() - 1], "caughtUp");
        scene.says(Who::Owner, "one more").await;
    }
    // A revision that does not exist is from another store.
    let mut connection = scene.connect(Who::Member).await;
    connection.resume(chats(Revision::new(known.get() + 6))).await.unwrap();
    assert_eq!(told(&mut connection).await, [format!("chatReset {}", known.get() + 5), "caughtUp".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_have_missed_so_much_in_all_chats_and_no_more() {
    let scene = scene(Limits { catch_up: 2, ..Limits::default() }).await;
    let mut chats = HashMap::new();
    for _ in 0..21 {
        let chat = scene.makes_group(Who::Stranger, []).await;
        chats.insert(chat, Revision::new(1));
        for _ in 0..2 {
            scene.says_in(chat, Who::Stranger, "missed").await;
        }
    }
    // Twenty times the number of changes that may be missed of one chat.
    for (named, resets) in [(20, 0), (21, 1)] {
        let some = chats.iter().take(named).map(|(chat, revision)| (*chat, *revision)).collect();
        let mut connection = scene.connect(Who::Stranger).await;
        connection.resume(Some(some)).await.unwrap();
        let told = told(&mut connection).await;
        assert_eq!(told.iter().filter(|what| what.starts_with("chatReset")).count(), resets);
        assert_eq!(told.iter().filter(|what| what.starts_with("messageCreated")).count(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_up_to_date_is_not_reset_however_much_was_missed_of_other_chats() {
    let scene = scene(Limits { catch_up: 2, ..Limits::default() }).await;
    let mut named = HashMap::new();
    for n in 0..25 {
        let chat = scene.makes_group(Who::Stranger, []).await;
        named.insert(chat, Revision::new(if n % 2 == 0 { 1 } else { 4 }));
        for _ in 0..3 {
            scene.says_in(chat, Who::Stranger, "hello").await;
        }
    }
    let count_resets = async |connection: &mut Connection, named: &HashMap<ChatId, Revision>| {
        connection.resume(Some(named.clone())).await.unwrap();
        told(connection).await.iter().filter(|what| what.starts_with("chatReset")).count()
    };
    let mut connection = scene.connect(Who::Stranger).await;
    assert_eq!(count_resets(&mut connection, &named).await, 13);
    // Once a change has been sent, earlier ones can no longer be sent in order.
    let (chat, revision) = named.iter_mut().find(|(_, revision)| revision.get() == 4).unwrap();
    scene.says_in(*chat, Who::Stranger, "live").await;
    *revision = revision.next();
    assert_eq!(told(&mut connection).await, ["messageCreated 5"]);
    assert_eq!(count_resets(&mut connection, &named).await, 13);
}

#[tokio::test(start_paused = true)]
async fn a_resume_in_parts_is_one_resume() {
    let scene = scene(Limits::default()).await;
    let mut chats = Vec::new();
    for _ in 0..4 {
        chats.push(scene.makes_group(Who::Stranger, []).await);
    }
    for chat in &chats {
        scene.says_in(*chat, Who::Stranger, "missed").await;
    }
    let has = |chat: usize, revision: u64| HashMap::from([(chats[chat], Revision::new(revision))]);
    let mut connection = scene.connect(Who::Stranger).await;
    connection.resume_part(has(0, 1)).unwrap();
    // Longer than events are held back for a client that does not resume.
    assert_eq!(told(&mut connection).await, Vec::<String>::new());
    connection.resume_part(has(1, 2)).unwrap();
    // The revision named first counts.
    connection.resume_part(has(0, 2)).unwrap();
    scene.says_in(chats[3], Who::Stranger, "meanwhile").await;
    assert_eq!(told(&mut connection).await, Vec::<String>::new());
    connection.resume(Some(has(2, 1))).await.unwrap();
    let told_then = told(&mut connection).await;
    assert_eq!(told_then, ["messageCreated 2", "messageCreated 2", "chatAdded 3", "caughtUp"]);
    // The resume ends with the last part.
    connection.resume(Some(has(3, 3))).await.unwrap();
    let told_then = told(&mut connection).await;
    assert_eq!(told_then, ["chatAdded 2", "chatAdded 2", "chatAdded 2", "caughtUp"]);
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_resume_hold_nothing_back_for_long() {
    let scene = scene(Limits::default()).await;
    let mut connection = scene.connect(Who::Member).await;
    connection.resume_part(HashMap::new()).unwrap();
    scene.says(Who::Owner, "hello").await;
    let begun = tokio::time::Instant::now();
    while !matches!(connection.next().await, Signal::Event(_)) {}
    let waited = begun.elapsed();
    assert!((SOON..Duration::from_secs(31)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_person_and_all_name_only_so_many_chats_in_parts() {
    let scene = scene(Limits::default()).await;
    let context = &scene.messenger.service().context;
    let some = |count: usize| {
        (0..count).map(|_| (context.id(), Revision::new(1))).collect::<HashMap<ChatId, Revision>>()
    };
    let is_kept = |count: usize| {
        let kept = scene.messenger.service().hub.named.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(kept, count);
    };
    let mut connections = [scene.connect(Who::Member).await, scene.connect(Who::Member).await];
    connections[0].resume_part(some(NAMED_BY_ONE - 10)).unwrap();
    connections[1].resume_part(some(10)).unwrap();
    is_kept(NAMED_BY_ONE);
    let refused = connections[1].resume_part(some(1)).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    // The chats named by the connection that exceeded the limit are forgotten, and those of the other are kept.
    is_kept(NAMED_BY_ONE - 10);
    // Another person may name as many.
    let mut other = scene.connect(Who::Owner).await;
    other.resume_part(some(NAMED_BY_ONE)).unwrap();
    is_kept(2 * NAMED_BY_ONE - 10);
    other.resume(Some(HashMap::new())).await.unwrap();
    is_kept(NAMED_BY_ONE - 10);
    drop(connections);
    is_kept(0);
    scene.messenger.service().hub.named.store(NAMED_IN_ALL, std::sync::atomic::Ordering::Relaxed);
    let refused = other.resume_part(some(1)).unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    is_kept(NAMED_IN_ALL);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_each_resume_is_told() {
    let scene = scene(Limits::default()).await;
    let mut connection = scene.connect(Who::Stranger).await;
    connection.resume(Some(HashMap::new())).await.unwrap();
    connection.resume(None).await.unwrap();
    connection.resume(None).await.unwrap();
    assert_eq!(told(&mut connection).await, ["caughtUp", "caughtUp", "caughtUp"]);
}

/// A catch-up reads four messages of 1,000 bytes at a time.
async fn with_short_steps() -> Scene {
    let page = PageLimits { bytes: 4 * 1000 + 999, ..PageLimits::default() };
    scene(Limits { page, ..Limits::default() }).await
}

const LONG: usize = 1000 - crate::ports::MessageRecord::BASE_WEIGHT;

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_read_in_steps_of_so_many_bytes() {
    let scene = with_short_steps().await;
    let known = scene.revision().await;
    for _ in 0..10 {
        scene.says(Who::Owner, &"x".repeat(LONG)).await;
        scene.says_in(scene.direct, Who::Owner, &"x".repeat(LONG)).await;
    }
    let mut connection = scene.connect(Who::Member).await;
    let chats = HashMap::from([(scene.group, known), (scene.direct, Revision::ZERO)]);
    let before = scene.store.calls("changes");
    connection.resume(Some(chats)).await.unwrap();
    let events = until_caught_up(&mut connection).await;
    for (chat, since) in [(scene.group, known), (scene.direct, Revision::ZERO)] {
        let of_chat = events.iter().filter_map(Event::change).filter(|(of, _)| *of == chat);
        let revisions: Vec<u64> = of_chat.map(|(_, revision)| revision.get()).collect();
        assert_eq!(revisions, (since.get() + 1..=since.get() + 10).collect::<Vec<_>>());
    }
    assert!(events.iter().all(|event| event.name() == "messageCreated"), "{events:?}");
    // Two and a half steps for each chat; the rest of one is read together with the beginning of the other.
    assert_eq!(scene.store.calls("changes") - before, 5);
    // Live from here on.
    scene.says(Who::Owner, "and now").await;
    assert_eq!(told(&mut connection).await, [format!("messageCreated {}", known.get() + 11)]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_changes_between_two_steps_is_new_only_to_a_client_that_was_not_told_of_it() {
    let scene = with_short_steps().await;
    let known = scene.revision().await;
    let mut messages = Vec::new();
    for _ in 0..8 {
        messages.push(scene.says(Who::Owner, &"x".repeat(LONG)).await);
    }
    let mut connection = scene.connect(Who::Member).await;
    connection
        .resume(Some(HashMap::from([(scene.group, known), (scene.direct, Revision::ZERO)])))
        .await
        .unwrap();
    let mut names = vec![told_of(&event(&mut connection).await)];
    // The first was already sent, and the last was not.
    let (messenger, owner) = (scene.messenger.clone(), scene.actor(Who::Owner));
    let (first, last) = (messages[0].clone(), messages[7].clone());
    scene.store.meanwhile("changes", async move {
        for message in [first, last] {
            let edit = EditMessage { chat_id: message.chat_id, message_id: message.id, body: "short".into() };
            messenger.execute(&owner, edit).await.unwrap();
        }
    });
    names.extend(until_caught_up(&mut connection).await.iter().map(told_of));
    let created = |n: u64| format!("messageCreated {}", known.get() + n);
    let edited = [format!("messageEdited {}", known.get() + 9), created(10)];
    assert_eq!(names, [(1..=7).map(created).collect::<Vec<_>>(), edited.into()].concat());
    assert_eq!(told(&mut connection).await, Vec::<String>::new(), "nothing comes twice");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_grows_beyond_what_is_sent_of_one_while_it_is_read_is_reset() {
    let page = PageLimits { bytes: 4 * 1000 + 999, ..PageLimits::default() };
    let scene = scene(Limits { page, catch_up: 10, ..Limits::default() }).await;
    let known = scene.revision().await;
    for _ in 0..10 {
        scene.says(Who::Owner, &"x".repeat(LONG)).await;
    }
    let mut connection = scene.connect(Who::Member).await;
    connection
        .resume(Some(HashMap::from([(scene.group, known), (scene.direct, Revision::ZERO)])))
        .await
        .unwrap();
    event(&mut connection).await;
    for _ in 0..10 {
        scene.says_at_length_elsewhere(scene.group, LONG).await;
    }
    let events = until_caught_up(&mut connection).await;
    assert_eq!(events.last().map(Event::name), Some("chatReset"));
    assert!(events.len() < 12, "{}", events.len());
}

fn told_of(event: &Event) -> String {
    let revision = event.change().map_or(0, |(_, revision)| revision.get());
    format!("{} {revision}", event.name())
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_time_to_resume_once_it_is_connected() {
    let scene = scene(Limits::default()).await;
    scene.store.afterwards("memberships", async { tokio::time::sleep(Duration::from_secs(2)).await });
    let mut member = scene.connect(Who::Member).await;
    scene.says(Who::Owner, "live").await;
    assert!(timeout(Duration::from_millis(900), member.next()).await.is_err());
    assert!(timeout(Duration::from_millis(200), member.next()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_fails_leaves_the_rooms_that_the_client_does_not_know_of() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let back = scene.elsewhere(&[Who::Stranger], &[]).await;
    let (hub, link) = (&scene.messenger.service().hub, scene.link(&stranger));
    // What was read is too old for one chat, and can't be read again.
    let other = scene.makes_group(Who::Owner, [Who::Stranger, Who::Left]).await;
    let _owner = scene.caught_up(Who::Owner).await;
    told(&mut stranger).await;
    hub.exit(&link, other);
    link.state().chats.remove(&other);
    let (messenger, actor, user_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.id(Who::Left));
    scene.store.afterwards("memberships", async move {
        messenger.execute(&actor, RemoveMember { chat_id: other, user_id }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    scene.store.fail_after("memberships", 1, StoreErrorKind::Unavailable);
    assert!(stranger.resume(Some(HashMap::new())).await.is_err());
    hub.compare_all();
    assert!(told(&mut stranger).await.contains(&format!("chatAdded {back}")));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_of_chats_in_which_nothing_was_missed() {
    let scene = scene(Limits::default()).await;
    let known = HashMap::from([(scene.group, scene.revision().await), (scene.direct, Revision::ZERO)]);
    let mut connection = scene.connect(Who::Member).await;
    let before = scene.store.calls("changes") + scene.store.calls("chat_views");
    connection.resume(Some(known)).await.unwrap();
    assert_eq!(told(&mut connection).await, ["caughtUp"]);
    assert_eq!(scene.store.calls("changes") + scene.store.calls("chat_views"), before);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_what_they_missed_is_read_is_sent_what_was_theirs() {
    let scene = scene(Limits::default()).await;
    let known = scene.revision().await;
    let theirs = scene.says(Who::Owner, "with them").await;
    let mut connection = scene.connect(Who::OtherMember).await;
    let (messenger, owner, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    let user_id = scene.id(Who::OtherMember);
    scene.store.meanwhile("changes", async move {
        messenger.execute(&owner, RemoveMember { chat_id, user_id }).await.unwrap();
        let body = "without them".into();
        let send = SendMessage { chat_id, body, client_id: None, reply_to: None };
        messenger.execute(&owner, send).await.unwrap();
    });
    connection.resume(Some(HashMap::from([(scene.group, known)]))).await.unwrap();
    let created = format!("messageCreated {}", theirs.revision);
    assert_eq!(told(&mut connection).await, [created, "chatRemoved".into(), "caughtUp".into()]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_of_one_chat_keeps_nobody_from_the_others() {
    let scene = scene(Limits::default()).await;
    let mut known = HashMap::from([(scene.direct, Revision::ZERO)]);
    for _ in 0..3 {
        let chat = scene.makes_group(Who::Owner, [Who::Member]).await;
        known.insert(chat, Revision::new(1));
        scene.says_in(chat, Who::Owner, "missed").await;
    }
    known.insert(scene.group, scene.revision().await);
    let (ended, reset) = ("caughtUp".to_owned(), "chatReset 2".to_owned());
    let resumes = async |known: &HashMap<ChatId, Revision>| {
        let mut connection = scene.connect(Who::Member).await;
        connection.resume(Some(known.clone())).await.unwrap();
        told(&mut connection).await
    };
    let created = "messageCreated 2".to_owned();
    // Reading all of them together fails, and then reading the first alone.
    scene.store.fail("changes", StoreErrorKind::Corrupt, 2);
    assert_eq!(resumes(&known).await, [created.clone(), created.clone(), reset, ended.clone()]);
    // It can't be shown anew either.
    scene.store.fail("changes", StoreErrorKind::Corrupt, 2);
    scene.store.fail("chat_views", StoreErrorKind::Corrupt, 1);
    assert_eq!(
        resumes(&known).await,
        [created.clone(), created.clone(), "chatRemoved".into(), ended.clone()]
    );
    // The same when many new chats are shown.
    scene.store.fail("chat_views", StoreErrorKind::Corrupt, 2);
    let shown = resumes(&HashMap::new()).await;
    assert!(shown.len() == 5 && shown[..4].iter().all(|told| told.starts_with("chatAdded")), "{shown:?}");
    // An error that may be temporary is worth another connection.
    for (method, known) in [("chat_views", HashMap::new()), ("changes", known)] {
        scene.store.fail(method, StoreErrorKind::Unavailable, 1);
        assert_eq!(resumes(&known).await, ["TooFarBehind"], "{method}");
    }
}

/// The position of the member's client after it has received everything.
async fn position(scene: &Scene) -> Position {
    let mut connection = scene.connect(Who::Member).await;
    connection.resume_since(None, HashMap::new()).await.unwrap();
    caught_up(&mut connection).await.expect("everything was given")
}

async fn caught_up(connection: &mut Connection) -> Option<Position> {
    loop {
        if let Event::CaughtUp { position } = event(connection).await {
            return position;
        }
    }
}

async fn is_told_nothing(connection: &mut Connection, time: Duration) {
    let told = async {
        loop {
            match connection.next().await {
                Signal::Ping => {}
                signal => break signal,
            }
        }
    };
    let told = timeout(time, told).await;
    assert!(told.is_err(), "{told:?}");
}

/// What the member's client is asked for, and what it is told after it has answered with these revisions.
async fn asked(scene: &Scene, since: &Position, has: &[(ChatId, Revision)]) -> (Vec<ChatId>, Vec<String>) {
    let mut connection = scene.connect(Who::Member).await;
    let asked = match connection.resume_since(Some(since), HashMap::new()).await.unwrap() {
        Resumed::Begun => vec![],
        Resumed::NeedsRevisions(chats) => {
            let has = has.iter().filter(|(chat, _)| chats.contains(chat)).copied().collect();
            connection.resume(Some(has)).await.unwrap();
            chats
        }
        Resumed::UnknownPosition => panic!("the position is of this store"),
    };
    (asked, told(&mut connection).await)
}

#[tokio::test(start_paused = true)]
async fn who_has_everything_up_to_a_position_is_asked_for_what_has_changed_since() {
    let scene = scene(Limits::default()).await;
    let ended = || "caughtUp".to_owned();
    let (left, back) = (
        scene.makes_group(Who::Owner, [Who::Member]).await,
        scene.makes_group(Who::Owner, [Who::Member]).await,
    );
    let (since, known) = (position(&scene).await, scene.revision().await);
    assert_eq!(asked(&scene, &since, &[]).await, (vec![], vec![ended()]));

    scene.says(Who::Owner, "missed").await;
    let created = format!("messageCreated {}", known.next());
    assert_eq!(
        asked(&scene, &since, &[(scene.group, known)]).await,
        (vec![scene.group], vec![created, ended()])
    );
    // A client that was already told names its revision, and is asked for nothing.
    let mut connection = scene.connect(Who::Member).await;
    let has = HashMap::from([(scene.group, known.next())]);
    assert_eq!(connection.resume_since(Some(&since), has).await.unwrap(), Resumed::Begun);
    assert_eq!(told(&mut connection).await, [ended()]);

    let new = scene.makes_group(Who::Owner, [Who::Member]).await;
    let (user_id, owner) = (scene.id(Who::Member), scene.actor(Who::Owner));
    for chat_id in [left, back] {
        scene.messenger.execute(&owner, RemoveMember { chat_id, user_id }).await.unwrap();
    }
    let add = crate::commands::AddMembers { chat_id: back, user_ids: vec![user_id] };
    scene.messenger.execute(&owner, add).await.unwrap();
    let has = [(scene.group, known.next()), (left, Revision::new(1)), (back, Revision::new(1))];
    let (mut chats, told) = asked(&scene, &since, &has).await;
    let mut expected = vec![scene.group, left, back, new];
    chats.sort_unstable();
    expected.sort_unstable();
    assert_eq!(chats, expected);
    assert_eq!(told, ["chatRemoved", "chatUpdated 2", "chatUpdated 3", "chatAdded 1", "caughtUp"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_client_is_asked_is_sent() {
    let scene = scene(Limits::default()).await;
    let (since, known) = (position(&scene).await, scene.revision().await);
    scene.says_in(scene.direct, Who::Owner, "missed").await;
    let mut connection = scene.connect(Who::Member).await;
    let asked = connection.resume_since(Some(&since), HashMap::new()).await.unwrap();
    assert_eq!(asked, Resumed::NeedsRevisions(vec![scene.direct]));
    // The client need not name this chat, because it has everything up to the position.
    scene.says(Who::Owner, "meanwhile").await;
    // Nothing is sent before the client has answered, however long that takes.
    is_told_nothing(&mut connection, Duration::from_secs(29)).await;
    connection.resume(Some(HashMap::from([(scene.direct, Revision::ZERO)]))).await.unwrap();
    let mut told = told(&mut connection).await;
    told[..2].sort_unstable();
    assert_eq!(told, ["messageCreated 1", &format!("messageCreated {}", known.next()), "caughtUp"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_not_known_here_is_no_help() {
    let scene = scene(Limits::default()).await;
    let (since, known) = (position(&scene).await, scene.revision().await);
    let nonsense: Position = serde_json::from_value("nonsense".into()).unwrap();
    let other = position(&super::scene(Limits::default()).await).await;
    let more = HashMap::from([(scene.group, known.next())]);
    for (since, has) in [(&nonsense, HashMap::new()), (&other, HashMap::new()), (&since, more)] {
        let mut connection = scene.connect(Who::Member).await;
        connection.resume_part(HashMap::from([(scene.direct, Revision::ZERO)])).unwrap();
        assert_eq!(connection.resume_since(Some(since), has).await.unwrap(), Resumed::UnknownPosition);
        is_told_nothing(&mut connection, Duration::from_secs(29)).await;
        // Chats named earlier no longer count.
        connection.resume(Some(HashMap::from([(scene.group, known)]))).await.unwrap();
        assert_eq!(told(&mut connection).await, ["chatAdded 0", "caughtUp"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_could_not_be_given_everything_is_at_no_position() {
    let scene = scene(Limits::default()).await;
    for (method, is_whole) in [("none", true), ("chat_views", false)] {
        scene.store.fail(method, StoreErrorKind::Corrupt, 2);
        let mut connection = scene.connect(Who::Member).await;
        connection.resume_since(None, HashMap::new()).await.unwrap();
        assert_eq!(caught_up(&mut connection).await.is_some(), is_whole);
    }
    // Nor is a client that does not name its chats, or does not use positions.
    for chats in [None, Some(HashMap::new())] {
        let mut connection = scene.connect(Who::Member).await;
        connection.resume(chats).await.unwrap();
        assert_eq!(caught_up(&mut connection).await, None);
    }
}

/// Lets all messages of the group become overdue and purges them; tells how many there were.
async fn purge_all(scene: &Scene) -> u64 {
    scene.clock.advance(Duration::from_secs(7200));
    let (context, store) = (&scene.messenger.service().context, &scene.store);
    let purge = Purge {
        id: context.id(),
        chat: scene.group,
        now: context.now(),
        retention: RetentionPeriod::from_secs(3600).ok(),
        limit: 1000,
    };
    store.purge(&purge).await.unwrap().messages.len() as u64
}

/// A note that adds or removes somebody, and was purged before a client or a node read it.
#[tokio::test(start_paused = true)]
async fn a_purged_note_that_a_client_has_not_read_is_a_reset() {
    let scene = scene(Limits::default()).await;
    let before = scene.revision().await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let after = scene.revision().await;
    let purged = purge_all(&scene).await;
    assert!(purged > 1);
    let head = after.get() + purged;
    assert_eq!(scene.revision().await.get(), head);
    for (known, is_reset) in [(before, true), (after, false)] {
        let mut connection = scene.connect(Who::Member).await;
        let chats = HashMap::from([(scene.group, known), (scene.direct, Revision::ZERO)]);
        connection.resume(Some(chats)).await.unwrap();
        let told = told(&mut connection).await;
        if is_reset {
            assert_eq!(told, [format!("chatReset {head}"), "caughtUp".into()]);
        } else {
            let updates = (after.get() + 1..=head).map(|revision| format!("chatUpdated {revision}"));
            assert_eq!(told, updates.chain(["caughtUp".into()]).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_missed_a_note_before_it_was_purged_finds_out_who_is_in_the_chat() {
    let scene = scene(Limits::default()).await;
    let mut removed = scene.caught_up(Who::OtherMember).await;
    let mut stays = scene.caught_up(Who::Member).await;
    scene.elsewhere(&[], &[Who::OtherMember]).await;
    purge_all(&scene).await;
    // The next change makes the node look for what it has missed.
    scene.says(Who::Owner, "hello").await;
    let told_removed = told(&mut removed).await;
    assert!(told_removed.iter().any(|what| what.starts_with("chatRemoved")), "{told_removed:?}");
    assert!(!told_removed.iter().any(|what| what.starts_with("messageCreated")), "{told_removed:?}");
    assert!(!told(&mut stays).await.is_empty());
}
