//! The binary protocol.

use std::collections::VecDeque;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use messenger_signalr::{Close, SignalROptions};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{PATIENCE, Service, Socket, handshake};

/// A client that has sent its handshake as official ones do, in a text frame, and then says and hears bytes.
struct Binary {
    socket: Socket,
    records: VecDeque<Value>,
}

impl Binary {
    async fn open(service: &Service, query: &str, version: u32) -> Self {
        let mut socket = Socket::open(service, query).await.unwrap();
        socket.say(handshake("messagepack", version)).await;
        let mut binary = Self { socket, records: VecDeque::new() };
        assert_eq!(binary.bytes().await.as_deref(), Some(&b"{}\x1e"[..]));
        binary
    }

    async fn bytes(&mut self) -> Option<Vec<u8>> {
        match timeout(PATIENCE, self.socket.stream.next()).await.expect("something comes") {
            Some(Ok(Message::Binary(bytes))) => Some(bytes.to_vec()),
            Some(Ok(Message::Close(_))) | None => None,
            other => panic!("{other:?}"),
        }
    }

    async fn hear(&mut self) -> Option<Value> {
        while self.records.is_empty() {
            let bytes = self.bytes().await?;
            self.records.extend(records(&bytes));
        }
        self.records.pop_front()
    }

    async fn say(&mut self, message: &Value) {
        self.socket.stream.send(Message::binary(record(message))).await.unwrap();
    }
}

/// With its length of at most two bytes, seven bits in each and the low ones first.
fn record(message: &Value) -> Vec<u8> {
    let body = rmp_serde::to_vec(message).unwrap();
    let mut record = match body.len() {
        length @ 0..128 => vec![length as u8],
        length => vec![length as u8 | 0x80, (length >> 7) as u8],
    };
    record.extend(body);
    record
}

fn records(mut bytes: &[u8]) -> Vec<Value> {
    let mut records = Vec::new();
    while let [first, rest @ ..] = bytes {
        let (length, rest) = match (first, rest) {
            (0..128, rest) => (usize::from(*first), rest),
            (_, [second, rest @ ..]) => (usize::from(first & 0x7f) | usize::from(*second) << 7, rest),
            _ => panic!("{first}"),
        };
        let (body, rest) = rest.split_at(length);
        records.push(rmp_serde::from_slice(body).unwrap());
        bytes = rest;
    }
    records
}

#[tokio::test(start_paused = true)]
async fn all_that_the_text_protocol_has_is_there_too() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut client = Binary::open(&service, "", 1).await;
    // A call with a result and one without, an error, and what has no id.
    client.say(&json!([1, {}, "1", "Echo", [{"a": [1, "x".repeat(200)]}], []])).await;
    assert_eq!(client.hear().await, Some(json!([3, {}, "1", 3, {"a": [1, "x".repeat(200)]}])));
    client.say(&json!([1, {}, "1", "Hidden", []])).await;
    let error = "An unexpected error occurred invoking 'Hidden' on the server.";
    assert_eq!(client.hear().await, Some(json!([3, {}, "1", 1, error])));
    client.say(&json!([1, {}, null, "Echo", [1], []])).await;
    // Streams.
    client.say(&json!([4, {}, "s", "Count", [2], []])).await;
    assert_eq!(client.hear().await, Some(json!([2, {}, "s", 1])));
    assert_eq!(client.hear().await, Some(json!([2, {}, "s", 2])));
    assert_eq!(client.hear().await, Some(json!([3, {}, "s", 2])));
    client.say(&json!([4, {}, "s", "Endless", [], []])).await;
    client.say(&json!([5, {}, "s"])).await;
    assert_eq!(client.hear().await, Some(json!([3, {}, "s", 2])));
    client.say(&json!([1, {}, "2", "Sum", [], ["u"]])).await;
    for number in [1, 2] {
        client.say(&json!([2, {}, "u", number])).await;
    }
    client.say(&json!([3, {}, "u", 2])).await;
    assert_eq!(client.hear().await, Some(json!([3, {}, "2", 3, 3.0])));
    // Questions and events.
    client.say(&json!([1, {}, "3", "Ask", [], []])).await;
    let question = client.hear().await.unwrap();
    assert_eq!((&question[0], &question[3], &question[4]), (&json!(1), &json!("name"), &json!(["why"])));
    client.say(&json!([3, {}, question[2], 3, "ada"])).await;
    assert_eq!(client.hear().await, Some(json!([3, {}, "3", 3, "ada"])));
    world.tell(&Ok(json!("news")));
    assert_eq!(client.hear().await, Some(json!([1, {}, null, "told", ["news"], []])));
    // Pings, and the end.
    assert_eq!(client.hear().await, Some(json!([6])));
    client.say(&json!([6])).await;
    world.tell(&Err(Close { error: Some("enough".into()), allow_reconnect: true, answers_first: false }));
    assert_eq!(client.hear().await, Some(json!([7, "enough", true])));
    assert_eq!(client.hear().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_is_gone_on_with() {
    let (service, world) = Service::new(SignalROptions::new().allow_stateful_reconnects(true));
    let token = service.token("&useStatefulReconnect=true").await;
    let query = format!("?id={token}");
    let mut client = Binary::open(&service, &query, 2).await;
    client.say(&json!([6])).await;
    world.has(1).await;
    world.tell(&Ok(json!("news")));
    let news = json!([1, {}, null, "told", ["news"], []]);
    assert_eq!(client.hear().await.as_ref(), Some(&news));
    drop(client);
    let socket = Socket::open(&service, &query).await.unwrap();
    let mut client = Binary { socket, records: VecDeque::new() };
    assert_eq!(client.hear().await, Some(json!([9, 1])));
    assert_eq!(client.hear().await, Some(news));
    client.say(&json!([9, 1])).await;
    client.say(&json!([1, {}, "1", "Echo", [1], []])).await;
    assert_eq!(client.hear().await, Some(json!([3, {}, "1", 3, 1])));
    assert_eq!(client.hear().await, Some(json!([8, 1])));
}

#[tokio::test(start_paused = true)]
async fn polls_carry_it_as_well() {
    let (service, _) = Service::new(SignalROptions::new());
    let token = service.token("").await;
    let query = format!("?id={token}");
    assert_eq!(service.poll(&token).await.0, 200);
    assert_eq!(service.post(&token, &[handshake("messagepack", 1)]).await, 200);
    assert_eq!(service.poll(&token).await.1, [json!({})]);
    let post = http::Request::post(format!("/hub{query}"));
    let body = axum::body::Body::from(record(&json!([1, {}, "1", "Echo", ["hi"], []])));
    assert_eq!(service.send(post.body(body).unwrap()).await.status(), 200);
    let poll = service.request("GET", &query, "*/*", String::new()).await;
    let body = poll.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(records(&body), [json!([3, {}, "1", 3, "hi"])]);
}
