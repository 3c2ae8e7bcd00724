#![cfg(unix)]

use std::time::Instant;

use futures::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::support::{Client, Server};

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
fn a_second_signal_ends_it_at_once() {
    let server = Server::in_memory(["--shutdown-timeout", "1h"]);
    let _client = half_a_request(&server);
    server.signal(Signal::TERM);
    server.says("Ending");
    server.signal(Signal::TERM);
    server.says("at once");
    assert_eq!(server.ended().code(), Some(1));
}
