//! The real-time hub, from outside: what connections are given, whatever is lost on the way.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use messenger_core::{
    Actor, ChatId, Connection, Event, Message, Messenger, PasswordCost, Revision, Settings, Signal, UserId,
    commands::*,
    hub::{Ending, HubSettings},
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    queries::*,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// Nodes that share store, presence and bus.
struct Cluster {
    bus: Arc<MemoryBus>,
    nodes: Vec<Messenger>,
}

impl Cluster {
    fn of(nodes: usize) -> Self {
        let hub = HubSettings {
            sweep_interval: Duration::from_millis(50),
            offline_grace: Duration::from_millis(100),
            ..HubSettings::default()
        };
        Self::with(nodes, hub)
    }

    fn with(nodes: usize, hub: HubSettings) -> Self {
        let context = messenger_core::context::Context::system();
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(MemoryBus::new()));
        let presence = Arc::new(MemoryPresence::new(Arc::clone(context.clock())));
        let settings = Settings {
            password_cost: PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() },
            hub,
            ..Settings::default()
        };
        let node = || {
            Messenger::builder(store.clone())
                .presence(presence.clone())
                .bus(bus.clone())
                .settings(settings.clone())
                .build()
                .unwrap()
        };
        Self { nodes: (0..nodes).map(|_| node()).collect(), bus }
    }

    async fn person(&self, name: &str) -> Actor {
        messenger_core::doc::register(&self.nodes[0], name).await
    }

    async fn group(&self, owner: &Actor, members: &[&Actor]) -> ChatId {
        let member_ids = members.iter().map(|member| id(member)).collect();
        let group = CreateGroupChat { title: "Group".into(), member_ids, client_id: None };
        self.nodes[0].execute(owner, group).await.unwrap().value.id
    }
}

fn id(actor: &Actor) -> UserId {
    actor.user().unwrap()
}

async fn send(node: &Messenger, actor: &Actor, chat_id: ChatId, body: &str) -> Message {
    let send = SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None };
    node.execute(actor, send).await.unwrap().value
}

async fn event(connection: &mut Connection) -> Event {
    loop {
        match timeout(SOON, connection.next()).await.expect("an event comes") {
            Signal::Event(delivery) => return delivery.event().clone(),
            Signal::End(ending) => panic!("ended: {ending:?}"),
            _ => {}
        }
    }
}

async fn event_but_presence(connection: &mut Connection) -> Event {
    loop {
        let event = event(connection).await;
        if !matches!(event, Event::PresenceChanged(_)) {
            return event;
        }
    }
}

async fn until_caught_up(connection: &mut Connection) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match event(connection).await {
            Event::CaughtUp { .. } => return events,
            event => events.push(event),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resuming_a_thousand_times_while_others_write_leaves_no_gap_and_no_double() {
    let cluster = Cluster::of(2);
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let chat = cluster.group(&ada, &[&bob]).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let node = cluster.nodes[writer % 2].clone();
            tokio::spawn(async move {
                for n in 0.. {
                    send(&node, &ada, chat, &format!("{writer}/{n}")).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut last = Revision::new(1);
    for round in 0..1000 {
        let node = &cluster.nodes[round % 2];
        let mut connection = node.connect(&bob).await.unwrap();
        connection.resume(Some(HashMap::from([(chat, last)]))).await.unwrap();
        let mut live = 0;
        let mut caught_up = false;
        while live < round % 4 || !caught_up {
            let event = match timeout(SOON, connection.next()).await.expect("an event comes") {
                Signal::Event(delivery) => delivery.event().clone(),
                // The writers were quicker than this reader: it comes back and goes on where it was.
                Signal::End(ending) => {
                    assert_eq!(ending, Ending::TooFarBehind);
                    break;
                }
                _ => continue,
            };
            match event {
                Event::PresenceChanged(_) => {}
                Event::CaughtUp { .. } => caught_up = true,
                Event::MessageCreated(change) => {
                    assert_eq!(change.revision, last.next(), "round {round}");
                    assert_eq!(change.message.seq.get(), change.revision.get(), "round {round}");
                    last = change.revision;
                    live += usize::from(caught_up);
                }
                // Too far behind is told, and the client begins anew.
                Event::ChatReset { chat } => last = chat.revision,
                other => panic!("round {round}: {other:?}"),
            }
        }
    }
    writers.iter().for_each(|writer| writer.abort());
    assert!(last.get() > 1000, "the writers wrote: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_bus_loses_arrives_late_in_order_and_once() {
    let cluster = Cluster::of(2);
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let chat = cluster.group(&ada, &[&bob]).await;
    let mut connection = cluster.nodes[1].connect(&bob).await.unwrap();
    connection.go_live();
    let bus = Arc::clone(&cluster.bus);
    let writer = cluster.nodes[0].clone();
    let total = 300;
    let writing = tokio::spawn(async move {
        for n in 0..total {
            if n % 7 == 3 {
                bus.lose_next(n % 5);
            }
            let message = send(&writer, &ada, chat, "hello").await;
            if n % 10 == 0 {
                let edit = EditMessage { chat_id: chat, message_id: message.id, body: "edited".into() };
                writer.execute(&ada, edit).await.unwrap();
            }
        }
        bus.lose_next(1);
        send(&writer, &ada, chat, "the last one").await
    });
    let mut seen = HashMap::new();
    let mut last = Revision::new(1);
    loop {
        let (revision, message) = match event_but_presence(&mut connection).await {
            Event::MessageCreated(change) | Event::MessageEdited(change) => (change.revision, change.message),
            other => panic!("{other:?}"),
        };
        assert!(revision > last, "{revision} after {last}");
        last = revision;
        let ends = message.body.as_ref().is_some_and(|body| body.as_str() == "the last one");
        seen.insert(message.seq, message);
        if ends {
            break;
        }
    }
    writing.await.unwrap();
    let query = |before| GetHistory { chat_id: chat, before, after: None, around: None, limit: Some(200) };
    let mut fresh = cluster.nodes[0].query(&bob, query(None)).await.unwrap().items;
    fresh.splice(0..0, cluster.nodes[0].query(&bob, query(Some(fresh[0].seq))).await.unwrap().items);
    for message in fresh.iter().filter(|message| message.system.is_none()) {
        assert_eq!(seen.get(&message.seq), Some(message));
    }
    assert_eq!(seen.len(), total + 1);
}

#[tokio::test]
async fn a_new_member_is_told_of_the_chat_and_a_removed_one_hears_no_more() {
    let cluster = Cluster::of(2);
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let [here, there] = &cluster.nodes[..] else { panic!() };
    let chat = cluster.group(&ada, &[]).await;
    let mut connection = there.connect(&bob).await.unwrap();
    connection.resume(None).await.unwrap();
    assert_eq!(event(&mut connection).await, Event::CaughtUp { position: None });

    here.execute(&ada, AddMembers { chat_id: chat, user_ids: vec![id(&bob)] }).await.unwrap();
    let Event::ChatAdded { chat: added } = event(&mut connection).await else { panic!() };
    assert_eq!((added.id, added.revision, added.me.unread), (chat, Revision::new(2), 0));
    let first = send(here, &ada, chat, "welcome").await;
    let Event::MessageCreated(change) = event(&mut connection).await else { panic!() };
    assert_eq!(change.message, first);

    here.execute(&ada, RemoveMember { chat_id: chat, user_id: id(&bob) }).await.unwrap();
    assert_eq!(event(&mut connection).await, Event::ChatRemoved { chat_id: chat });
    send(here, &ada, chat, "about bob").await;
    here.execute(&ada, AddMembers { chat_id: chat, user_ids: vec![id(&bob)] }).await.unwrap();
    let Event::ChatAdded { chat: added } = event(&mut connection).await else { panic!() };
    assert_eq!(added.revision, Revision::new(6));
}

#[tokio::test]
async fn being_added_is_found_without_the_bus() {
    let cluster = Cluster::of(2);
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let mut connection = cluster.nodes[1].connect(&bob).await.unwrap();
    connection.go_live();
    cluster.bus.lose_next(100);
    let opened = cluster.nodes[0].execute(&ada, OpenDirectChat { user_id: id(&bob) }).await.unwrap();
    let message = send(&cluster.nodes[0], &ada, opened.value.id, "hello").await;
    let Event::ChatAdded { chat } = event_but_presence(&mut connection).await else { panic!() };
    assert_eq!(chat.id, opened.value.id);
    if chat.last_message.is_none() {
        let Event::MessageCreated(change) = event_but_presence(&mut connection).await else { panic!() };
        assert_eq!(change.message, message);
    }
}

#[tokio::test]
async fn resuming_tells_what_was_missed_once() {
    let cluster = Cluster::of(1);
    let node = &cluster.nodes[0];
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let known = cluster.group(&ada, &[&bob]).await;
    let unnamed = cluster.group(&ada, &[&bob]).await;
    let left = cluster.group(&ada, &[&bob]).await;
    let unchanged = cluster.group(&ada, &[&bob]).await;
    node.execute(&bob, LeaveChat { chat_id: left }).await.unwrap();
    let first = send(node, &ada, known, "first").await;
    let second = send(node, &ada, known, "second").await;
    let third = send(node, &ada, known, "third").await;
    node.execute(&ada, EditMessage { chat_id: known, message_id: first.id, body: "1st".into() })
        .await
        .unwrap();
    node.execute(&ada, DeleteMessage { chat_id: known, message_id: second.id }).await.unwrap();

    let mut connection = node.connect(&bob).await.unwrap();
    let has = [(known, first.revision), (left, Revision::new(1)), (unchanged, Revision::new(1))];
    connection.resume(Some(has.into())).await.unwrap();
    let events = until_caught_up(&mut connection).await;
    assert_eq!(events.len(), 5, "{events:#?}");
    assert_eq!(events[0], Event::ChatRemoved { chat_id: left });
    assert!(matches!(&events[1], Event::MessageCreated(change) if change.message == third));
    assert!(matches!(&events[2], Event::MessageEdited(change) if change.message.id == first.id));
    assert!(matches!(&events[3], Event::MessageDeleted(change) if change.message.id == second.id));
    assert!(matches!(&events[4], Event::ChatAdded { chat } if chat.id == unnamed));

    let live = send(node, &ada, known, "live").await;
    assert!(matches!(event(&mut connection).await, Event::MessageCreated(change) if change.message == live));
}

#[tokio::test]
async fn a_revision_from_the_future_or_too_far_behind_resets_the_chat() {
    let cluster = Cluster::of(1);
    let node = &cluster.nodes[0];
    let ada = cluster.person("ada").await;
    let chat = cluster.group(&ada, &[]).await;
    for _ in 0..node.limits().catch_up + 1 {
        send(node, &ada, chat, "one of many").await;
    }
    for since in [Revision::new(1_000_000), Revision::ZERO] {
        let mut connection = node.connect(&ada).await.unwrap();
        connection.resume(Some([(chat, since)].into())).await.unwrap();
        let events = until_caught_up(&mut connection).await;
        assert!(matches!(&events[..], [Event::ChatReset { chat: reset }] if reset.id == chat), "{events:?}");
    }
}

#[tokio::test]
async fn a_connection_that_does_not_read_is_ended_and_holds_up_nobody() {
    let few = HubSettings { mailbox: 16, ..HubSettings::default() };
    let short = HubSettings { mailbox_bytes: 100, ..HubSettings::default() };
    for settings in [few, short] {
        is_ended_and_holds_up_nobody(settings).await;
    }
}

async fn is_ended_and_holds_up_nobody(settings: HubSettings) {
    let cluster = Cluster::with(1, settings);
    let node = &cluster.nodes[0];
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let chat = cluster.group(&ada, &[&bob]).await;
    let mut slow = node.connect(&bob).await.unwrap();
    slow.go_live();
    let mut quick = node.connect(&bob).await.unwrap();
    quick.go_live();
    for n in 0..40 {
        let sent = send(node, &ada, chat, "hello").await;
        let Event::MessageCreated(change) = event_but_presence(&mut quick).await else { panic!() };
        assert_eq!(change.message, sent, "{n}");
    }
    assert!(matches!(slow.next().await, Signal::End(Ending::TooFarBehind)));
}

#[tokio::test]
async fn presence_is_announced_to_the_other_side_once() {
    let cluster = Cluster::of(2);
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    cluster.nodes[0].execute(&ada, OpenDirectChat { user_id: id(&bob) }).await.unwrap();
    let mut watcher = cluster.nodes[0].connect(&ada).await.unwrap();
    watcher.go_live();
    let first = cluster.nodes[1].connect(&bob).await.unwrap();
    let second = cluster.nodes[1].connect(&bob).await.unwrap();
    let Event::PresenceChanged(online) = event(&mut watcher).await else { panic!() };
    assert!(online.online && online.user_id == id(&bob));
    drop(first);
    drop(second);
    let Event::PresenceChanged(offline) = event(&mut watcher).await else { panic!() };
    assert!(!offline.online && offline.last_seen_at.is_some());
    let asked = cluster.nodes[1].query(&ada, GetPresence { user_ids: vec![id(&bob)] }).await.unwrap();
    assert_eq!(asked.items, [offline]);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_connections_along() {
    let cluster = Cluster::of(2);
    let ada = cluster.person("ada").await;
    let mut connection = cluster.nodes[1].connect(&ada).await.unwrap();
    cluster.bus.lose_next(1);
    cluster.nodes[0].execute(&ada, LogOut {}).await.unwrap();
    loop {
        match timeout(SOON, connection.next()).await.unwrap() {
            Signal::End(ending) => break assert_eq!(ending, Ending::SessionEnded),
            _ => continue,
        }
    }
}

#[tokio::test]
async fn typing_and_marks_reach_the_others() {
    let cluster = Cluster::of(1);
    let node = &cluster.nodes[0];
    let (ada, bob) = (cluster.person("ada").await, cluster.person("bob").await);
    let chat = cluster.group(&ada, &[&bob]).await;
    let sent = send(node, &ada, chat, "hello").await;
    let mut connection = node.connect(&ada).await.unwrap();
    connection.go_live();
    node.execute(&bob, SetTyping { chat_id: chat, typing: true }).await.unwrap();
    assert!(matches!(event(&mut connection).await, Event::Typing(typing) if typing.user_id == id(&bob)));
    let marks = node.execute(&bob, MarkRead { chat_id: chat, seq: sent.seq }).await.unwrap();
    assert_eq!((marks.read_seq, marks.unread), (sent.seq, 0));
    assert!(matches!(event(&mut connection).await, Event::ReadMoved(mark) if mark.seq == sent.seq));
    node.execute(&ada, SetTyping { chat_id: chat, typing: true }).await.unwrap();
    let own = send(node, &ada, chat, "own").await;
    assert!(matches!(event(&mut connection).await, Event::MessageCreated(change) if change.message == own));
}

#[tokio::test]
async fn a_closed_node_tells_its_connections_to_go_elsewhere() {
    let cluster = Cluster::of(1);
    let node = &cluster.nodes[0];
    let ada = cluster.person("ada").await;
    let mut connection = node.connect(&ada).await.unwrap();
    node.drain();
    assert!(matches!(connection.next().await, Signal::End(Ending::GoingAway)));
    assert!(node.connect(&ada).await.is_err());
    timeout(SOON, node.close()).await.unwrap();
}

#[tokio::test]
async fn one_person_may_have_only_so_many_connections() {
    let cluster = Cluster::with(1, HubSettings { connections_of_one: 2, ..HubSettings::default() });
    let node = &cluster.nodes[0];
    let ada = cluster.person("ada").await;
    let first = node.connect(&ada).await.unwrap();
    let _second = node.connect(&ada).await.unwrap();
    assert_eq!(node.connect(&ada).await.unwrap_err().code(), "rateLimited");
    drop(first);
    assert_eq!(node.connections(), 1);
    node.connect(&ada).await.unwrap();
}
