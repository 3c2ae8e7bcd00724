//! `kill -9` in the middle of erasures.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    live::{Group, Socket, Writer},
    stores::TestStore,
    support::{PATIENCE, Server, free_address},
};

const KILLS: usize = 10;
/// Texts of each person who is erased: several steps of the work.
const TEXTS: usize = 700;
/// What an erasure left is taken up a minute after its mark.
const LATER: Duration = Duration::from_secs(180);

#[test]
fn nothing_is_left_in_a_file_of_people_during_whose_erasure_the_server_was_killed() {
    nothing_is_left_after_kills(&TestStore::sqlite());
}

#[test]
fn nothing_is_left_in_a_database_of_people_during_whose_erasure_the_server_was_killed() {
    nothing_is_left_after_kills(&TestStore::postgres());
}

#[test]
#[ignore = "needs an SQL Server; `scripts/test mssql` runs it"]
fn nothing_is_left_on_sql_server_of_people_during_whose_erasure_the_server_was_killed() {
    nothing_is_left_after_kills(&TestStore::mssql());
}

fn nothing_is_left_after_kills(store: &TestStore) {
    let (runtime, address) = (Runtime::new().unwrap(), free_address());
    let start = || Server::start_at(&mut store.command_for_load(), &address.to_string());
    let mut server = start();
    let bob = server.register("bob");
    let mut victims = Vec::new();
    let mut half_way = 0;
    for number in 0..KILLS {
        let victim = Victim::settle(&server, &bob, format!("victim{number}"));
        runtime.block_on(victim.talk());
        runtime.block_on(victim.erased_until_the_first_text_is_gone());
        drop(server);
        server = start();
        half_way += usize::from(victim.texts(&server) > 0);
        victims.push(victim);
    }
    assert!(2 * half_way >= KILLS, "only {half_way} of {KILLS} erasures were killed half-way");

    let until = Instant::now() + LATER;
    for victim in &victims {
        while victim.texts(&server) > 0 {
            assert!(Instant::now() < until, "texts of {} are left", victim.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    for victim in &victims {
        victim.is_gone(&server);
    }
    server.stop();
}

/// Somebody in a group with others, who is erased.
struct Victim {
    name: String,
    id: String,
    /// Their own session, and that of the other person.
    token: String,
    other: String,
    /// As the other person sees it.
    group: Group,
    address: SocketAddr,
}

impl Victim {
    fn settle(server: &Server, other: &str, name: String) -> Self {
        let token = server.register(&name);
        let me = server.request("GET", "/api/v1/users/me", Some(&token), None).json();
        let id = me["id"].as_str().unwrap().to_owned();
        let made = json!({"title": "Tea", "memberIds": [id]});
        let chat = server.request("POST", "/api/v1/chats/group", Some(other), Some(&made)).json();
        let chat = chat["id"].as_str().unwrap().to_owned();
        let group = Group { chat, tokens: vec![other.to_owned()] };
        Self { name, id, token, other: other.to_owned(), group, address: server.address }
    }

    /// Sends their texts.
    async fn talk(&self) {
        let (told, answers) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            name: "phone",
            address: self.address,
            chat: self.group.chat.clone(),
            token: self.token.clone(),
            stop: Arc::clone(&stop),
            told,
        };
        let writing = tokio::spawn(writer.over_sockets(32));
        let answered = tokio::task::spawn_blocking(move || {
            for _ in 0..TEXTS {
                answers.recv_timeout(PATIENCE).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            // What was on its way.
            answers.iter().for_each(drop);
        });
        writing.await.unwrap();
        answered.await.unwrap();
    }

    /// Erases the account, while another session of it writes and the other person adds it to groups, and returns as soon as
    /// the other one is told of a text that is gone.
    async fn erased_until_the_first_text_is_gone(&self) {
        let mut watching = Socket::reopen(self.address, &self.other).await;
        watching.say(1, "Sync", &json!({})).await.unwrap();
        let send = json!({"chatId": self.group.chat, "body": "one more"});
        let writing = tokio::spawn(insist(self.address, self.token.clone(), "SendMessage", send));
        let add = json!({"title": "Tea", "memberIds": [self.id]});
        let adding = tokio::spawn(insist(self.address, self.other.clone(), "CreateGroupChat", add));
        let mut eraser = Socket::reopen(self.address, &self.token).await;
        eraser.say(1, "EraseMe", &json!({"password": "correct horse battery"})).await.unwrap();
        while !watching.hear().await.unwrap().to_string().contains("messageDeleted") {}
        adding.abort();
        writing.abort();
    }

    /// How many of their texts the other person can read.
    fn texts(&self, server: &Server) -> usize {
        let is_theirs = |message: &&Value| message["senderId"] == *self.id && message["body"].is_string();
        self.group.history(server).iter().filter(is_theirs).count()
    }

    /// Whether they are in no group of the other person's, and can't log in.
    fn is_gone(&self, server: &Server) {
        let ask = |path: &str| server.request("GET", path, Some(&self.other), None).json();
        let mut cursor = String::new();
        loop {
            let page = ask(&format!("/api/v1/chats?limit=100{cursor}"));
            for chat in page["items"].as_array().unwrap() {
                let members = ask(&format!("/api/v1/chats/{}/members", chat["id"].as_str().unwrap()));
                assert!(!members.to_string().contains(&self.id), "{} is in {chat}", self.name);
            }
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let log_in = json!({"login": self.name, "password": "correct horse battery"});
        let refused = server.request("POST", "/api/v1/auth/login", None, Some(&log_in));
        assert_eq!(refused.status(), 401, "{}", refused.text());
        let session = server.request("GET", "/api/v1/users/me", Some(&self.token), None);
        assert_eq!(session.status(), 401, "{}", session.text());
    }
}

/// Asks for the same again and again, until it is refused or the server is gone.
async fn insist(address: SocketAddr, token: String, method: &'static str, params: Value) {
    let Ok(mut socket) = Socket::open(address, &token).await else { return };
    for id in 1.. {
        if socket.say(id, method, &params).await.is_err() {
            return;
        }
        loop {
            match socket.hear().await {
                Ok(frame) if frame["id"] == id && frame.get("error").is_none() => break,
                // An event, which is for others to look at.
                Ok(frame) if frame["id"] != id => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}
