//! How sockets end, and with which code.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::hub::HubSettings;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::support::{Ended, PASSWORD, PATIENCE, Server, is_refusal, raw_frame};

#[tokio::test]
async fn a_client_that_is_done_is_answered_in_kind() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    for frame in [
        Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }),
        Some(CloseFrame { code: CloseCode::Away, reason: "the page was left".into() }),
        None,
    ] {
        let mut socket = ada.connect().await;
        socket.ok("Ping", json!({})).await;
        socket.stream.send(Message::Close(frame.clone())).await.unwrap();
        match socket.stream.next().await {
            Some(Ok(Message::Close(answer))) => assert_eq!(answer, frame),
            other => panic!("{other:?}"),
        }
        assert!(socket.stream.next().await.is_none());
    }
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_client_that_vanishes_is_forgotten() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let mut socket = ada.connect().await;
    socket.begin("GetMe", json!({})).await;
    server.has_connections(1).await;
    drop(socket);
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_node_that_ends_answers_what_is_under_way_and_says_1001() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chat = ada.group(&[&bob]).await;
    let (mut adas, mut bobs) = (ada.online().await, bob.online().await);
    let mut sent = Vec::new();
    for n in 0..50 {
        sent.push(adas.begin("SendMessage", json!({"chatId": chat, "body": n.to_string()})).await);
    }
    for id in &sent[..30] {
        assert!(adas.answer(*id).await["result"].is_object());
    }
    server.messenger.drain();
    let ended = Ended::With(1001, "The server is going away; connect again.".into());
    assert_eq!(bobs.ended().await, ended);
    let mut answers = 30;
    loop {
        match adas.message().await {
            Ok(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                answers += usize::from(frame.get("result").is_some());
            }
            Err(how) => break assert_eq!(how, ended),
        }
    }
    // What was begun is answered, and what was not is not stored.
    assert_eq!(ada.history(&chat).await.len() - 1, answers);
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_batch_is_answered_as_a_whole_when_the_node_ends() {
    let (server, gate) = Server::gated("ChangePassword", PATIENCE).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let (mut socket, mut idle) = (ada.connect().await, bob.connect().await);
    let change = json!({"current": PASSWORD, "new": "battery staple"});
    socket
        .say(&json!([
            {"jsonrpc": "2.0", "id": 1, "method": "ChangePassword", "params": change},
            {"jsonrpc": "2.0", "id": 2, "method": "GetMe"},
        ]))
        .await;
    socket.say(&json!({"jsonrpc": "2.0", "id": 3, "method": "GetMe"})).await;
    gate.reached().await;
    server.messenger.drain();
    assert_eq!(idle.close_code().await, 1001);
    gate.open();
    let answers = socket.frame().await;
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": null}));
    assert_eq!(answers[1]["id"], 2);
    is_refusal(&answers[1], "unavailable");
    assert_eq!(socket.close_code().await, 1001);
}

#[tokio::test]
async fn the_sockets_of_a_session_end_with_it() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let other = crate::support::Person { token: server.log_in("ada", PASSWORD).await, ..ada.clone() };
    let gone = Ended::With(4001, "The session has ended.".into());

    // Revoked from elsewhere, also while it has yet to say something.
    let (mut here, mut silent, mut there) = (other.online().await, other.connect().await, ada.online().await);
    let sessions = there.ok("ListSessions", json!({})).await["items"].clone();
    let revoked =
        &sessions.as_array().unwrap().iter().find(|session| session["current"] == false).unwrap()["id"];
    assert_eq!(there.ok("RevokeSession", json!({"sessionId": revoked})).await, Value::Null);
    assert_eq!((here.ended().await, silent.ended().await), (gone.clone(), gone.clone()));
    there.ok("GetMe", json!({})).await;

    // All others end when the password is changed.
    let other = crate::support::Person { token: server.log_in("ada", PASSWORD).await, ..ada.clone() };
    let mut here = other.online().await;
    there.ok("ChangePassword", json!({"current": PASSWORD, "new": "battery staple"})).await;
    assert_eq!(here.ended().await, gone);
    there.ok("GetMe", json!({})).await;

    // All sockets of a session end when it logs out; the one that asked is answered before.
    let mut tablet = ada.online().await;
    assert_eq!(there.ok("LogOut", json!({})).await, Value::Null);
    assert_eq!((there.ended().await, tablet.ended().await), (gone.clone(), gone));
    server.has_connections(0).await;
}

#[tokio::test]
async fn who_ends_the_own_session_is_answered_first() {
    let server = Server::new().await;
    for round in 0..50 {
        let ada = server.register(&format!("ada{round}")).await;
        let mut socket = ada.connect().await;
        let session = socket.ok("ListSessions", json!({})).await["items"][0]["id"].clone();
        let (method, params) = match round % 3 {
            0 => ("LogOut", json!({})),
            1 => ("RevokeSession", json!({"sessionId": session})),
            _ => ("EraseMe", json!({"password": PASSWORD})),
        };
        assert_eq!(socket.ok(method, params).await, Value::Null);
        assert_eq!(socket.close_code().await, 4001);
    }
}

#[tokio::test]
async fn a_frame_of_ten_mebibytes_is_too_big() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let mut bobs = bob.online().await;
    for _ in 0..5 {
        let socket = ada.connect().await;
        let (mut write, mut read) = socket.stream.split();
        let sending = tokio::spawn(async move { write.send(Message::text(" ".repeat(10 << 20))).await });
        let end = timeout(PATIENCE, read.next()).await.unwrap();
        let Some(Ok(Message::Close(Some(frame)))) = end else { panic!("{end:?}") };
        assert_eq!(u16::from(frame.code), 1009);
        sending.abort();
    }
    bobs.ok("Ping", json!({})).await;
    drop(bobs);
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_frame_is_too_big_from_the_limit_on() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let limit = 256 * 1024;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"Ping"}"#;
    let padded = |length: usize| format!("{ping}{}", " ".repeat(length - ping.len()));
    let mut socket = ada.connect().await;
    socket.send(padded(limit)).await;
    assert_eq!(socket.frame().await["result"], json!({}));
    socket.send(padded(limit + 1)).await;
    assert_eq!(socket.ended().await, Ended::With(1009, "The frame is too big.".into()));

    // Also in many small pieces, and with a length that nobody could send.
    let mut socket = ada.connect().await;
    let tcp = socket.stream.get_mut();
    tcp.write_all(&raw_frame(0x01, 100_000, &vec![b' '; 100_000])).await.unwrap();
    tcp.write_all(&raw_frame(0x00, 100_000, &vec![b' '; 100_000])).await.unwrap();
    tcp.write_all(&raw_frame(0x00, 100_000, &vec![b' '; 100_000])).await.unwrap();
    assert_eq!(socket.close_code().await, 1009);
    let mut socket = ada.connect().await;
    socket.stream.get_mut().write_all(&raw_frame(0x81, u64::MAX >> 1, b"")).await.unwrap();
    assert_eq!(socket.close_code().await, 1009);
}

#[tokio::test]
async fn what_is_no_text_is_not_understood() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let mut socket = ada.connect().await;
    socket.send(Message::binary(br#"{"jsonrpc":"2.0","id":1,"method":"Ping"}"#.to_vec())).await;
    assert_eq!(socket.ended().await, Ended::With(1003, "Only text frames are understood.".into()));
    let protocol_error: &[&[u8]] = &[
        // Not masked, a reserved bit, a reserved opcode, a piece of nothing, a ping in pieces.
        &[0x81, 0x02, b'{', b'}'],
        &raw_frame(0xc1, 2, b"{}"),
        &raw_frame(0x83, 2, b"{}"),
        &raw_frame(0x80, 2, b"{}"),
        &raw_frame(0x09, 2, b"{}"),
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in protocol_error {
        let mut socket = ada.connect().await;
        socket.stream.get_mut().write_all(bytes).await.unwrap();
        assert_eq!(socket.close_code().await, 1002, "{bytes:?}");
    }
    for text in [&b"\"\xff\""[..], b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"] {
        let mut socket = ada.connect().await;
        socket.stream.get_mut().write_all(&raw_frame(0x81, text.len() as u64, text)).await.unwrap();
        assert_eq!(socket.close_code().await, 1007, "{text:?}");
    }
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_refused_and_in_the_end_closed() {
    let rate = Rate::every(Duration::from_secs(3600), 20);
    let limits = RateLimits { requests: rate, ..RateLimits::default() };
    let server = Server::with(HubSettings::default(), Options::new().rate_limits(limits)).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let mut socket = ada.connect().await;
    // The handshake has taken the first.
    for _ in 0..19 {
        socket.ok("Ping", json!({})).await;
    }
    let problem = socket.refused("Ping", json!({}), "rateLimited").await;
    assert!((3590..=3600).contains(&problem["retryAfter"].as_u64().unwrap()), "{problem}");
    for _ in 0..1000 {
        // It may be closed meanwhile.
        let flood = json!({"jsonrpc": "2.0", "method": "Ping"}).to_string();
        if socket.stream.send(Message::text(flood)).await.is_err() {
            break;
        }
    }
    assert_eq!(socket.ended().await, Ended::With(4029, "Too many requests.".into()));
    bob.connect().await.ok("Ping", json!({})).await;
}

#[tokio::test]
async fn so_is_one_that_sends_what_is_no_request() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    for nonsense in ["{", "[7]", "[]", &format!("[{}7]", "7,".repeat(99))] {
        let mut socket = ada.connect().await;
        for _ in 0..300 {
            if socket.stream.send(Message::text(nonsense)).await.is_err() {
                break;
            }
        }
        assert_eq!(socket.close_code().await, 4029, "{nonsense:.10}");
    }
    // Now and then is no flood.
    let mut socket = ada.connect().await;
    for _ in 0..300 {
        socket.send("{").await;
        socket.frame().await;
        socket.ok("Ping", json!({})).await;
    }
}
