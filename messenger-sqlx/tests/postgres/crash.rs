//! A server that is crashed again and again while people write.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use messenger_core::{
    Actor, ChatId, Error, MessageId, Messenger, Password, PasswordCost, Settings,
    commands::{CreateGroupChat, RegisterUser, SendMessage},
    queries::GetHistory,
};
use messenger_sqlx::PostgresStore;
use messenger_testing::PrivateServer;
use tokio::sync::watch;

const CRASHES: usize = 8;
const WRITERS: usize = 16;
/// Longer than a restart takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_message_is_there_once_and_in_order_after_crashes_of_the_server() {
    let server = Arc::new(PrivateServer::start(&[]));
    let scene = Arc::new(Scene::make(server.url()).await);
    let writers: Vec<_> = (0..WRITERS).map(|number| tokio::spawn(Arc::clone(&scene).write(number))).collect();
    for crash in 1..=CRASHES {
        scene.acknowledged(40 * crash as u64).await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.crash_and_restart()).await.unwrap();
    }
    // All goes on by itself.
    let so_far = *scene.count.borrow();
    scene.acknowledged(so_far + 100).await;
    scene.stop.store(true, Ordering::Relaxed);
    let mut sent = vec![];
    for writer in writers {
        sent.push(writer.await.unwrap());
    }
    scene.check(&sent).await;
    scene.messenger.close().await;
}

struct Scene {
    messenger: Messenger,
    people: Vec<Actor>,
    chats: [ChatId; 2],
    count: watch::Sender<u64>,
    stop: AtomicBool,
}

/// What a writer was told of a message.
struct Acknowledged {
    id: MessageId,
    seq: u64,
}

impl Scene {
    async fn make(url: &str) -> Self {
        let store = PostgresStore::builder(url)
            .acquire_timeout(Duration::from_secs(2))
            .lanes(2)
            .open()
            .await
            .unwrap();
        let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let settings = Settings { password_cost: cost, ..Settings::default() };
        let messenger = Messenger::builder(Arc::new(store)).settings(settings).build().unwrap();
        let mut people = vec![];
        for number in 0..WRITERS {
            people.push(register(&messenger, number).await);
        }
        let member_ids: Vec<_> = people.iter().map(|person| person.user().unwrap()).collect();
        let mut chats = vec![];
        for title in ["Tea", "Coffee"] {
            let member_ids = member_ids.clone();
            let group = CreateGroupChat { title: title.into(), member_ids, client_id: None };
            chats.push(messenger.execute(&people[0], group).await.unwrap().value.id);
        }
        Self {
            messenger,
            people,
            chats: chats.try_into().unwrap(),
            count: watch::Sender::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Writes to the chats in turn, one message after the other, each again and again until it is acknowledged.
    async fn write(self: Arc<Self>, writer: usize) -> Vec<Acknowledged> {
        let mut sent = vec![];
        while !self.stop.load(Ordering::Relaxed) {
            let client_id = format!("{writer}-{}", sent.len());
            let message = loop {
                let send = SendMessage {
                    chat_id: self.chats[sent.len() % 2],
                    body: format!("{client_id} of these"),
                    client_id: Some(client_id.clone()),
                    reply_to: None,
                };
                match self.messenger.execute(&self.people[writer], send).await {
                    Ok(outcome) => break outcome.value,
                    // Each try waits for a connection by itself.
                    Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
                    Err(other) => panic!("{other:?}"),
                }
            };
            sent.push(Acknowledged { id: message.id, seq: message.seq.get() });
            self.count.send_modify(|count| *count += 1);
        }
        sent
    }

    /// Waits until so many messages are acknowledged.
    async fn acknowledged(&self, count: u64) {
        let mut acknowledged = self.count.subscribe();
        let reached = acknowledged.wait_for(|reached| *reached >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("messages are acknowledged again").unwrap();
    }

    /// Compares what was acknowledged with what is stored.
    async fn check(&self, sent: &[Vec<Acknowledged>]) {
        let mut stored = HashMap::new();
        for chat in self.chats {
            for (at, message) in self.history(chat).await.into_iter().enumerate() {
                assert_eq!(message.seq.get(), at as u64 + 1, "seqs have no gaps");
                if let Some(client_id) = message.client_id.clone() {
                    let twice = stored.insert(client_id.as_str().to_owned(), message);
                    assert!(twice.is_none(), "{twice:?} is there twice");
                }
            }
        }
        assert_eq!(stored.len(), sent.iter().map(Vec::len).sum::<usize>(), "nothing but what was sent");
        for (writer, messages) in sent.iter().enumerate() {
            let mut last = [0; 2];
            for (number, Acknowledged { id, seq }) in messages.iter().enumerate() {
                let client_id = format!("{writer}-{number}");
                let message = stored.get(&client_id).unwrap_or_else(|| panic!("{client_id} is lost"));
                assert_eq!((message.id, message.seq.get()), (*id, *seq), "{client_id}");
                assert_eq!(message.body.as_ref().unwrap().as_str(), format!("{client_id} of these"));
                assert!(*seq > last[number % 2], "{client_id} is in its place");
                last[number % 2] = *seq;
            }
        }
    }

    async fn history(&self, chat: ChatId) -> Vec<messenger_core::Message> {
        let mut all = vec![];
        loop {
            let after = Some(messenger_core::Seq::new(all.len() as u64));
            let page = GetHistory { chat_id: chat, before: None, after, around: None, limit: Some(200) };
            let page = self.messenger.query(&self.people[0], page).await.unwrap();
            all.extend(page.items);
            if !page.has_more_after {
                return all;
            }
        }
    }
}

async fn register(messenger: &Messenger, number: usize) -> Actor {
    let register = RegisterUser {
        username: format!("person{number}"),
        email: format!("person{number}@example.org"),
        password: Password::new("correct horse battery"),
        display_name: None,
        device: None,
    };
    let registered = messenger.execute(&Actor::anonymous(), register).await.unwrap();
    messenger.authenticate(registered.token.expose()).await.unwrap()
}
