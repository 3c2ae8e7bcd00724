use std::io::Write as _;

use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    doors::{Door, Socket},
    operations::{call, spoilt},
    routes::Operations,
    words::{ACTIVE, WORD},
    world::World,
};

/// Calls the operation with what is not valid, as somebody who may not, and with what exists already.
pub(super) async fn of_operation(world: &mut World<'_>, operations: &Operations, door: Door, name: &str) {
    let call = call(world, name);
    let with = [json!(ACTIVE), json!({WORD: ACTIVE}), json!([WORD])];
    for fields in spoilt(&call.fields, &with) {
        door.call(world.server, operations, Some(&call.by.token), name, &fields).await;
    }
    if door != Door::Rest {
        return;
    }
    for token in [None, Some(WORD)] {
        door.call(world.server, operations, token, name, &call.fields).await;
    }
    let route = operations.route(name).unwrap();
    let (path, _) = route.filled(&call.fields);
    for body in [
        &b"{\"zqxj"[..],
        b"zqxj\x1b[2J",
        b"[\"zqxj\"]",
        b"{\"body\":\"zqxj\xff\"}",
        b"{\"zqxj\":1,\"zqxj\":2}",
        b"\"zqxj\"",
    ] {
        let mut client = world.server.connect();
        client.send(&format!(
            "{} /api/v1{path} HTTP/1.1\r\nHost: {WORD}.example\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            route.method,
            call.by.token,
            body.len()
        ));
        client.0.write_all(body).unwrap();
        client.answer();
    }
}

/// What is wrong before there is an operation, or with the connection.
pub(super) async fn of_connections(world: &World<'_>) {
    of_accounts(world);
    of_http(world);
    for door in [Door::Ws, Door::HubJson, Door::HubMessagePack] {
        assert!(Socket::dial(world.server, door, WORD).await.is_err());
        of_frames(world, door).await;
    }
}

fn of_accounts(world: &World<'_>) {
    let (server, ada) = (world.server, &world.ada);
    let wrong = json!({"login": ada.email, "password": format!("{WORD} wrong"), "device": ACTIVE});
    let unknown = json!({"login": format!("{WORD}@nowhere.example"), "password": format!("{WORD} wrong")});
    for (body, status) in [(wrong, 422), (unknown, 401)] {
        assert_eq!(server.request("POST", "/api/v1/auth/login", None, Some(&body)).status(), status);
    }
    let named = |username: &str, email: &str| {
        let body = json!({"username": username, "email": email, "password": format!("{WORD} password")});
        server.request("POST", "/api/v1/auth/register", None, Some(&body)).status()
    };
    assert_eq!(named(&ada.username, &format!("{WORD}.other@example.org")), 409);
    assert_eq!(named(&format!("{WORD}_other"), &ada.email), 409);
    let taken = json!({"email": ada.email});
    let bob = Some(world.bob.token.as_str());
    assert_eq!(server.request("PATCH", "/api/v1/users/me", bob, Some(&taken)).status(), 409);
}

fn of_http(world: &World<'_>) {
    let token = &world.ada.token;
    let headers = format!(
        "User-Agent: {WORD}\r\nReferer: https://{WORD}.example/\r\nCookie: {WORD}={WORD}\r\nX-Forwarded-For: {WORD}\r\n\
         X-Request-Id: {WORD} {WORD}\r\nForwarded: for={WORD}\r\nAccept-Language: {WORD}\r\nOrigin: https://{WORD}.example\r\n\
         Authorization: Bearer {token}"
    );
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: enF4anpxeGp6cXhqenF4ag==\r\nSec-WebSocket-Protocol: zqxj";
    let close = "Connection: close";
    for (first, connection) in [
        ("GET /api/v1/users/me?zqxj=zqxj", close),
        ("GET /zqxj%1b%0a/zqxj?zqxj=%1b%0azqxj", close),
        ("GET /api/v1/zqxj", close),
        ("ZQXJ /api/v1/users/me", close),
        ("GET /api/v1/chats/zqxj%1b/messages/zqxj", close),
        ("GET /api/v1/ws?access_token=zqxj", upgrade),
        ("GET /api/v1/hub?access_token=zqxj&id=zqxj", upgrade),
        ("POST /api/v1/hub/negotiate?zqxj=zqxj", close),
        ("POST /api/v1/hub?id=zqxj", close),
        ("GET /api/v1/reset-password?token=zqxj", close),
        ("GET /api/v1/confirm-email?token=zqxj", close),
        ("POST /api/v1/unsubscribe?token=zqxj", close),
        ("GET /ops/api?kind=zqxj", close),
        ("POST /ops/api/jobs/zqxj/zqxj", close),
        ("GET http://zqxj.example/zqxj", close),
    ] {
        ask(world, &format!("{first} HTTP/1.1\r\nHost: {WORD}\r\n{connection}\r\n{headers}\r\n\r\n"));
    }
    let long = "zqxj".repeat(30_000);
    for broken in [
        "zqxj\r\n\r\n".to_owned(),
        "GET /zqxj\x1b HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/zqxj\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nzqxj zqxj: zqxj\r\n\r\n".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nContent-Length: zqxj\r\n\r\n".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nTransfer-Encoding: zqxj\r\n\r\n".to_owned(),
        "POST /api/v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzqxj\r\nzqxj".to_owned(),
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{long}: zqxj\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
    ] {
        ask(world, &broken);
    }
}

/// Sends it, and hears what comes before the server has enough.
fn ask(world: &World<'_>, text: &str) {
    let mut client = world.server.connect();
    let _ = client.0.write_all(text.as_bytes());
    let _ = client.0.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(&mut client.0, &mut std::io::sink());
}

/// What is no call, each on a socket of its own, and what ends one.
async fn of_frames(world: &World<'_>, door: Door) {
    let token = &world.ada.token;
    let texts = [
        format!("{{\"{WORD}"),
        json!(WORD).to_string(),
        json!({"jsonrpc": WORD, "id": WORD, "method": ACTIVE, "params": {WORD: ACTIVE}}).to_string(),
        json!([{"jsonrpc": "2.0", "id": {WORD: 1}, "method": WORD}, WORD]).to_string(),
        format!("{WORD}\u{1b}[2J"),
        hub(&json!({"type": 1, "invocationId": WORD, "target": ACTIVE, "arguments": [ACTIVE]})),
        hub(&json!({"type": 1, "invocationId": WORD, "target": "GetChat", "arguments": [WORD, WORD]})),
        hub(
            &json!({"type": 4, "invocationId": WORD, "target": "StreamHistory", "arguments": [{"chatId": WORD}]}),
        ),
        hub(&json!({"type": 2, "invocationId": WORD, "item": ACTIVE})),
        hub(&json!({"type": 3, "invocationId": WORD, "error": ACTIVE})),
        hub(&json!({"type": 5, "invocationId": WORD})),
        hub(&json!({"type": 7, "error": ACTIVE})),
        hub(&json!({"type": 99, WORD: ACTIVE})),
        hub(&json!({WORD: ACTIVE})),
        format!("{{\"type\":1,\"{WORD}\u{1e}"),
    ];
    let binary = [
        &b"\x05\x95zqxj"[..],
        b"\x05zqxj!",
        b"\x7fzqxj",
        b"\x09\x93\x07\xa4zqxj\xc2\xc0\xc0",
        b"zqxj",
        b"\xff\xff\xff\xff\xff\xffzqxj",
    ];
    let close = CloseFrame { code: CloseCode::from(4999), reason: ACTIVE.into() };
    let frames =
        texts.into_iter().map(Message::text).chain(binary.map(|bytes| Message::binary(bytes.to_vec())));
    for frame in frames {
        let mut socket = Socket::open(world.server, door, token).await;
        socket.send(frame).await;
        socket.send(Message::Close(Some(close.clone()))).await;
        while socket.hear().await.is_some() {}
    }
    if door == Door::Ws {
        return;
    }
    for handshake in [
        json!({"protocol": WORD, "version": 1}),
        json!({"protocol": "json", "version": ACTIVE}),
        json!({WORD: ACTIVE}),
    ] {
        let mut socket = Socket::dial(world.server, door, token).await.unwrap();
        socket.send(Message::text(hub(&handshake))).await;
        while socket.hear().await.is_some() {}
    }
}

fn hub(record: &serde_json::Value) -> String {
    format!("{record}\u{1e}")
}
