//! The ends of connections over WebSockets.

use std::sync::Arc;

use axum::Router;
use messenger_signalr::{Close, SignalROptions};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    hub::{TestHub, World},
    support::{RECORD_END, Service, Socket, invocation, many_calls, seconds},
};

fn close_for_a_fault() -> Value {
    json!({"type": 7, "error": "Connection closed with an error.", "allowReconnect": true})
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_is_answered_and_its_end_is_known_at_once() {
    let (service, world) = Service::new(SignalROptions::new());
    for close in [json!({"type": 7}), json!({"type": 7, "error": "gone wrong"})] {
        let mut socket = Socket::start(&service).await;
        world.has(1).await;
        socket.say(close).await;
        assert_eq!((socket.hear().await, socket.hear().await), (Some(json!({"type": 7})), None));
        world.has(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_closed_or_lost_is_the_end() {
    let (service, world) = Service::new(SignalROptions::new());
    let began = Instant::now();
    let mut socket = Socket::start(&service).await;
    socket.send(Message::Close(None)).await;
    world.has(0).await;
    let socket = Socket::start(&service).await;
    world.has(1).await;
    drop(socket);
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_read_ends_the_connection() {
    let (service, world) = Service::new(SignalROptions::new());
    for nonsense in [
        Message::text("{\u{1e}"),
        Message::text("[]\u{1e}"),
        Message::text("{\"type\":1}\u{1e}"),
        Message::binary(b"\xff\x1e".as_slice()),
        Message::text("x".repeat(32 * 1024 + 1)),
    ] {
        let mut socket = Socket::start(&service).await;
        socket.send(nonsense).await;
        assert_eq!((socket.hear().await, socket.hear().await), (Some(close_for_a_fault()), None));
        world.has(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_what_is_no_frame_there_is_time_to_read_why_it_ends() {
    let (service, world) = Service::new(SignalROptions::new());
    // A reserved bit, and more than a message may have, of which nothing but the length has come.
    for nonsense in [&[0xc1, 0x80, 0, 0, 0, 0][..], &[0x81, 0xff, 0, 0, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0]] {
        let mut socket = Socket::start(&service).await;
        socket.stream.get_mut().write_all(nonsense).await.unwrap();
        world.has(0).await;
        let began = Instant::now();
        assert_eq!(socket.hear().await, Some(close_for_a_fault()));
        // The server's half of the closing handshake, and what is sent before the client has read that.
        assert_eq!(socket.hear().await, None);
        assert!(socket.stream.get_mut().write_all(b"on the way").await.is_ok());
        while socket.stream.get_mut().read(&mut [0; 10]).await.unwrap() > 0 {}
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_is_told_where_details_are() {
    let (service, _) = Service::new(SignalROptions::new().enable_detailed_errors(true));
    let mut socket = Socket::start(&service).await;
    socket.send("{\u{1e}").await;
    let close = socket.hear().await.unwrap();
    let error = close["error"].as_str().unwrap();
    assert!(error.len() > 35 && error.starts_with("Connection closed with an error. "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_hub_says_why_it_ends_a_connection_and_whether_to_come_again() {
    for (error, allow_reconnect, record) in [
        (Some("enough"), true, json!({"type": 7, "error": "enough", "allowReconnect": true})),
        (None, false, json!({"type": 7})),
    ] {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        world.has(1).await;
        let error = error.map(Into::into);
        world.tell(&Err(Close { error, allow_reconnect, answers_first: false }));
        assert_eq!((socket.hear().await, socket.hear().await), (Some(record), None));
        world.has(0).await;
    }
}

fn after_answers() -> Result<Value, Close> {
    Err(Close { error: None, allow_reconnect: true, answers_first: true })
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_may_be_answered_first() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for id in ["1", "2"] {
        socket.say(invocation(id, "Place", &json!([]))).await;
    }
    socket.say(json!({"type": 1, "target": "Place", "arguments": []})).await;
    world.began(3).await;
    world.tell(&after_answers());
    sleep(seconds(4)).await;
    for _ in 0..3 {
        world.gate.notify_one();
        tokio::task::yield_now().await;
    }
    for id in ["1", "2"] {
        let answer = json!({"type": 3, "invocationId": id, "result": "waited"});
        assert_eq!(socket.hear().await, Some(answer));
    }
    assert_eq!(socket.hear().await, Some(json!({"type": 7, "allowReconnect": true})));
}

#[tokio::test(start_paused = true)]
async fn but_not_for_ever() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    socket.say(invocation("1", "Place", &json!([]))).await;
    world.began(1).await;
    world.tell(&after_answers());
    let began = Instant::now();
    assert_eq!(socket.hear().await, Some(json!({"type": 7, "allowReconnect": true})));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_it_left_is_done() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for id in 0..100 {
        socket.say(invocation(&id.to_string(), "Wait", &json!([]))).await;
    }
    drop(socket);
    for count in 1..=100 {
        world.began(count).await;
        world.gate.notify_one();
    }
    world.has(0).await;
}

#[tokio::test(start_paused = true)]
async fn what_it_sent_behind_many_calls_is_done_too() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    world.gate.notify_one();
    let all: String = many_calls().iter().map(|call| format!("{call}{RECORD_END}")).collect();
    socket.send(all).await;
    drop(socket);
    world.has(0).await;
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_for_ever_does_not_keep_a_client_that_has_left() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    socket.say(invocation("1", "Wait", &json!([]))).await;
    world.began(1).await;
    drop(socket);
    let began = Instant::now();
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_too_slow() {
    let (service, world) = Service::new(SignalROptions::new().transport_send_timeout(seconds(7)));
    let mut socket = Socket::open_over(service.wire(1000), "/hub", "").await.unwrap();
    socket.shake_hands(1).await;
    world.has(1).await;
    world.tell(&Ok(json!("x".repeat(2000))));
    let began = Instant::now();
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_close_its_half_is_not_waited_for_long() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    socket.say(json!({"type": 7})).await;
    world.has(0).await;
    // It reads on, but only at a time when nobody is there any more.
    sleep(seconds(6)).await;
    assert_eq!((socket.hear().await, socket.hear().await), (Some(json!({"type": 7})), None));
    assert!(futures::SinkExt::send(&mut socket.stream, Message::text("?")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn all_connections_end_with_the_router() {
    let world = Arc::new(World::default());
    let hub = messenger_signalr::router(TestHub(Arc::clone(&world)), SignalROptions::new());
    let (gone, ends) = tokio::sync::oneshot::channel::<()>();
    let service = Service::until(Router::new().nest("/hub", hub), async move { drop(ends.await) });
    let mut socket = Socket::start(&service).await;
    world.has(1).await;
    drop((gone, service));
    assert_eq!(socket.hear().await, None);
    world.has(0).await;
}
