//! Server-Sent Events.

use axum::body::BodyDataStream;
use futures::StreamExt as _;
use messenger_signalr::{Close, SignalROptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    PATIENCE, Service, are_answered, handshake, invocation, many_calls, ping, records, seconds,
};

/// The text of an event stream, as it comes.
struct Events(BodyDataStream);

impl Events {
    async fn open(service: &Service, token: &str) -> Self {
        let query = format!("?id={token}");
        let response = service.request("GET", &query, "text/event-stream", String::new()).await;
        assert_eq!(response.status(), 200);
        Self(response.into_body().into_data_stream())
    }

    /// With its handshake done.
    async fn start(service: &Service) -> (Self, String) {
        let token = service.token("").await;
        let mut events = Self::open(service, &token).await;
        assert_eq!(events.next().await.as_deref(), Some(":\r\n"));
        assert_eq!(service.post(&token, &[handshake("json", 1)]).await, 200);
        assert_eq!(events.next().await.as_deref(), Some("data: {}\u{1e}\r\n\r\n"));
        (events, token)
    }

    async fn next(&mut self) -> Option<String> {
        let some = timeout(PATIENCE, self.0.next()).await.expect("something comes")?;
        Some(String::from_utf8(some.unwrap().to_vec()).unwrap())
    }
}

fn data(record: &Value) -> String {
    format!("data: {record}\u{1e}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn each_record_is_an_event() {
    let (service, world) = Service::new(SignalROptions::new());
    let (mut events, token) = Events::start(&service).await;
    assert_eq!(service.post(&token, &[invocation("1", "Echo", &json!(["hi"]))]).await, 200);
    let answer = events.next().await.unwrap();
    assert_eq!(answer, "data: {\"type\":3,\"invocationId\":\"1\",\"result\":\"hi\"}\u{1e}\r\n\r\n");
    assert_eq!(events.next().await, Some(data(&ping())));
    for number in 0..2 {
        world.tell(&Ok(json!(number)));
    }
    let two = events.next().await.unwrap();
    assert_eq!(two.matches("data: {\"type\":1,").count(), 2, "{two}");
    assert_eq!(two.matches("}\u{1e}\r\n\r\n").count(), 2, "{two}");
}

#[tokio::test(start_paused = true)]
async fn a_binary_protocol_does_not_fit() {
    let (service, _) = Service::new(SignalROptions::new());
    let token = service.token("").await;
    let mut events = Events::open(&service, &token).await;
    assert_eq!(service.post(&token, &[handshake("messagepack", 1)]).await, 200);
    assert_eq!(events.next().await.as_deref(), Some(":\r\n"));
    let error = "Cannot use the 'messagepack' protocol on the current transport. \
                 The transport does not support 'Binary' transfer format.";
    assert_eq!(events.next().await, Some(data(&json!({ "error": error }))));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_stream_ends_with_the_connection() {
    let (service, world) = Service::new(SignalROptions::new());
    let (mut events, token) = Events::start(&service).await;
    world.tell(&Err(Close { error: None, allow_reconnect: false, answers_first: false }));
    assert_eq!(events.next().await, Some(data(&json!({"type": 7}))));
    assert_eq!(events.next().await, None);
    drop(events);
    world.has(0).await;
    sleep(seconds(1)).await;
    assert_eq!(service.post(&token, &[ping()]).await, 404);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_too_slow() {
    let (service, world) = Service::new(SignalROptions::new().transport_max_buffer_size(100));
    let (_events, _) = Events::start(&service).await;
    world.tell(&Ok(json!("x".repeat(200))));
    world.tell(&Ok(json!("more")));
    let began = Instant::now();
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_was_posted_before_the_stream_was_lost_is_done() {
    let (service, world) = Service::new(SignalROptions::new());
    let (events, token) = Events::start(&service).await;
    assert_eq!(service.post(&token, &[invocation("1", "Wait", &json!([]))]).await, 200);
    world.began(1).await;
    assert_eq!(service.post(&token, &[invocation("2", "Wait", &json!([]))]).await, 200);
    drop(events);
    world.gate.notify_one();
    world.began(2).await;
    world.has(0).await;
}

#[tokio::test(start_paused = true)]
async fn many_calls_that_are_answered_at_once_keep_nothing_waiting_behind_them() {
    let (service, world) = Service::new(SignalROptions::new());
    let (mut events, token) = Events::start(&service).await;
    let began = Instant::now();
    world.gate.notify_one();
    assert_eq!(service.post(&token, &many_calls()).await, 200);
    let mut all = String::new();
    while !all.ends_with("\r\n\r\n") || !all.contains("\"last\"") {
        all += &events.next().await.unwrap();
    }
    let each = all.split_terminator("\r\n\r\n").flat_map(|event| records(&event["data: ".len()..]));
    are_answered(&each.collect::<Vec<_>>());
    assert_eq!(began.elapsed().as_secs(), 0);
}
