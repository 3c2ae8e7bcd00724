//! `kill -9` under load.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    live::{Acknowledged, Group, Socket, Writer},
    stores::TestStore,
    support::{PATIENCE, Server, free_address},
};

const KILLS: usize = 12;

#[test]
fn every_acknowledged_message_is_in_the_file_once_and_in_order_after_a_dozen_kills() {
    is_whole_after_a_dozen_kills(&TestStore::sqlite());
}

#[test]
fn every_acknowledged_message_is_in_the_database_once_and_in_order_after_a_dozen_kills() {
    is_whole_after_a_dozen_kills(&TestStore::postgres());
}

fn is_whole_after_a_dozen_kills(store: &TestStore) {
    let address = free_address();
    let start = || Server::start_at(&mut store.command_for_load(), &address.to_string());
    let mut server = start();
    let group = Group::of(&server, &["ada", "bob", "carl", "dora"]);
    let (told, answers) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |name, person: usize| Writer {
        name,
        address,
        chat: group.chat.clone(),
        token: group.tokens[person].clone(),
        stop: Arc::clone(&stop),
        told: told.clone(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let over_sockets: Vec<_> = [("phone", 0), ("tablet", 0), ("laptop", 1)]
        .map(|(name, person)| runtime.spawn(writer(name, person).over_sockets(8)))
        .into();
    let over_rest: Vec<_> = [("script", 0), ("robot", 2)]
        .map(|(name, person)| writer(name, person))
        .map(|writer| std::thread::spawn(move || writer.over_rest()))
        .into();
    let reader =
        Reader { address, chat: group.chat.clone(), token: group.tokens[3].clone(), last: Arc::default() };
    let reading = runtime.spawn(reader.clone().read());

    // Any moment: so many answers after the start, wherever the server is by then.
    let random = RandomState::new();
    for kill in 0..KILLS {
        for _ in 0..random.hash_one(kill) % 150 {
            answers.recv_timeout(PATIENCE).unwrap();
        }
        drop(server);
        // What was on its way.
        while answers.try_recv().is_ok() {}
        server = start();
    }
    answers.recv_timeout(PATIENCE).unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in over_sockets {
        written.push(runtime.block_on(writer).unwrap());
    }
    for writer in over_rest {
        written.push(writer.join().unwrap());
    }
    let history = group.history(&server);
    is_whole(&history, &written);

    let read = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, reader.has_read(history.len() as u64)).await.unwrap();
        reading.abort();
        *reader.last.borrow()
    });
    assert_eq!(read, history.len() as u64);
    server.stop();
}

/// Whether the history has every message that was acknowledged, once, each writer's in the order of writing, and
/// nothing else.
fn is_whole(history: &[Value], written: &[Vec<Acknowledged>]) {
    let mut client_ids = HashSet::new();
    for (index, message) in history.iter().enumerate() {
        assert_eq!(message["seq"], index + 1);
        if let Some(client_id) = message["clientId"].as_str() {
            assert!(client_ids.insert(client_id), "{client_id} is there twice");
        }
    }
    // The first message says that the group was made.
    let count: usize = written.iter().map(Vec::len).sum();
    assert_eq!(history.len(), count + 1);
    for messages in written {
        let mut messages = messages.clone();
        messages.sort_by_key(|message| message.number);
        let mut last = 0;
        for (index, Acknowledged { number, client_id, id, seq }) in messages.iter().enumerate() {
            assert_eq!(*number, index + 1, "each is answered");
            let message = &history[*seq as usize - 1];
            assert_eq!((&message["id"], &message["clientId"]), (&json!(id), &json!(client_id)));
            let (name, _) = client_id.split_once('-').unwrap();
            assert_eq!(message["body"], format!("{name} says {number}"));
            assert!(*seq > last, "{client_id} has seq {seq} after {last}");
            last = *seq;
        }
    }
}

/// Somebody who reads all of it, and after each end goes on where they were.
#[derive(Clone)]
struct Reader {
    address: SocketAddr,
    chat: String,
    token: String,
    last: Arc<watch::Sender<u64>>,
}

impl Reader {
    async fn read(self) {
        self.last.send_replace(1);
        loop {
            let mut socket = Socket::reopen(self.address, &self.token).await;
            let last = *self.last.borrow();
            if socket.say(1, "Resume", &json!({"chats": {&self.chat: last}})).await.is_err() {
                continue;
            }
            while let Ok(frame) = socket.hear().await {
                self.take(&frame);
            }
        }
    }

    fn take(&self, frame: &Value) {
        match frame["method"].as_str() {
            None => assert_eq!(*frame, json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
            Some("caughtUp") => {}
            Some("messageCreated") => {
                let last = *self.last.borrow();
                let event = &frame["params"];
                assert_eq!(event["revision"], last + 1);
                // Nothing here is edited.
                assert_eq!(event["message"]["seq"], last + 1);
                self.last.send_replace(last + 1);
            }
            Some(_) => panic!("{frame}"),
        }
    }

    async fn has_read(&self, seq: u64) {
        self.last.subscribe().wait_for(|last| *last >= seq).await.unwrap();
    }
}
