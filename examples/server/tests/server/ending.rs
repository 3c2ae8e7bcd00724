#![cfg(unix)]

use std::time::Instant;

use rustix::process::Signal;

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
