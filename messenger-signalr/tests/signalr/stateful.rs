//! Stateful reconnect: a connection goes on over a new socket with nothing lost or doubled.

use std::sync::Arc;

use http::StatusCode;
use messenger_signalr::{Close, SignalROptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    hub::World,
    support::{Service, Socket, invocation, ping, seconds},
};

fn service() -> (Service, Arc<World>) {
    Service::new(SignalROptions::new().allow_stateful_reconnects(true))
}

fn told(value: &Value) -> Value {
    json!({"type": 1, "target": "told", "arguments": [value]})
}

fn ack(number: u64) -> Value {
    json!({"type": 8, "sequenceId": number})
}

fn sequence(number: u64) -> Value {
    json!({"type": 9, "sequenceId": number})
}

async fn reopen(service: &Service, token: &str) -> Socket {
    Socket::open(service, &format!("?id={token}")).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_not_confirmed_is_sent_again() {
    let (service, world) = service();
    let (mut socket, token) = Socket::start_stateful(&service).await;
    world.has(1).await;
    for number in 1..=4 {
        world.tell(&Ok(json!(number)));
    }
    for number in 1..=4 {
        assert_eq!(socket.hear_more().await, Some(told(&json!(number))));
    }
    socket.say(ack(2)).await;
    drop(socket);
    sleep(seconds(1)).await;
    // What is said while nobody is there comes behind it.
    world.tell(&Ok(json!(5)));
    sleep(seconds(13)).await;
    let mut socket = reopen(&service, &token).await;
    assert_eq!(socket.hear().await, Some(sequence(3)));
    for number in 3..=5 {
        assert_eq!(socket.hear_more().await, Some(told(&json!(number))));
    }
    world.tell(&Ok(json!(6)));
    assert_eq!(socket.hear_more().await, Some(told(&json!(6))));
    // Once all is confirmed, the next socket begins with the next number.
    socket.say(ack(6)).await;
    sleep(seconds(1)).await;
    drop(socket);
    let mut socket = reopen(&service, &token).await;
    assert_eq!(socket.hear().await, Some(sequence(7)));
    assert_eq!(world.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sends_again_is_done_once_and_what_is_new_is_confirmed() {
    let (service, world) = service();
    let (mut socket, token) = Socket::start_stateful(&service).await;
    socket.say(ping()).await;
    for id in ["1", "2"] {
        socket.say(invocation(id, "Echo", &json!([id]))).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], id);
    }
    let began = Instant::now();
    assert_eq!(socket.hear_more().await, Some(ack(2)));
    assert_eq!(began.elapsed().as_secs(), 1);
    drop(socket);
    let mut socket = reopen(&service, &token).await;
    assert_eq!(socket.hear().await, Some(sequence(1)));
    socket.say(sequence(2)).await;
    for id in ["2", "3"] {
        socket.say(invocation(id, "Echo", &json!([id]))).await;
    }
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let heard = socket.hear_more().await.unwrap();
        match heard["type"].as_u64() {
            Some(3) => answers.push(heard["result"].as_str().unwrap().to_owned()),
            _ => panic!("{heard}"),
        }
        if answers.len() == 3 {
            break;
        }
    }
    // The two that were not confirmed once more, and the new one.
    assert_eq!(answers, ["1", "2", "3"]);
    assert_eq!(socket.hear_more().await, Some(ack(3)));
    assert_eq!(world.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_what_a_client_sends_is_the_end() {
    let (service, world) = service();
    let (mut socket, _) = Socket::start_stateful(&service).await;
    socket.say(sequence(2)).await;
    let close = json!({"type": 7, "error": "Connection closed with an error.", "allowReconnect": true});
    assert_eq!((socket.hear_more().await, socket.hear_more().await), (Some(close), None));
    world.has(0).await;
}

#[tokio::test(start_paused = true)]
async fn what_came_half_comes_again_from_its_beginning() {
    let (service, _) = service();
    let (mut socket, token) = Socket::start_stateful(&service).await;
    socket.send("{\"type\":1,\"invocationId\":\"1\",\"tar").await;
    drop(socket);
    let mut socket = reopen(&service, &token).await;
    assert_eq!(socket.hear().await, Some(sequence(1)));
    socket.say(sequence(1)).await;
    assert_eq!(socket.call("Echo", json!(["whole"])).await["result"], "whole");
}

#[tokio::test(start_paused = true)]
async fn a_new_socket_takes_the_place_of_one_that_seems_to_be_alive() {
    let (service, world) = service();
    let (mut old, token) = Socket::start_stateful(&service).await;
    old.say(ping()).await;
    let mut new = reopen(&service, &token).await;
    assert_eq!(new.hear().await, Some(sequence(1)));
    assert_eq!(old.hear().await, None);
    world.tell(&Ok(json!("news")));
    assert_eq!(new.hear_more().await, Some(told(&json!("news"))));
    assert_eq!(world.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn so_it_does_when_the_old_one_takes_nothing() {
    let (service, world) = service();
    let token = service.token("&useStatefulReconnect=true").await;
    let query = format!("?id={token}");
    let mut old = Socket::open_over(service.wire(500), "/hub", &query).await.unwrap();
    old.shake_hands(2).await;
    old.say(ping()).await;
    world.has(1).await;
    world.tell(&Ok(json!("x".repeat(2000))));
    sleep(seconds(1)).await;
    let mut new = reopen(&service, &token).await;
    assert_eq!(new.hear().await, Some(sequence(1)));
    assert_eq!(new.hear_more().await, Some(told(&json!("x".repeat(2000)))));
    drop(old);
}

#[tokio::test(start_paused = true)]
async fn one_that_took_nothing_for_too_long_is_lost_and_may_come_back() {
    let (service, world) = service();
    let token = service.token("&useStatefulReconnect=true").await;
    let query = format!("?id={token}");
    let mut old = Socket::open_over(service.wire(500), "/hub", &query).await.unwrap();
    old.shake_hands(2).await;
    world.has(1).await;
    old.say(ping()).await;
    world.tell(&Ok(json!("x".repeat(2000))));
    sleep(seconds(10 + 14)).await;
    let mut new = reopen(&service, &token).await;
    assert_eq!(new.hear().await, Some(sequence(1)));
    assert_eq!(world.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_come_back_is_gone() {
    let (service, world) = service();
    let (socket, token) = Socket::start_stateful(&service).await;
    world.has(1).await;
    let began = Instant::now();
    drop(socket);
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 15);
    let gone = Socket::open(&service, &format!("?id={token}")).await.err();
    assert_eq!(gone, Some(StatusCode::NOT_FOUND));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_of_either_side_is_the_end_at_once() {
    let (service, world) = service();
    let began = Instant::now();
    for end in 0..3 {
        let (mut socket, token) = Socket::start_stateful(&service).await;
        world.has(1).await;
        match end {
            0 => socket.say(json!({"type": 7})).await,
            1 => socket.send(tokio_tungstenite::tungstenite::Message::Close(None)).await,
            _ => {
                let close = Close { error: None, allow_reconnect: true, answers_first: false };
                socket.say(ping()).await;
                world.tell(&Err(close));
            }
        }
        world.has(0).await;
        let gone = Socket::open(&service, &format!("?id={token}")).await.err();
        assert_eq!(gone, Some(StatusCode::NOT_FOUND), "{end}");
    }
    assert_eq!(began.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_only_for_clients_that_know_it() {
    let (service, world) = service();
    let token = service.token("&useStatefulReconnect=true").await;
    let mut socket = Socket::open(&service, &format!("?id={token}")).await.unwrap();
    socket.shake_hands(1).await;
    world.has(1).await;
    let again = Socket::open(&service, &format!("?id={token}")).await.err();
    assert_eq!(again, Some(StatusCode::CONFLICT));
    let began = Instant::now();
    drop(socket);
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 0);
    // And not for those who did not ask for it.
    let mut socket = Socket::open(&service, &format!("?id={}", service.token("").await)).await.unwrap();
    socket.shake_hands(2).await;
    world.has(1).await;
    socket.say(invocation("1", "Echo", &json!([1]))).await;
    assert_eq!(socket.hear().await.unwrap()["result"], 1);
    assert_eq!(socket.hear().await, Some(ping()), "nothing is confirmed");
    drop(socket);
    world.has(0).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_that_counts_is_said_before_the_client_has_said_something() {
    let (service, world) = service();
    let began = Instant::now();
    let (mut socket, _) = Socket::start_stateful(&service).await;
    world.has(1).await;
    world.tell(&Ok(json!("news")));
    sleep(seconds(1) / 2).await;
    socket.say(ping()).await;
    assert_eq!(socket.hear_more().await, Some(told(&json!("news"))));
    assert_eq!(began.elapsed(), seconds(1) / 2);
    // But not for long.
    let began = Instant::now();
    let (mut socket, _) = Socket::start_stateful(&service).await;
    world.has(2).await;
    world.tell(&Ok(json!("news")));
    assert_eq!(socket.hear_more().await, Some(told(&json!("news"))));
    assert_eq!(began.elapsed(), seconds(1));
}

#[tokio::test(start_paused = true)]
async fn while_too_much_is_not_confirmed_nothing_is_said() {
    let options = SignalROptions::new().allow_stateful_reconnects(true).stateful_reconnect_buffer_size(100);
    let (service, world) = Service::new(options);
    let (mut socket, _) = Socket::start_stateful(&service).await;
    world.has(1).await;
    socket.say(ping()).await;
    let long = json!("x".repeat(100));
    for _ in 0..3 {
        world.tell(&Ok(long.clone()));
    }
    for number in 1..=3 {
        assert_eq!(socket.hear_more().await, Some(told(&long)));
        // Pings are none of what is held back.
        assert_eq!(socket.hear().await, Some(ping()));
        socket.say(ping()).await;
        socket.say(ack(number)).await;
    }
    assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
}

/// A call that holds up others, and some that wait behind it, of so many bytes together.
async fn sends_too_much(socket: &mut Socket, world: &World, bytes: usize) -> u64 {
    socket.say(invocation("wait", "Wait", &json!([]))).await;
    world.began(1).await;
    let echo = invocation("echo", "Echo", &json!(["x".repeat(1000)]));
    let count = bytes.div_ceil(echo.to_string().len());
    for _ in 0..count {
        socket.say(echo.clone()).await;
    }
    count as u64 + 1
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_too_much_gets_no_confirmation_until_that_is_done() {
    let (service, world) = service();
    let (mut socket, _) = Socket::start_stateful(&service).await;
    let sent = sends_too_much(&mut socket, &world, 64 * 1024).await;
    socket.only_reads(seconds(60)).await;
    world.gate.notify_one();
    for _ in 0..sent {
        assert_eq!(socket.hear_more().await.unwrap()["type"], 3);
    }
    assert_eq!(socket.hear_more().await, Some(ack(sent)));
}

#[tokio::test(start_paused = true)]
async fn confirmations_of_a_client_are_heard_behind_all_that_it_may_have_sent_before() {
    let (service, world) = service();
    let (mut socket, _) = Socket::start_stateful(&service).await;
    world.has(1).await;
    // As much as it keeps until it is confirmed itself.
    sends_too_much(&mut socket, &world, 100_000).await;
    let much = json!("x".repeat(100_000));
    world.tell(&Ok(much.clone()));
    assert_eq!(socket.hear_more().await, Some(told(&much)));
    world.tell(&Ok(json!("more")));
    socket.say(ack(1)).await;
    assert_eq!(socket.hear_more().await, Some(told(&json!("more"))));
}
