//! What comes before a client is connected.

use messenger_signalr::SignalROptions;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Service, Socket, handshake, invocation, seconds};

async fn refused(options: SignalROptions, request: &str) -> (Option<Value>, bool) {
    let (service, world) = Service::new(options);
    let mut socket = Socket::open(&service, "").await.unwrap();
    socket.send(request.to_owned()).await;
    let answer = socket.hear().await;
    assert_eq!(socket.hear().await, None);
    (answer, world.count() > 0)
}

fn error(text: &str) -> (Option<Value>, bool) {
    (Some(json!({ "error": text })), false)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_is_refused() {
    let echo = invocation("1", "Echo", &json!([1])).to_string();
    for request in [
        "{",
        "[]",
        "{}",
        "7",
        r#"{"protocol":"json"}"#,
        r#"{"version":1}"#,
        r#"{"protocol":1,"version":1}"#,
        &echo,
    ] {
        let answer = refused(SignalROptions::new(), &format!("{request}\u{1e}")).await;
        assert_eq!(answer, error("An unexpected error occurred during connection handshake."), "{request}");
        let detailed = SignalROptions::new().enable_detailed_errors(true);
        let (answer, _) = refused(detailed, &format!("{request}\u{1e}")).await;
        let text = answer.unwrap()["error"].as_str().unwrap().to_owned();
        let begin = "An unexpected error occurred during connection handshake. InvalidDataException: ";
        assert!(text.len() > begin.len() && text.starts_with(begin), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_protocol_or_version_is_refused() {
    for (name, version, text) in [
        ("xml", 1, "The protocol 'xml' is not supported."),
        ("json", 3, "The server does not support version 3 of the 'json' protocol."),
        ("messagepack", 9, "The server does not support version 9 of the 'messagepack' protocol."),
    ] {
        let request = format!("{}\u{1e}", handshake(name, version));
        assert_eq!(refused(SignalROptions::new(), &request).await, error(text));
    }
    let request = format!("{}\u{1e}", handshake(&"x".repeat(101), 1));
    let text = format!("The protocol '{}' is not supported.", "x".repeat(100));
    assert_eq!(refused(SignalROptions::new(), &request).await, error(&text));
}

#[tokio::test(start_paused = true)]
async fn the_names_of_protocols_have_no_case_and_older_versions_will_do() {
    for (name, version) in [("JSON", 0), ("Json", 1), ("json", 2)] {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::open(&service, "").await.unwrap();
        socket.say(handshake(name, version)).await;
        assert_eq!(socket.hear().await, Some(json!({})));
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_come_in_time_or_is_too_long_is_cancelled() {
    let (service, _) = Service::new(SignalROptions::new().handshake_timeout(seconds(7)));
    let mut socket = Socket::open(&service, "").await.unwrap();
    let began = Instant::now();
    socket.send("{\"protocol\"").await;
    assert_eq!(socket.hear().await, error("Handshake was canceled.").0);
    assert_eq!((socket.hear().await, began.elapsed().as_secs()), (None, 7));

    let options = SignalROptions::new().maximum_receive_message_size(100);
    let long = format!("{{\"protocol\":\"json\",\"version\":1,\"x\":\"{}\"}}\u{1e}", "x".repeat(100));
    assert_eq!(refused(options, &long).await, error("Handshake was canceled."));
}

#[tokio::test(start_paused = true)]
async fn a_client_may_take_its_time_and_show_meanwhile_that_it_is_there() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::open(&service, "").await.unwrap();
    sleep(seconds(7)).await;
    socket.send(tokio_tungstenite::tungstenite::Message::Pong(Default::default())).await;
    sleep(seconds(7)).await;
    socket.shake_hands(1).await;
    world.has(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_may_refuse_a_client() {
    for (detailed, text) in
        [(false, "Connection closed with an error."), (true, "Connection closed with an error. not you")]
    {
        let (service, _) = Service::new(SignalROptions::new().enable_detailed_errors(detailed));
        let mut socket = Socket::open(&service, "?access_token=unwelcome").await.unwrap();
        socket.shake_hands(1).await;
        assert_eq!(socket.hear().await, Some(json!({"type": 7, "error": text})));
        assert_eq!(socket.hear().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_can_t_be_connected_at_the_moment_may_come_again() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::open(&service, "?access_token=early").await.unwrap();
    socket.shake_hands(1).await;
    let close = json!({"type": 7, "error": "Connection closed with an error.", "allowReconnect": true});
    assert_eq!((socket.hear().await, socket.hear().await), (Some(close), None));
}

#[tokio::test(start_paused = true)]
async fn a_hub_may_not_keep_a_client_waiting_for_ever() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::open(&service, "?access_token=stuck").await.unwrap();
    let began = Instant::now();
    socket.shake_hands(1).await;
    let close = json!({"type": 7, "error": "Connection closed with an error."});
    assert_eq!((socket.hear().await, began.elapsed().as_secs()), (Some(close), 15));
}
