//! What a connection is told when something happens at a certain moment: while a chat is read for it, while the bus takes
//! nothing, at a limit.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::timeout;

use super::{Connection, Delivery, Entered, HubSettings, Link, NAMED_BY_ONE, NAMED_IN_ALL, Signal, fitting};
use crate::{
    Limits, PageLimits, Settings,
    commands::*,
    convert,
    domain::{ChatId, Event, Revision, Role, SystemEvent, SystemNote, UserId},
    error::Error,
    ports::{
        Budget, BusMessage, ChatHead, ChatStore as _, Content, Hint, MessageStore as _, NewMessage,
        NewSystemMessage, RosterChange, StoreErrorKind, Topic,
    },
    testing::{Scene, Setup, Who},
};

const SOON: Duration = Duration::from_secs(20);
/// A task of its own tells what a command has done.
const UNTIL_TOLD: Duration = Duration::from_millis(10);

/// A scene in which no sweep makes good for anything.
async fn scene(limits: Limits) -> Scene {
    let hub = HubSettings { sweep_interval: Duration::from_secs(1_000_000), ..HubSettings::default() };
    Scene::with(Setup { limits, settings: Settings { hub, ..Settings::default() }, ..Setup::default() }).await
}

impl Scene {
    async fn connect(&self, who: Who) -> Connection {
        self.messenger.connect(&self.actor(who)).await.unwrap()
    }

    /// A connection that has everything.
    async fn caught_up(&self, who: Who) -> Connection {
        let mut connection = self.connect(who).await;
        connection.resume(Some(HashMap::new())).await.unwrap();
        until_caught_up(&mut connection).await;
        // What is compared for every new connection has been.
        tokio::time::sleep(UNTIL_TOLD).await;
        connection
    }

    fn link(&self, connection: &Connection) -> std::sync::Arc<Link> {
        std::sync::Arc::clone(&connection.link)
    }

    /// Another node brings somebody into the group, or takes them out, and this one does not hear of it.
    async fn elsewhere(&self, add: &[Who], remove: &[Who]) -> Revision {
        let roster = self.store.roster(self.group).await.unwrap();
        let ids = |who: &[Who]| who.iter().map(|who| self.id(*who)).collect::<Vec<_>>();
        let event = if add.is_empty() { SystemEvent::MembersRemoved } else { SystemEvent::MembersAdded };
        let user_ids = if add.is_empty() { ids(remove) } else { ids(add) };
        let note = SystemNote { event, user_ids, title: None, role: None };
        let context = self.messenger.context();
        let message = NewSystemMessage {
            id: context.id(),
            sender: self.id(Who::Owner),
            note: convert::write_note(&note),
            at: context.now(),
        };
        let change = RosterChange {
            chat: self.group,
            expected: roster.chat.roster_version,
            add: ids(add),
            remove: ids(remove),
            roles: Vec::<(UserId, Role)>::new(),
            title: None,
            messages: vec![message],
        };
        self.store.change_roster(change).await.unwrap().chat.revision
    }

    /// Another node stores a message of the owner's, and this one does not hear of it.
    async fn says_elsewhere(&self, chat: ChatId) {
        self.says_at_length_elsewhere(chat, 9).await;
    }

    /// The same, of a text of so many bytes.
    async fn says_at_length_elsewhere(&self, chat: ChatId, length: usize) {
        let context = self.messenger.context();
        let message = NewMessage {
            id: context.id(),
            chat,
            sender: self.id(Who::Owner),
            body: Content::from(&*"x".repeat(length)),
            client_id: None,
            reply_to: None,
            created_at: context.now(),
        };
        self.store.append_messages(&[message]).await.unwrap().remove(0).unwrap();
    }

    async fn revision(&self) -> Revision {
        self.store.roster(self.group).await.unwrap().chat.revision
    }

    /// Until the node has told the bus of these topics, and of no others.
    async fn wants(&self, topics: impl IntoIterator<Item = Topic>) {
        let expected: BTreeSet<Topic> = topics.into_iter().collect();
        let wanted = async {
            while self.bus.topics() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(SOON, wanted).await.is_ok();
        assert!(in_time, "{:?} are wanted, and not {expected:?}", self.bus.topics());
    }
}

async fn event(connection: &mut Connection) -> Event {
    loop {
        match timeout(SOON, connection.next()).await.expect("an event comes") {
            Signal::Event(delivery) => return delivery.event().clone(),
            Signal::Ping => {}
            Signal::End(ending) => panic!("ended: {ending:?}"),
        }
    }
}

async fn until_caught_up(connection: &mut Connection) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match event(connection).await {
            Event::CaughtUp {} => return events,
            event => events.push(event),
        }
    }
}

/// What the client was told of chats until now, in a word each.
async fn told(connection: &mut Connection) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(signal) = timeout(Duration::from_secs(5), connection.next()).await {
        let delivery = match signal {
            Signal::Event(delivery) => delivery,
            Signal::Ping => continue,
            Signal::End(ending) => {
                told.push(format!("{ending:?}"));
                break;
            }
        };
        match (delivery.event(), delivery.event().change()) {
            (Event::PresenceChanged(_), _) => {}
            (event @ (Event::ChatAdded { chat } | Event::ChatReset { chat }), _) => {
                told.push(format!("{} {}", event.name(), chat.revision));
            }
            (event, Some((_, revision))) => told.push(format!("{} {revision}", event.name())),
            (event, None) => told.push(event.name().to_owned()),
        }
    }
    told
}

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
    assert!(scene.messenger.hub().rooms.is_empty(), "no room is left");
}

#[tokio::test(start_paused = true)]
async fn the_room_of_one_who_is_removed_is_closed() {
    let scene = scene(Limits::default()).await;
    let mut connection = scene.caught_up(Who::OtherMember).await;
    let remove = RemoveMember { chat_id: scene.group, user_id: scene.id(Who::OtherMember) };
    scene.must(Who::Owner, remove).await;
    assert_eq!(event(&mut connection).await, Event::ChatRemoved { chat_id: scene.group });
    scene.wants([Topic::Nodes, Topic::User(scene.id(Who::OtherMember))]).await;
    assert!(scene.messenger.hub().rooms.is_empty(), "no room is left");
    assert!(connection.link.places().chats.is_empty(), "nor a place in it");
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
    // What was said of a topic while it could not be told counts, and not what was said before.
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
        scene.messenger.hub().compare_all();
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
    scene.messenger.hub().compare_all();
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
    // The two together, and then the first of them alone.
    scene.store.fail("changes", StoreErrorKind::Corrupt, 2);
    for _ in chats {
        scene.messenger.hub().compare_all();
        assert_eq!(told(&mut owner).await.len(), 1, "the other one");
    }
    scene.messenger.hub().compare_all();
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
        scene.messenger.hub().compare_all();
        for device in &mut devices {
            let told = told(device).await;
            assert_eq!(told.len(), if missed == 3 { 3 } else { 1 }, "{told:?}");
        }
        let after = ["changes", "roster", "chat_views"].map(|method| scene.store.calls(method));
        let read = [after[0] - before[0], after[1] - before[1] - rosters, after[2] - before[2]];
        // The changes, or the members and then the chat as each of the two sees it.
        assert_eq!(read, if missed == 3 { [1, 0, 0] } else { [0, 1, 2] });
    }
}

#[tokio::test(start_paused = true)]
async fn what_rooms_missed_is_read_in_steps_of_so_many_bytes() {
    const MIB: usize = 1 << 20;
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::Member).await;
    let before = scene.store.calls("changes");
    // The group comes first, and there is no room for the other one beside it.
    scene.says_at_length_elsewhere(scene.group, 3 * MIB).await;
    scene.says_at_length_elsewhere(scene.direct, 3 * MIB).await;
    scene.messenger.hub().compare_all();
    let told_then = told(&mut member).await;
    assert!(told_then.len() == 2 && told_then.iter().all(|told| told.starts_with("messageCreated")));
    assert_eq!(scene.store.calls("changes") - before, 2);
    // More of one chat than there is room for is left to each connection, which reads it step by step.
    let before = scene.store.calls("roster");
    for _ in 0..2 {
        scene.says_at_length_elsewhere(scene.group, 3 * MIB).await;
    }
    scene.says_elsewhere(scene.direct).await;
    scene.messenger.hub().compare_all();
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
    scene.messenger.hub().compare_all();
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    assert_eq!(scene.store.calls("memberships"), before, "nothing is lacking");
    let added = scene.elsewhere(&[Who::Stranger], &[]).await;
    scene.messenger.hub().compare_all();
    assert_eq!(told(&mut stranger).await, [format!("chatAdded {added}")]);
    scene.messenger.hub().compare_all();
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    assert_eq!(scene.store.calls("memberships"), before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_when_it_has_been_read_is_read_once_more() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    let user_id = scene.id(Who::OtherMember);
    // Somebody is removed, and it could be the stranger.
    scene.store.afterwards("memberships", async move {
        messenger.execute(&actor, RemoveMember { chat_id, user_id }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    scene.messenger.hub().compare_all();
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
    // A revision that there is not is from elsewhere.
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
    // Twenty times what may be missed of one.
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
    // Once a change has gone out, nothing can be sent in order of what was before.
    let (chat, revision) = named.iter_mut().find(|(_, revision)| revision.get() == 4).unwrap();
    scene.says_in(*chat, Who::Stranger, "live").await;
    *revision = revision.next();
    assert_eq!(told(&mut connection).await, ["messageCreated 5"]);
    assert_eq!(count_resets(&mut connection, &named).await, 13);
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
    // The second one of a person, so that a look at all of them finds one that has everything, too.
    let mut connection = scene.connect(Who::Stranger).await;
    let messenger = scene.messenger.clone();
    scene.store.meanwhile("memberships", async move {
        let invalid = BusMessage { topics: vec![Topic::User(user)], hint: Hint::Invalidate {}.into() };
        messenger.hub().apply(&invalid);
        tokio::time::sleep(SOON).await;
    });
    let mut other = scene.connect(Who::Stranger).await;
    scene.says_in(chat, Who::Stranger, "hello").await;
    for connection in [&mut connection, &mut other] {
        assert_eq!(told(connection).await, ["messageCreated 2"]);
    }
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
    // Longer than what is told is held back for one that says nothing.
    assert_eq!(told(&mut connection).await, Vec::<String>::new());
    connection.resume_part(has(1, 2)).unwrap();
    // What was said first counts.
    connection.resume_part(has(0, 2)).unwrap();
    scene.says_in(chats[3], Who::Stranger, "meanwhile").await;
    assert_eq!(told(&mut connection).await, Vec::<String>::new());
    connection.resume(Some(has(2, 1))).await.unwrap();
    let told_then = told(&mut connection).await;
    assert_eq!(told_then, ["messageCreated 2", "messageCreated 2", "chatAdded 3", "caughtUp"]);
    // It is over with the last one.
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
    let context = scene.messenger.context();
    let some = |count: usize| {
        (0..count).map(|_| (context.id(), Revision::new(1))).collect::<HashMap<ChatId, Revision>>()
    };
    let is_kept = |count: usize| {
        let kept = scene.messenger.hub().named.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(kept, count);
    };
    let mut connections = [scene.connect(Who::Member).await, scene.connect(Who::Member).await];
    connections[0].resume_part(some(NAMED_BY_ONE - 10)).unwrap();
    connections[1].resume_part(some(10)).unwrap();
    is_kept(NAMED_BY_ONE);
    let refused = connections[1].resume_part(some(1)).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    // Those of the connection that wanted more are forgotten, and those of the other are kept.
    is_kept(NAMED_BY_ONE - 10);
    // Somebody else has as many.
    let mut other = scene.connect(Who::Owner).await;
    other.resume_part(some(NAMED_BY_ONE)).unwrap();
    is_kept(2 * NAMED_BY_ONE - 10);
    other.resume(Some(HashMap::new())).await.unwrap();
    is_kept(NAMED_BY_ONE - 10);
    drop(connections);
    is_kept(0);
    scene.messenger.hub().named.store(NAMED_IN_ALL, std::sync::atomic::Ordering::Relaxed);
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

#[tokio::test(start_paused = true)]
async fn of_a_large_chat_marks_are_told_to_ones_own_devices() {
    let scene = scene(Limits { lively_members: 2, ..Limits::default() }).await;
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
    // The room begins with what this one has read, and the stranger has no seat in it.
    let _owner = scene.caught_up(Who::Owner).await;
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    scene.store.afterwards("chat_views", async move {
        let send = SendMessage { chat_id, body: "meanwhile".into(), client_id: None, reply_to: None };
        messenger.execute(&actor, send).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    let link = scene.link(&stranger);
    let shown = scene.messenger.hub().show(&link, &[scene.group]).await.unwrap();
    assert_eq!(shown.iter().map(|chat| chat.revision).collect::<Vec<_>>(), [added.next()]);
    assert_eq!(link.told(scene.group), Some(added.next()));
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_the_chat_is_read_for_them_is_not_shown_it() {
    let scene = scene(Limits::default()).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let mut member = scene.connect(Who::OtherMember).await;
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    let user_id = scene.id(Who::OtherMember);
    member.resume(Some(HashMap::new())).await.unwrap();
    scene.store.afterwards("chat_views", async move {
        messenger.execute(&actor, RemoveMember { chat_id, user_id }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
    assert_eq!(told(&mut member).await, ["caughtUp"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_while_connecting_hears_nothing_of_the_chat() {
    let scene = scene(Limits::default()).await;
    let _owner = scene.caught_up(Who::Owner).await;
    let (messenger, actor, chat_id) = (scene.messenger.clone(), scene.actor(Who::Owner), scene.group);
    let user_id = scene.id(Who::OtherMember);
    scene.store.afterwards("memberships", async move {
        messenger.execute(&actor, RemoveMember { chat_id, user_id }).await.unwrap();
        tokio::time::sleep(UNTIL_TOLD).await;
    });
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
    let hub = scene.messenger.hub();
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
    // With nobody else in the room, and with somebody.
    scene.messenger.hub().apply(&news);
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    let _owner = scene.caught_up(Who::Owner).await;
    scene.messenger.hub().apply(&news);
    scene.says(Who::Owner, "secret").await;
    assert_eq!(told(&mut stranger).await, Vec::<String>::new());
    drop(stranger);
    assert_eq!(scene.messenger.hub().links_of(scene.id(Who::Stranger)).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_a_mailbox_is_filled_from_the_store() {
    // Two changes are missing, and not too many.
    let scene = scene(Limits { catch_up: 2, ..Limits::default() }).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let known = scene.revision().await;
    let first = scene.says(Who::Member, "first").await;
    let second = scene.says(Who::Member, "second").await;
    // As if the first had never been pushed.
    let link = scene.link(&owner);
    let change = Event::MessageCreated(crate::testing::change(&second));
    let mut owner_again = scene.caught_up(Who::Owner).await;
    let again = scene.link(&owner_again);
    again.give(scene.group, known);
    again.mailbox.push(super::Item::Event(Delivery::new(change).into(), first.revision));
    let expected = [first, second].map(|message| format!("messageCreated {}", message.revision));
    assert_eq!(told(&mut owner_again).await, expected);
    assert_eq!(told(&mut owner).await, expected);
    assert_eq!(link.told(scene.group), again.told(scene.group));
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
    // Reading it takes longer than anybody waits.
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
        // Time for a sweep, and for each connection to be looked at.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(told(&mut connection).await, Vec::<String>::new());
    }

    // Nobody prolongs it where there are no sweeps.
    let without = scene(Limits::default()).await;
    let mut connection = without.caught_up(Who::Stranger).await;
    without.clock.advance(31 * DAY);
    let ended = async { while !matches!(connection.next().await, Signal::End(_)) {} };
    assert!(timeout(Duration::from_secs(31), ended).await.is_ok());
    assert!(matches!(connection.next().await, Signal::End(super::Ending::SessionEnded)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_says_who_it_is_for_logs() {
    let scene = scene(Limits::default()).await;
    let connection = scene.connect(Who::Member).await;
    let shown = format!("{connection:?}");
    assert!(shown.contains(&connection.id().to_string()) && shown.contains("Actor("), "{shown}");
}

/// A client that catches up is read four messages of 1,000 bytes at a time.
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
    // Two and a half for each chat, and the rest of one with the beginning of the other.
    assert_eq!(scene.store.calls("changes") - before, 5);
    // Live from there.
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
    // The first was told already, and the last was not.
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
async fn nothing_is_kept_for_a_connection_that_goes_while_its_chats_are_read() {
    let scene = scene(Limits::default()).await;
    let stranger = scene.caught_up(Who::Stranger).await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    scene.store.afterwards("memberships", async move { _ = left.await });
    scene.messenger.hub().compare(&[Topic::User(scene.id(Who::Stranger))]);
    tokio::time::sleep(UNTIL_TOLD).await;
    drop(stranger);
    leave.send(()).unwrap();
    scene.wants([Topic::Nodes]).await;
    assert!(scene.messenger.hub().rooms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_before_the_room_says_that_they_went_is_let_in_again() {
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::OtherMember).await;
    let known = scene.revision().await;
    scene.elsewhere(&[], &[Who::OtherMember]).await;
    let back = scene.elsewhere(&[Who::OtherMember], &[]).await;
    scene.messenger.hub().compare(&[Topic::User(scene.id(Who::OtherMember))]);
    tokio::time::sleep(UNTIL_TOLD).await;
    // The removal arrives late, and the word that they are back is lost.
    let read = scene.store.changes(&[(scene.group, known)], Budget::of_messages(10)).await.unwrap().remove(0);
    let removal = convert::event(read.messages[0].clone(), &read.chat, known).unwrap();
    let news = BusMessage { topics: vec![Topic::Chat(scene.group)], hint: Hint::Event(removal).into() };
    scene.messenger.hub().apply(&news);
    let mut all = told(&mut member).await;
    scene.messenger.hub().compare_all();
    all.extend(told(&mut member).await);
    assert_eq!(all, ["chatRemoved".to_owned(), format!("chatAdded {back}")]);
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
    // It has yet to take the word that the admin has gone.
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
async fn a_client_has_its_time_to_resume_once_it_is_connected() {
    let scene = scene(Limits::default()).await;
    scene.store.afterwards("memberships", async { tokio::time::sleep(Duration::from_secs(2)).await });
    let mut member = scene.connect(Who::Member).await;
    scene.says(Who::Owner, "live").await;
    assert!(timeout(Duration::from_millis(900), member.next()).await.is_err());
    assert!(timeout(Duration::from_millis(200), member.next()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_fails_keeps_no_seat_that_the_client_does_not_know_of() {
    let scene = scene(Limits::default()).await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    let back = scene.elsewhere(&[Who::Stranger], &[]).await;
    let (hub, link) = (scene.messenger.hub(), scene.link(&stranger));
    // What was read is too old for one chat, and can't be read again.
    let other = scene.makes_group(Who::Owner, [Who::Stranger, Who::Left]).await;
    let _owner = scene.caught_up(Who::Owner).await;
    told(&mut stranger).await;
    hub.exit(&link, other);
    link.places().chats.remove(&other);
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
async fn who_is_removed_by_a_change_that_cannot_be_read_hears_of_the_end() {
    let scene = scene(Limits::default()).await;
    let mut member = scene.caught_up(Who::OtherMember).await;
    let mut owner = scene.caught_up(Who::Owner).await;
    let roster = scene.store.roster(scene.group).await.unwrap();
    let context = scene.messenger.context();
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
    scene.messenger.hub().compare_all();
    tokio::time::sleep(UNTIL_TOLD).await;
    scene.says(Who::Owner, "without them").await;
    assert_eq!(told(&mut member).await, ["chatRemoved"]);
    // The others are shown the chat anew, without what can't be read.
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
    scene.messenger.hub().compare_all();
    assert_eq!(told(&mut owner).await.len(), 1);
    assert_eq!(scene.store.calls("roster") - before, 2);

    let mut people = [scene.caught_up(Who::Stranger).await, scene.caught_up(Who::Left).await];
    scene.elsewhere(&[Who::Stranger, Who::Left], &[]).await;
    scene.store.fail("memberships", StoreErrorKind::Corrupt, 1);
    scene.messenger.hub().compare(&[Who::Stranger, Who::Left].map(|who| Topic::User(scene.id(who))));
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
    let room = scene.messenger.hub().room(scene.group).unwrap();
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
    scene.messenger.hub().compare_all();
    assert_eq!(told(&mut owner).await.last(), Some(&"TooFarBehind".to_owned()));
    assert!(scene.messenger.connect(&scene.actor(Who::Member)).await.is_ok());
}
