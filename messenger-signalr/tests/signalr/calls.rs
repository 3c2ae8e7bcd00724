//! What a client asks for, and what it is answered.

use messenger_signalr::SignalROptions;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{RECORD_END, Service, Socket, are_answered, invocation, many_calls, ping, seconds};

fn failed(id: &str, error: &str) -> Option<Value> {
    Some(json!({"type": 3, "invocationId": id, "error": error}))
}

fn done(id: &str, result: &Value) -> Option<Value> {
    Some(json!({"type": 3, "invocationId": id, "result": result}))
}

#[tokio::test(start_paused = true)]
async fn a_result_is_given_under_the_id_of_its_call() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for (id, target) in [("1", "Echo"), ("two", "eCHO")] {
        socket.say(invocation(id, target, &json!([{"a": [1, null]}]))).await;
        assert_eq!(socket.hear_more().await, done(id, &json!({"a": [1, null]})));
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_said_as_asp_net_core_says_it() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for (target, arguments, error) in [
        ("Told", json!([]), "An unexpected error occurred invoking 'Told' on the server. HubException: no"),
        ("Hidden", json!([]), "An unexpected error occurred invoking 'Hidden' on the server."),
        ("Forbidden", json!([]), "Failed to invoke 'Forbidden' because user is unauthorized"),
        ("Echo", json!([1, 2]), "Failed to invoke 'Echo' due to an error on the server."),
        (
            "Nothing",
            json!([]),
            "Failed to invoke 'Nothing' due to an error on the server. HubException: Method does not exist.",
        ),
        (
            "Count",
            json!([3]),
            "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
        ),
        (
            "Sum",
            json!([]),
            "An unexpected error occurred invoking 'Sum' on the server. \
             HubException: Client sent 0 stream(s), Hub method expects 1.",
        ),
    ] {
        socket.say(invocation("7", target, &arguments)).await;
        assert_eq!(socket.hear_more().await, failed("7", error));
    }
    let mut streaming = invocation("7", "Echo", &json!([1]));
    streaming["type"] = json!(4);
    socket.say(streaming).await;
    let error = "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.";
    assert_eq!(socket.hear_more().await, failed("7", error));
}

#[tokio::test(start_paused = true)]
async fn of_a_long_name_only_the_beginning_is_repeated() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    socket.say(invocation("1", &"x".repeat(101), &json!([]))).await;
    let name = "x".repeat(100);
    let error = format!(
        "Failed to invoke '{name}' due to an error on the server. HubException: Method does not exist."
    );
    assert_eq!(socket.hear_more().await, failed("1", &error));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_arguments_is_told_where_details_are() {
    let (service, _) = Service::new(SignalROptions::new().enable_detailed_errors(true));
    let mut socket = Socket::start(&service).await;
    socket.say(invocation("1", "Echo", &json!([1, 2]))).await;
    let error = "Failed to invoke 'Echo' due to an error on the server. \
                 InvalidDataException: Invocation provides 2 argument(s) but target expects 1.";
    assert_eq!(socket.hear_more().await, failed("1", error));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_id_is_done_and_not_answered() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for target in ["Echo", "Told", "Nothing", "Place"] {
        socket.say(json!({"type": 1, "target": target, "arguments": [1]})).await;
    }
    world.began(1).await;
    world.gate.notify_one();
    socket.say(invocation("last", "Echo", &json!([2]))).await;
    assert_eq!(socket.hear_more().await, done("last", &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_one_before_them() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for (id, target) in [("1", "Wait"), ("2", "Echo"), ("3", "Wait"), ("4", "Echo")] {
        socket.say(invocation(id, target, &json!([id]))).await;
    }
    world.began(1).await;
    socket.only_reads(seconds(60)).await;
    world.gate.notify_one();
    assert_eq!(socket.hear_more().await, done("1", &json!("waited")));
    assert_eq!(socket.hear_more().await, done("2", &json!("2")));
    world.began(2).await;
    world.gate.notify_one();
    assert_eq!(socket.hear_more().await, done("3", &json!("waited")));
    assert_eq!(socket.hear_more().await, done("4", &json!("4")));
}

#[tokio::test(start_paused = true)]
async fn calls_that_have_their_place_don_t_hold_up_those_behind_them() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for id in 0..3 {
        socket.say(invocation(&id.to_string(), "Place", &json!([]))).await;
    }
    socket.say(invocation("echo", "Echo", &json!([7]))).await;
    assert_eq!(socket.hear_more().await, done("echo", &json!(7)));
    world.began(3).await;
    // One that sees what those before it have done waits for all of them.
    socket.say(invocation("wait", "Wait", &json!([]))).await;
    socket.only_reads(seconds(60)).await;
    assert_eq!(world.calls(), 3);
    for _ in 0..3 {
        world.gate.notify_one();
        let answer = socket.hear_more().await.unwrap();
        assert_ne!(answer["invocationId"], "wait");
    }
    world.began(4).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_came_with_the_handshake_are_answered_after_it() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::open(&service, "").await.unwrap();
    let handshake = "{\"protocol\":\"json\",\"version\":1}\u{1e}";
    let echo = invocation("1", "Echo", &json!([5]));
    socket.send(format!("{handshake}{echo}\u{1e}{echo}\u{1e}")).await;
    assert_eq!(socket.hear().await, Some(json!({})));
    for _ in 0..2 {
        assert_eq!(socket.hear_more().await, done("1", &json!(5)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_come_in_pieces() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    let echo = format!("{}\u{1e}", invocation("1", "Echo", &json!([5])));
    for letter in echo.chars() {
        socket.send(letter.to_string()).await;
    }
    assert_eq!(socket.hear_more().await, done("1", &json!(5)));
    // And in frames of the other kind.
    socket.send(tokio_tungstenite::tungstenite::Message::binary(echo)).await;
    assert_eq!(socket.hear_more().await, done("1", &json!(5)));
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_says_comes_in_order() {
    let (service, world) = Service::new(SignalROptions::new());
    let mut sockets = [Socket::start(&service).await, Socket::start(&service).await];
    world.has(2).await;
    for number in 0..1000 {
        world.tell(&Ok(json!(number)));
    }
    for socket in &mut sockets {
        for number in 0..1000 {
            let told = json!({"type": 1, "target": "told", "arguments": [number]});
            assert_eq!(socket.hear_more().await, Some(told));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_pings_at_its_interval_whatever_else_it_says() {
    let (service, world) = Service::new(SignalROptions::new().keep_alive_interval(seconds(10)));
    let mut socket = Socket::start(&service).await;
    let began = tokio::time::Instant::now();
    for number in 1..=5 {
        tokio::time::sleep(seconds(5)).await;
        world.tell(&Ok(json!("something")));
        assert_eq!(socket.hear().await.unwrap()["type"], 1);
        assert_eq!(socket.hear().await, Some(ping()));
        assert_eq!(began.elapsed().as_secs(), 10 * number);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_is_passed_over() {
    let (service, _) = Service::new(SignalROptions::new());
    let mut socket = Socket::start(&service).await;
    for nothing in [
        json!({"type": 99}),
        json!({"type": 2, "invocationId": "none", "item": 1}),
        json!({"type": 3, "invocationId": "none", "result": 1}),
        json!({"type": 5, "invocationId": "none"}),
        json!({"type": 8, "sequenceId": 1}),
        json!({"type": 9, "sequenceId": 1}),
    ] {
        socket.say(nothing).await;
    }
    assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
}

#[tokio::test(start_paused = true)]
async fn many_that_are_answered_at_once_keep_nothing_waiting_behind_them() {
    let (service, world) = Service::new(SignalROptions::new().allow_stateful_reconnects(true));
    let plain = Socket::start(&service).await;
    let (stateful, _) = Socket::start_stateful(&service).await;
    for mut socket in [plain, stateful] {
        let began = Instant::now();
        world.gate.notify_one();
        let all: String = many_calls().iter().map(|call| format!("{call}{RECORD_END}")).collect();
        socket.send(all).await;
        let mut answers = Vec::new();
        while answers.len() <= 1000 {
            answers.push(socket.hear().await.unwrap());
        }
        are_answered(&answers);
        assert_eq!(began.elapsed().as_secs(), 0);
    }
}
