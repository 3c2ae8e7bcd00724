use std::{
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::support::{Client, PATIENCE, Server};

const REQUEST: &str = "GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn a_head_that_comes_byte_by_byte_is_cut() {
    let server = Server::in_memory(["--header-timeout", "1s"]);
    let Client(mut stream) = server.connect();
    // The time that reading may take paces the bytes.
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    let endless = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    for byte in endless {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        match stream.read(&mut [0; 64]) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => break,
            Ok(_) => panic!("half a head was answered"),
        }
        assert!(began.elapsed() < Duration::from_secs(15), "the connection is still open");
    }
    assert!(began.elapsed() > Duration::from_millis(900), "cut too early");
    assert_eq!(server.get("/health/live").status(), 200);
}

#[test]
fn a_client_that_says_nothing_is_cut() {
    let server = Server::in_memory(["--header-timeout", "1s"]);
    server.connect().is_cut();
}

#[test]
fn a_connection_that_has_become_idle_is_cut() {
    let server = Server::in_memory(["--header-timeout", "1s"]);
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(REQUEST);
        assert_eq!(client.answer().status(), 200);
    }
    client.is_cut();
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let server = Server::in_memory(["--write-timeout", "1s"]);
    let Client(mut stream) = server.connect();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Asks until the answers fill every buffer on the way, and the server takes no more.
    while stream.write_all("GET /assets/app.js HTTP/1.1\r\nHost: test\r\n\r\n".as_bytes()).is_ok() {}
    let began = Instant::now();
    // The connection that asks is the only one left.
    while !server.get("/metrics").text().lines().any(|line| line == "messenger_server_open_connections 1") {
        assert!(began.elapsed() < PATIENCE, "the connection is still open");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = Server::in_memory([]);
    for head in [format!("X: {}\r\n", "x".repeat(20_000)), "X: x\r\n".repeat(200)] {
        let mut client = server.connect();
        client.send(&format!("GET / HTTP/1.1\r\nHost: test\r\n{head}\r\n"));
        assert_eq!(client.answer().status(), 431);
    }
}

#[test]
fn text_that_is_not_http_is_refused() {
    let server = Server::in_memory([]);
    let mut client = server.connect();
    client.send("good day\r\n\r\n");
    assert_eq!(client.answer().status(), 400);
    client.is_cut();
}

#[test]
fn a_connection_too_many_waits_for_its_turn() {
    let server = Server::in_memory(["--max-connections", "1"]);
    let mut first = server.connect();
    first.send(REQUEST);
    assert_eq!(first.answer().status(), 200);

    let mut second = server.connect();
    second.send(REQUEST);
    second.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.0.read(&mut [0; 1]).is_err(), "answered although there was no place");
    drop(first);
    second.0.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(second.answer().status(), 200);
}

#[test]
fn open_connections_are_counted() {
    let server = Server::in_memory([]);
    let _idle = server.connect();
    let text = server.get("/metrics").text().to_owned();
    assert!(text.lines().any(|line| line == "messenger_server_open_connections 2"), "{text}");
}
