//! What a node owes the others when it could not tell them something.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use messenger_core::{
    Actor, ChatId, Connection, Event, Messenger, PasswordCost, Settings, Signal,
    commands::*,
    context::Context,
    doc::register,
    hub::HubSettings,
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    ports::{Bus, BusError, BusMessage, NodeId, Subscription, Topic},
};
use tokio::{sync::watch, time::timeout};

const SOON: Duration = Duration::from_secs(20);

/// A bus to which a node gets nothing through while the gate is closed.
struct Gated {
    bus: Arc<MemoryBus>,
    open: watch::Receiver<bool>,
}

#[async_trait]
impl Bus for Gated {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        self.bus.join(node).await
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let _ = self.open.clone().wait_for(|open| *open).await;
        self.bus.publish(from, messages).await
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.bus.subscribe(node, topics).await
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.bus.unsubscribe(node, topics).await
    }
}

/// Two nodes, of which the first says what it has to say when the gate is open.
struct Scene {
    here: Messenger,
    there: Messenger,
    gate: watch::Sender<bool>,
    ada: Actor,
    chat: ChatId,
    /// Bob's, there.
    connection: Connection,
}

impl Scene {
    async fn new() -> Self {
        let (gate, open) = watch::channel(true);
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(MemoryBus::new()));
        let presence = Arc::new(MemoryPresence::new(Arc::clone(Context::system().clock())));
        let node = |bus: Arc<dyn Bus>| {
            let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
            // No sweep helps: what comes was told.
            let hub = HubSettings {
                poll_interval: Duration::ZERO,
                sweep_interval: Duration::from_secs(1_000_000),
                ..HubSettings::default()
            };
            let builder = Messenger::builder(store.clone()).presence(presence.clone()).bus(bus);
            builder.settings(Settings { password_cost, hub, ..Settings::default() }).build().unwrap()
        };
        let here = node(Arc::new(Gated { bus: bus.clone(), open }));
        let there = node(bus);
        let (ada, bob) = (register(&here, "ada").await, register(&here, "bob").await);
        let member_ids = vec![bob.user().unwrap()];
        let group = CreateGroupChat { title: "Group".into(), member_ids, client_id: None };
        let chat = here.execute(&ada, group).await.unwrap().value.id;
        let mut connection = there.connect(&bob).await.unwrap();
        connection.resume(None).await.unwrap();
        let mut scene = Self { here, there, gate, ada, chat, connection };
        assert_eq!(scene.event().await, Event::CaughtUp { position: None });
        // Until the topics are subscribed it hears nothing of this.
        while timeout(Duration::from_millis(50), scene.hear_typing()).await.is_err() {}
        scene
    }

    async fn event(&mut self) -> Event {
        loop {
            match timeout(SOON, self.connection.next()).await.expect("an event comes") {
                Signal::Event(delivery) => return delivery.event().clone(),
                Signal::End(ending) => panic!("ended: {ending:?}"),
                _ => {}
            }
        }
    }

    async fn types(&self) {
        let typing = SetTyping { chat_id: self.chat, typing: true };
        self.here.execute(&self.ada, typing).await.unwrap();
    }

    async fn hear_typing(&mut self) {
        self.types().await;
        while !matches!(self.event().await, Event::Typing(_)) {}
    }

    async fn says(&self, body: &str) {
        let send = SendMessage { chat_id: self.chat, body: body.into(), client_id: None, reply_to: None };
        self.here.execute(&self.ada, send).await.unwrap();
    }

    /// What is heard of messages, while all else is passed over.
    async fn hear(&mut self) -> String {
        loop {
            if let Event::MessageCreated(change) = self.event().await {
                return change.message.body.unwrap().as_str().to_owned();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_found_no_place_in_the_queue_to_the_bus_is_looked_up_by_the_others() {
    let mut scene = Scene::new().await;
    scene.gate.send_replace(false);
    // The first ones are on their way already, and then there is room for so many.
    for _ in 0..1024 + 128 {
        scene.types().await;
    }
    scene.says("too much").await;
    scene.gate.send_replace(true);
    assert_eq!(scene.hear().await, "too much");
    scene.says("as always").await;
    assert_eq!(scene.hear().await, "as always");
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_did_not_take_is_looked_up_by_the_others() {
    let mut scene = Scene::new().await;
    scene.gate.send_replace(false);
    scene.says("in vain").await;
    // The bus does not answer, and is given up for now.
    tokio::time::sleep(Duration::from_secs(60)).await;
    scene.gate.send_replace(true);
    assert_eq!(scene.hear().await, "in vain");
    scene.there.close().await;
}

#[tokio::test]
async fn a_bus_without_a_presence_that_its_nodes_share_is_refused() {
    let built = Messenger::builder(Arc::new(MemoryStore::new())).bus(Arc::new(MemoryBus::new())).build();
    assert_eq!(built.unwrap_err().code(), "internal");
}
