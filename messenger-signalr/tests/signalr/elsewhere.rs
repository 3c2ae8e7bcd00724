//! A client that negotiates with one node and connects to another, as behind a balancer without sticky sessions.

use http::StatusCode;
use messenger_signalr::SignalROptions;
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Service, Socket, handshake, ping, seconds};

fn nodes() -> [(Service, std::sync::Arc<crate::hub::World>); 2] {
    [(); 2].map(|()| Service::new(SignalROptions::new().allow_stateful_reconnects(true)))
}

#[tokio::test(start_paused = true)]
async fn a_web_socket_begins_at_another_node_than_its_negotiation() {
    let [(here, _), (there, world)] = nodes();
    let token = here.token("").await;
    let mut socket = Socket::open(&there, &format!("?id={token}")).await.unwrap();
    socket.shake_hands(1).await;
    assert_eq!(socket.call("Echo", json!(["hello"])).await["result"], "hello");
    assert_eq!(world.count(), 1);
    // It was not agreed that another socket may replace it.
    assert_eq!(Socket::open(&there, &format!("?id={token}")).await.err(), Some(StatusCode::CONFLICT));
}

#[tokio::test(start_paused = true)]
async fn what_was_agreed_with_the_one_node_holds_at_the_other() {
    let [(here, _), (there, world)] = nodes();
    let token = here.token("&useStatefulReconnect=true").await;
    let mut socket = Socket::open(&there, &format!("?id={token}")).await.unwrap();
    socket.shake_hands(2).await;
    assert_eq!(socket.call("Echo", json!(["before"])).await["result"], "before");
    drop(socket);
    sleep(seconds(3)).await;
    let mut socket = Socket::open(&there, &format!("?id={token}")).await.unwrap();
    assert_eq!(socket.hear().await.unwrap()["type"], 9);
    assert_eq!(world.count(), 1, "it is the same connection");
}

#[tokio::test(start_paused = true)]
async fn one_that_returns_to_a_node_that_does_not_know_it_is_turned_away() {
    let [(here, _), (there, world)] = nodes();
    let (socket, token) = Socket::start_stateful(&here).await;
    drop(socket);
    sleep(seconds(3)).await;
    // Within a minute the socket is taken, but no connection begins without a handshake.
    let mut socket = Socket::open(&there, &format!("?id={token}")).await.unwrap();
    socket.say(json!({"type": 9, "sequenceId": 1})).await;
    assert!(socket.hear().await.unwrap()["error"].is_string());
    assert_eq!(socket.hear().await, None);
    assert_eq!(world.count(), 0);
    // Meanwhile its own node has kept it.
    let mut socket = Socket::open(&here, &format!("?id={token}")).await.unwrap();
    assert_eq!(socket.hear().await.unwrap()["type"], 9);
}

#[tokio::test(start_paused = true)]
async fn other_transports_need_the_node_of_the_negotiation() {
    let [(here, _), (there, _)] = nodes();
    let token = here.token("").await;
    for accept in ["text/event-stream", "*/*"] {
        let response = there.request("GET", &format!("?id={token}"), accept, String::new()).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{accept}");
    }
    assert_eq!(there.post(&token, &[handshake("json", 1), ping()]).await, StatusCode::NOT_FOUND);
    for id in ["made-up", &token[1..]] {
        assert_eq!(Socket::open(&there, &format!("?id={id}")).await.err(), Some(StatusCode::NOT_FOUND));
    }
}
