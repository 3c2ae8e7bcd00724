//! Clients that say nothing.

use std::time::Duration;

use messenger_core::hub::HubSettings;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Ended, Server};

fn quick() -> HubSettings {
    HubSettings { ping_interval: Duration::from_secs(1), ..HubSettings::default() }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_pinged_and_stays() {
    let server = Server::with_hub(quick()).await;
    let ada = server.register("ada").await;
    let mut socket = ada.connect().await;
    for _ in 0..4 {
        // Reading answers it, as every WebSocket library does.
        assert!(matches!(socket.control().await, Message::Ping(_)));
    }
    socket.ok("Ping", json!({})).await;
    let chat = ada.group(&[]).await;
    assert_eq!(socket.expect("chatAdded").await["chat"]["id"], chat);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone() {
    let server = Server::with_hub(quick()).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let mut lively = bob.connect().await;
    let dead = ada.connect().await;
    // The lively one only reads; its library answers.
    let reading = async {
        loop {
            lively.control().await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = server.has_connections(1) => {}
    }
    lively.ok("Ping", json!({})).await;
    let mut dead = dead;
    assert_eq!(dead.ended().await, Ended::Cut);
}

#[tokio::test]
async fn pings_of_the_client_are_answered() {
    let server = Server::new().await;
    let mut socket = server.register("ada").await.connect().await;
    socket.send(Message::Ping(b"are you there?".as_slice().into())).await;
    assert_eq!(socket.control().await, Message::Pong(b"are you there?".as_slice().into()));
    socket.send(Message::Pong(b"unasked".as_slice().into())).await;
    assert_eq!(socket.ok("Ping", json!({})).await, json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_is_not_taken_for_dead_and_is_heard() {
    let server = Server::with_hub(HubSettings { ping_interval: Duration::from_secs(2), ..quick() }).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chat = ada.group(&[&bob]).await;
    let mut slow = bob.connect_narrow().await;
    slow.ok("Resume", json!({})).await;
    slow.until_caught_up().await;
    // Many times what the system's buffers hold, so that the server has to wait all the time.
    ada.says_quickly(&chat, &"\u{1}".repeat(8000), 600).await;
    let asked = slow.begin("Ping", json!({})).await;
    let mut answered = false;
    for revision in 2..450 {
        sleep(Duration::from_millis(15)).await;
        loop {
            let frame = slow.frame().await;
            if frame["id"] != asked {
                assert_eq!(frame["params"]["revision"], revision);
                break;
            }
            answered = true;
        }
    }
    // It has taken some pings' time to read so much, and what it asked did not wait until it had read all.
    assert!(answered);
}
