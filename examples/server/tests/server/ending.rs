#![cfg(unix)]

use std::{
    net::TcpStream,
    sync::{Arc, mpsc::channel},
    time::Instant,
};

use futures::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    live::{Ended, Group, Socket, Writer, Written},
    stores::TestStore,
    support::{Answer, Client, PATIENCE, Server},
};

/// A request whose body has yet to come.
fn half_a_request(server: &Server) -> Client {
    let mut client = server.connect();
    // The answer to `Expect` shows that the request has arrived.
    client.send(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 100);
    client
}

#[test]
fn a_signal_ends_it_with_exit_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::in_memory([]);
        let mut idle = server.connect();
        server.signal(signal);
        idle.is_cut();
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[test]
fn requests_under_way_are_answered_and_no_new_ones_begun() {
    let server = Server::in_memory([]);
    let mut client = half_a_request(&server);
    server.signal(Signal::TERM);
    server.says("Ending");
    client.send("{}");
    assert!((400..500).contains(&client.answer().status()));
    client.is_cut();
    assert_eq!(server.ended().code(), Some(0));
}

/// A client of the hub by long polling, its handshake done and its next poll not yet made.
struct Polling {
    client: Client,
    path: String,
    token: String,
}

impl Polling {
    fn begin(server: &Server, token: &str) -> Self {
        const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
        let offer = server.request("POST", "/api/v1/hub/negotiate?negotiateVersion=1", Some(token), None);
        let path = format!("/api/v1/hub?id={}", offer.json()["connectionToken"].as_str().unwrap());
        let mut polling = Self { client: server.connect(), path, token: token.to_owned() };
        assert_eq!(polling.asks("GET", "").status(), 200);
        assert_eq!(polling.asks("POST", HANDSHAKE).status(), 200);
        assert!(polling.asks("GET", "").text().starts_with("{}"));
        polling
    }

    fn asks(&mut self, method: &str, body: &str) -> Answer {
        self.sends(method, body);
        self.client.answer()
    }

    fn sends(&mut self, method: &str, body: &str) {
        let Self { client, path, token } = self;
        let length = body.len();
        client.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    }
}

#[test]
fn who_is_between_two_polls_hears_of_the_end_by_the_next() {
    let server = Server::in_memory([]);
    let ada = server.register("ada");
    let mut polling: Vec<Polling> = (0..10).map(|_| Polling::begin(&server, &ada)).collect();
    server.signal(Signal::TERM);
    server.says("Ending");
    // From then on whatever is idle would be closed.
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    polling.iter_mut().for_each(|polling| polling.sends("GET", ""));
    for Polling { client, .. } in &mut polling {
        let last = client.answer();
        assert!(last.text().contains("\"allowReconnect\":true"), "{}", last.text());
        client.is_cut();
    }
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn requests_that_take_too_long_are_cut() {
    let server = Server::in_memory(["--shutdown-timeout", "500ms"]);
    let mut client = half_a_request(&server);
    let began = Instant::now();
    server.signal(Signal::TERM);
    client.is_cut();
    assert!(began.elapsed().as_millis() >= 500);
    assert_eq!(server.ended().code(), Some(0));
}

#[tokio::test]
async fn sockets_are_told_to_go_elsewhere() {
    let server = Server::in_memory([]);
    let token = server.register("ada");
    let url = format!("ws://{}/api/v1/ws?access_token={token}", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    // An answer shows that the server has taken the socket over.
    socket.send(Message::text(r#"{"jsonrpc":"2.0","id":1,"method":"GetMe"}"#)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains("\"ada\""));
    server.signal(Signal::TERM);
    let Message::Close(Some(close)) = socket.next().await.unwrap().unwrap() else {
        panic!("no close frame came")
    };
    assert_eq!(close.code, CloseCode::Away);
    assert!(!matches!(socket.next().await, Some(Ok(_))));
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn what_is_under_way_is_answered_under_load_on_a_file() {
    what_is_under_way_is_answered_under_load(&TestStore::sqlite());
}

#[test]
fn what_is_under_way_is_answered_under_load_on_a_database() {
    what_is_under_way_is_answered_under_load(&TestStore::postgres());
}

fn what_is_under_way_is_answered_under_load(store: &TestStore) {
    let start = || Server::start(&mut store.command_for_load());
    let server = start();
    let group = Group::of(&server, &["ada", "bob"]);
    let (told, answers) = channel();
    let writer = |name| Writer {
        name,
        address: server.address,
        chat: group.chat.clone(),
        token: group.tokens[0].clone(),
        stop: Arc::default(),
        told: told.clone(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let over_sockets: Vec<_> = ["phone", "tablet", "laptop"]
        .map(writer)
        .map(|writer| {
            runtime.spawn(async move {
                let mut socket = Socket::open(writer.address, &writer.token).await.unwrap();
                let mut written = Written::default();
                let ended = writer.over_one(&mut socket, 32, &mut written).await.unwrap_err();
                // What is answered is read to the end, and then the reason.
                assert_eq!(last_words(&mut socket, ended, &mut written).await, Ended::With(CloseCode::Away));
                written
            })
        })
        .into();
    let over_rest = {
        let writer = writer("script");
        std::thread::spawn(move || (1..).take_while(|number| writer.post(*number).is_ok()).count())
    };
    // A listener that says nothing is told as well.
    let silent = runtime.block_on(Socket::open(server.address, &group.tokens[1])).unwrap();
    for _ in 0..300 {
        answers.recv_timeout(PATIENCE).unwrap();
    }
    server.signal(Signal::TERM);
    let mut answered = over_rest.join().unwrap();
    for writer in over_sockets {
        answered += runtime.block_on(writer).unwrap().acknowledged.len();
    }
    runtime.block_on(async {
        let mut silent = silent;
        while silent.hear().await.map_err(|ended| assert_eq!(ended, Ended::With(CloseCode::Away))).is_ok() {}
    });
    assert_eq!(server.ended().code(), Some(0));

    // Everything that was stored was answered, and the other way round.
    let server = start();
    assert_eq!(group.history(&server).len(), answered + 1);
    server.stop();
}

/// How a socket ends that a writer could not write to any more.
async fn last_words(socket: &mut Socket, mut ended: Ended, written: &mut Written) -> Ended {
    if ended == Ended::Lost {
        loop {
            match socket.hear().await {
                Ok(frame) if frame.get("result").is_some() => written.answered(&frame),
                Ok(_) => {}
                Err(end) => {
                    ended = end;
                    break;
                }
            }
        }
    }
    ended
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::in_memory(["--shutdown-timeout", "1h"]);
    let _client = half_a_request(&server);
    server.signal(Signal::TERM);
    server.says("Ending");
    server.signal(Signal::TERM);
    server.says("at once");
    assert_eq!(server.ended().code(), Some(1));
}
