//! Coming back a thousand times.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    live::{Ended, Group, Socket},
    stores::TestStore,
    support::Server,
};

const PAIRS: usize = 4;
const ROUNDS: u64 = 250;

#[test]
fn resuming_a_thousand_times_from_a_file_leaves_no_gap_and_no_double() {
    leaves_no_gap_and_no_double(&TestStore::sqlite());
}

#[test]
fn resuming_a_thousand_times_from_a_database_leaves_no_gap_and_no_double() {
    leaves_no_gap_and_no_double(&TestStore::postgres());
}

/// Resumes while others write.
fn leaves_no_gap_and_no_double(store: &TestStore) {
    let server = Server::start(&mut store.command_for_load());
    let address = server.address;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pairs: Vec<_> = (0..PAIRS)
        .map(|pair| {
            let group = Group::of(&server, &[&format!("ada{pair}"), &format!("bob{pair}")]);
            let [ada, bob] = &group.tokens[..] else { panic!() };
            let (orders, taken) = unbounded_channel();
            runtime.spawn(write(address, ada.clone(), group.chat.clone(), taken));
            let reader = Reader { address, token: bob.clone(), chat: group.chat, last: 1, orders };
            runtime.spawn(reader.read())
        })
        .collect();
    let told: u64 = pairs.into_iter().map(|reader| runtime.block_on(reader).unwrap()).sum();
    // Each round had something to catch up on, most of them something live as well.
    assert!(told > PAIRS as u64 * ROUNDS, "{told}");
}

/// Writes a message for each that is ordered.
async fn write(address: SocketAddr, token: String, chat: String, mut orders: UnboundedReceiver<()>) {
    let mut socket = Socket::open(address, &token).await.unwrap();
    let mut id = 0;
    while orders.recv().await.is_some() {
        id += 1;
        socket.say(id, "SendMessage", &json!({"chatId": chat, "body": "hello"})).await.unwrap();
        while socket.hear().await.unwrap()["id"] != id {}
    }
}

struct Reader {
    address: SocketAddr,
    token: String,
    chat: String,
    last: u64,
    orders: UnboundedSender<()>,
}

impl Reader {
    async fn read(mut self) -> u64 {
        for round in 0..ROUNDS {
            // Written while this one comes, catches up and listens.
            self.order(8);
            let mut socket = Socket::open(self.address, &self.token).await.unwrap();
            socket.say(round, "Resume", &json!({"chats": {&self.chat: self.last}})).await.unwrap();
            while !self.hear(&mut socket, round).await {}
            for _ in 0..round % 4 {
                self.order(1);
                self.hear(&mut socket, round).await;
            }
            // And goes, with or without more on the way.
        }
        self.last
    }

    fn order(&self, messages: usize) {
        for _ in 0..messages {
            self.orders.send(()).unwrap();
        }
    }

    /// One frame. Whether it says that all that was missed has been told.
    async fn hear(&mut self, socket: &mut Socket, round: u64) -> bool {
        let frame: Value = socket.hear().await.unwrap_or_else(|ended: Ended| panic!("{ended:?}"));
        match frame["method"].as_str() {
            None => assert_eq!(frame, json!({"jsonrpc": "2.0", "id": round, "result": {}})),
            Some("caughtUp") => return true,
            Some("messageCreated") => {
                self.last += 1;
                assert_eq!(frame["params"]["revision"], self.last, "round {round}");
                assert_eq!(frame["params"]["message"]["seq"], self.last, "round {round}");
            }
            Some(_) => panic!("round {round}: {frame}"),
        }
        false
    }
}
