//! What one connection is told while its person comes into chats, is taken out of them, and is logged out.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use messenger_core::{
    Actor, ChatId, Connection, Error, Event, Message, MessageBody, Messenger, PasswordCost, Policy, Revision,
    Settings, Signal, UserId,
    commands::*,
    doc::register,
    hub::{Ending, HubSettings},
    memory::MemoryStore,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn node(hub: HubSettings, policy: Option<Arc<dyn Policy>>) -> Messenger {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let settings = Settings { password_cost, hub, ..Settings::default() };
    let builder = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings);
    match policy {
        Some(policy) => builder.policy(policy),
        None => builder,
    }
    .build()
    .unwrap()
}

/// A node with two people and a group of both.
struct Scene {
    node: Messenger,
    ada: Actor,
    bob: Actor,
    chat: ChatId,
}

impl Scene {
    async fn new() -> Self {
        Self::with(HubSettings::default()).await
    }

    async fn with(hub: HubSettings) -> Self {
        let node = node(hub, None);
        let (ada, bob) = (register(&node, "ada").await, register(&node, "bob").await);
        let group = CreateGroupChat { title: "Group".into(), member_ids: vec![id(&bob)], client_id: None };
        let chat = node.execute(&ada, group).await.unwrap().value.id;
        Self { node, ada, bob, chat }
    }

    async fn says(&self, body: &str) -> Message {
        let send = SendMessage { chat_id: self.chat, body: body.into(), client_id: None, reply_to: None };
        self.node.execute(&self.ada, send).await.unwrap().value
    }

    async fn remove_bob(&self) {
        let remove = RemoveMember { chat_id: self.chat, user_id: id(&self.bob) };
        self.node.execute(&self.ada, remove).await.unwrap();
    }

    async fn add_bob(&self) {
        let add = AddMembers { chat_id: self.chat, user_ids: vec![id(&self.bob)] };
        self.node.execute(&self.ada, add).await.unwrap();
    }

    /// The word of a chat that was made last of all: what a connection is told before it is all there was to tell.
    async fn last_word(&self) -> ChatId {
        let group =
            CreateGroupChat { title: "Last".into(), member_ids: vec![id(&self.bob)], client_id: None };
        self.node.execute(&self.ada, group).await.unwrap().value.id
    }
}

fn id(actor: &Actor) -> UserId {
    actor.user().unwrap()
}

async fn event(connection: &mut Connection) -> Event {
    timeout(SOON, next_event(connection)).await.expect("an event comes")
}

async fn next_event(connection: &mut Connection) -> Event {
    loop {
        match connection.next().await {
            Signal::Event(delivery) => return delivery.event().clone(),
            Signal::End(ending) => panic!("ended: {ending:?}"),
            _ => {}
        }
    }
}

async fn until(connection: &mut Connection, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = event(connection).await;
        if is_last(&event) {
            return events;
        }
        events.push(event);
    }
}

fn adds(event: &Event, to: ChatId) -> bool {
    matches!(event, Event::ChatAdded { chat } if chat.id == to)
}

/// What a client has of a chat that is told all this: the last revision, if it has the chat at all.
fn has(chat: ChatId, before: Option<Revision>, events: &[Event]) -> Option<Revision> {
    events.iter().fold(before, |has, event| match event {
        Event::ChatAdded { chat: added } | Event::ChatReset { chat: added } if added.id == chat => {
            assert!(has.is_none_or(|has| has < added.revision), "told twice: {events:#?}");
            Some(added.revision)
        }
        Event::ChatRemoved { chat_id } if *chat_id == chat => None,
        event => match event.change() {
            Some((of, revision)) if of == chat => {
                let has = has.unwrap_or_else(|| panic!("not in the chat: {events:#?}"));
                assert!(revision > has, "{revision} after {has}: {events:#?}");
                Some(revision)
            }
            _ => has,
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_connects_while_others_write_hears_them() {
    let scene = Arc::new(Scene::new().await);
    // Keeps the chat's room open.
    let _other = scene.node.connect(&scene.bob).await.unwrap();
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move {
                loop {
                    scene.says("hello").await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 0..500 {
        let mut connection = scene.node.connect(&scene.bob).await.unwrap();
        connection.go_live();
        let heard = timeout(SOON, next_event(&mut connection)).await;
        assert!(heard.is_ok(), "nothing was heard in round {round}");
    }
    writers.iter().for_each(|writer| writer.abort());
}

#[tokio::test]
async fn a_member_who_was_taken_out_and_in_again_has_the_chat() {
    let scene = Scene::new().await;
    scene.remove_bob().await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    connection.go_live();
    for _ in 0..3 {
        scene.add_bob().await;
        scene.says("with bob").await;
        scene.remove_bob().await;
        scene.says("without bob").await;
    }
    scene.add_bob().await;
    let last = scene.says("with bob").await;
    let end = scene.last_word().await;
    let events = until(&mut connection, |event| adds(event, end)).await;
    assert_eq!(has(scene.chat, None, &events), Some(last.revision));
}

#[tokio::test]
async fn so_has_one_who_resumes_after_that() {
    let scene = Scene::new().await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    scene.says("with bob").await;
    scene.remove_bob().await;
    scene.says("without bob").await;
    scene.add_bob().await;
    let last = scene.says("with bob").await;
    let first = Revision::new(1);
    connection.resume(Some(HashMap::from([(scene.chat, first)]))).await.unwrap();
    let end = scene.last_word().await;
    let events = until(&mut connection, |event| adds(event, end)).await;
    assert_eq!(has(scene.chat, Some(first), &events), Some(last.revision));
}

#[tokio::test]
async fn one_who_was_taken_out_before_a_resume_is_told_once() {
    let scene = Scene::new().await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    scene.says("with bob").await;
    scene.remove_bob().await;
    connection.resume(Some(HashMap::from([(scene.chat, Revision::new(1))]))).await.unwrap();
    let end = scene.last_word().await;
    let events = until(&mut connection, |event| adds(event, end)).await;
    let removed = Event::ChatRemoved { chat_id: scene.chat };
    assert!(matches!(&events[..], [first, Event::CaughtUp { .. }] if *first == removed), "{events:?}");
    // What he has now is nothing, so coming back is news.
    scene.add_bob().await;
    assert!(adds(&event(&mut connection).await, scene.chat));
}

#[tokio::test]
async fn a_chat_made_between_connecting_and_resuming_is_told_once() {
    let scene = Scene::new().await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    let group = scene.last_word().await;
    let direct =
        scene.node.execute(&scene.ada, OpenDirectChat { user_id: id(&scene.bob) }).await.unwrap().value.id;
    connection.resume(Some(HashMap::from([(scene.chat, Revision::new(1))]))).await.unwrap();
    let end = scene.last_word().await;
    let events = until(&mut connection, |event| adds(event, end)).await;
    for chat in [group, direct] {
        assert_eq!(events.iter().filter(|event| adds(event, chat)).count(), 1, "{events:#?}");
    }
    // And the other side of the new chat is watched.
    let _adas = scene.node.connect(&scene.ada).await.unwrap();
    assert!(
        matches!(event(&mut connection).await, Event::PresenceChanged(of) if of.user_id == id(&scene.ada))
    );
}

#[tokio::test]
async fn a_catch_up_shows_nothing_that_was_said_after_a_removal() {
    let scene = Scene::new().await;
    scene.says("with bob").await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    let first = Revision::new(1);
    connection.resume(Some(HashMap::from([(scene.chat, first)]))).await.unwrap();
    // The client takes its time, and is a member no longer when the chat is read for it.
    scene.says("still with bob").await;
    scene.remove_bob().await;
    scene.says("secret").await;
    let end = scene.last_word().await;
    let events = until(&mut connection, |event| adds(event, end)).await;
    let said: Vec<_> =
        events.iter().filter_map(|event| event.change()).map(|(_, revision)| revision.get()).collect();
    assert_eq!(said, [2, 3], "{events:#?}");
    assert_eq!(has(scene.chat, Some(first), &events), None);
}

#[tokio::test]
async fn a_catch_up_ends_with_the_session() {
    let scene = Scene::new().await;
    for _ in 0..100 {
        scene.says("missed").await;
    }
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    connection.resume(Some(HashMap::from([(scene.chat, Revision::new(1))]))).await.unwrap();
    assert!(matches!(event(&mut connection).await, Event::MessageCreated(_)));
    scene.node.execute(&scene.bob, LogOut {}).await.unwrap();
    let mut more = 0;
    loop {
        match timeout(SOON, connection.next()).await.expect("it ends") {
            Signal::End(ending) => break assert_eq!(ending, Ending::SessionEnded),
            // The word of it has to come first.
            _ => more += 1,
        }
        tokio::task::yield_now().await;
    }
    assert!(more < 50, "{more} events after the end of the session");
}

#[tokio::test]
async fn so_do_events_that_wait() {
    let scene = Scene::new().await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    connection.go_live();
    for _ in 0..100 {
        scene.says("live").await;
    }
    assert!(matches!(event(&mut connection).await, Event::MessageCreated(_)));
    scene.node.execute(&scene.bob, LogOut {}).await.unwrap();
    let mut more = 0;
    while !matches!(connection.next().await, Signal::End(Ending::SessionEnded)) {
        more += 1;
        tokio::task::yield_now().await;
    }
    assert!(more < 50, "{more} events after the end of the session");
}

#[tokio::test]
async fn a_session_that_ends_while_connecting_takes_the_connection_along() {
    let scene =
        Scene::with(HubSettings { sweep_interval: Duration::from_secs(3600), ..HubSettings::default() })
            .await;
    let _other = scene.node.connect(&Actor::on_behalf_of(id(&scene.bob))).await.unwrap();
    // The handshake has looked at the session, and the connection is not known yet.
    scene.node.execute(&scene.bob, LogOut {}).await.unwrap();
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    let ended = async { while !matches!(connection.next().await, Signal::End(Ending::SessionEnded)) {} };
    assert!(timeout(SOON, ended).await.is_ok());
}

#[tokio::test]
async fn a_second_resume_repeats_no_change() {
    let scene = Scene::new().await;
    for _ in 0..10 {
        scene.says("missed").await;
    }
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    let chats = HashMap::from([(scene.chat, Revision::new(1))]);
    connection.resume(Some(chats.clone())).await.unwrap();
    for revision in 2..5 {
        assert_eq!(event(&mut connection).await.change().unwrap().1.get(), revision);
    }
    connection.resume(Some(chats)).await.unwrap();
    let events = until(&mut connection, |event| matches!(event, Event::CaughtUp { .. })).await;
    assert!(matches!(&events[..], [Event::ChatReset { .. }]), "{events:#?}");
}

#[tokio::test]
async fn watching_too_many_watches_none_of_them() {
    let scene = Scene::with(HubSettings { watched: 2, ..HubSettings::default() }).await;
    let eve = register(&scene.node, "eve").await;
    let mut connection = scene.node.connect(&scene.bob).await.unwrap();
    connection.go_live();
    let strangers = [id(&eve), UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16])];
    assert_eq!(connection.watch(&strangers).await.unwrap_err().code(), "invalid");
    let _eves = scene.node.connect(&eve).await.unwrap();
    let end = scene.last_word().await;
    assert_eq!(until(&mut connection, |event| adds(event, end)).await, []);
    // Whom it watches already counts once.
    connection.watch(&[id(&eve), id(&eve)]).await.unwrap();
    connection.watch(&[id(&eve), strangers[1]]).await.unwrap();
    assert_eq!(connection.watch(&[strangers[2]]).await.unwrap_err().code(), "invalid");
}

/// Lets nobody see who is there.
struct NoPresence;

#[async_trait]
impl Policy for NoPresence {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<(), Error> {
        match operation {
            "GetPresence" | "WatchPresence" => Err(Error::Forbidden("Who is there is nobody's business.")),
            _ => Ok(()),
        }
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody, Error> {
        Ok(body)
    }
}

#[tokio::test]
async fn watching_is_subject_to_the_policy() {
    let node = node(HubSettings::default(), Some(Arc::new(NoPresence)));
    let ada = register(&node, "ada").await;
    let connection = node.connect(&ada).await.unwrap();
    assert_eq!(connection.watch(&[id(&ada)]).await.unwrap_err().code(), "forbidden");
}
