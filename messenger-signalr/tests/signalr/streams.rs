//! Streams in both directions, and what the server asks of a client.

use messenger_signalr::SignalROptions;
use serde_json::{Value, json};

use crate::support::{Service, Socket, invocation, seconds};

fn begin(id: &str, target: &str, arguments: &Value) -> Value {
    let mut invocation = invocation(id, target, arguments);
    invocation["type"] = json!(4);
    invocation
}

fn with_uploads(mut invocation: Value, ids: &[&str]) -> Value {
    invocation["streamIds"] = json!(ids);
    invocation
}

fn item(id: &str, item: &Value) -> Value {
    json!({"type": 2, "invocationId": id, "item": item})
}

fn end(id: &str) -> Value {
    json!({"type": 3, "invocationId": id})
}

mod to_the_client {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn items_come_in_order_and_then_the_end() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(begin("s", "Count", &json!([1000]))).await;
        for number in 1..=1000 {
            assert_eq!(socket.hear_more().await, Some(item("s", &json!(number))));
        }
        assert_eq!(socket.hear_more().await, Some(end("s")));
        socket.say(begin("s", "Count", &json!([0]))).await;
        assert_eq!(socket.hear_more().await, Some(end("s")), "the name is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn several_have_their_turns() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for id in ["a", "b", "c"] {
            socket.say(begin(id, "Count", &json!([1_000_000]))).await;
        }
        // The first begins before the others have come.
        while socket.hear_more().await.unwrap()["invocationId"] != "c" {}
        let mut counts = std::collections::HashMap::new();
        for _ in 0..300 {
            let id = socket.hear_more().await.unwrap()["invocationId"].as_str().unwrap().to_owned();
            *counts.entry(id).or_insert(0) += 1;
        }
        assert_eq!(counts, ["a", "b", "c"].map(|id| (id.to_owned(), 100)).into());
    }

    #[tokio::test(start_paused = true)]
    async fn errors_are_told() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(begin("s", "Broken", &json!([]))).await;
        assert_eq!(socket.hear_more().await, Some(item("s", &json!(1))));
        let error = "An error occurred on the server while streaming results. HubException: torn";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
        // What is wrong with the arguments is no error of the stream.
        socket.say(begin("s", "Count", &json!(["many"]))).await;
        let error = "Failed to invoke 'Count' due to an error on the server.";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
        socket.say(begin("s", "Faulty", &json!([]))).await;
        let error = "An error occurred on the server while streaming results.";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_cancelled_ends_and_calls_go_on_meanwhile() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for id in ["first", "second"] {
            socket.say(begin(id, "Endless", &json!([]))).await;
        }
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
        socket.say(begin("second", "Endless", &json!([]))).await;
        let in_use = socket.hear_more().await.unwrap();
        assert_eq!(in_use["error"], "Invocation ID 'second' is already in use.");
        socket.say(json!({"type": 5, "invocationId": "first"})).await;
        assert_eq!(socket.hear_more().await, Some(end("first")));
        socket.only_reads(seconds(60)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_at_once() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for id in 0..64 {
            socket.say(begin(&id.to_string(), "Endless", &json!([]))).await;
        }
        socket.say(begin("more", "Endless", &json!([]))).await;
        let error = "An unexpected error occurred invoking 'Endless' on the server. \
                     HubException: Too many streams at once.";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
        socket.say(json!({"type": 5, "invocationId": "0"})).await;
        assert_eq!(socket.hear_more().await, Some(end("0")));
        socket.say(begin("more", "Endless", &json!([]))).await;
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
    }
}

mod from_the_client {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn items_reach_the_method() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Sum", &json!([])), &["u"])).await;
        for number in 1..=100 {
            socket.say(item("u", &json!(number))).await;
        }
        socket.say(end("u")).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], 5050.0);
    }

    #[tokio::test(start_paused = true)]
    async fn several_at_a_time_don_t_wait_for_each_other() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for id in ["1", "2"] {
            socket.say(with_uploads(invocation(id, "Sum", &json!([])), &[&format!("u{id}")])).await;
        }
        socket.say(item("u2", &json!(2))).await;
        socket.say(end("u2")).await;
        let answer = socket.hear_more().await.unwrap();
        assert_eq!((&answer["invocationId"], &answer["result"]), (&json!("2"), &json!(2.0)));
        socket.say(item("u1", &json!(1))).await;
        socket.say(end("u1")).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_the_client_gives_up_is_an_error_in_the_method() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Sum", &json!([])), &["u"])).await;
        socket.say(item("u", &json!(1))).await;
        socket.say(json!({"type": 3, "invocationId": "u", "error": "changed my mind"})).await;
        let error =
            "An unexpected error occurred invoking 'Sum' on the server. HubException: changed my mind";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_is_for_one_stream() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Both", &json!([])), &["u", "u"])).await;
        let in_use = "Invocation ID 'u' is already in use.";
        assert_eq!(socket.hear_more().await.unwrap()["error"], in_use);
        socket.say(with_uploads(invocation("1", "Both", &json!([])), &["u", "v"])).await;
        socket.say(with_uploads(invocation("2", "Sum", &json!([])), &["v"])).await;
        let in_use = "Invocation ID 'v' is already in use.";
        let refused = socket.hear_more().await.unwrap();
        assert_eq!((&refused["invocationId"], &refused["error"]), (&json!("2"), &json!(in_use)));
        for record in [item("u", &json!(1)), item("v", &json!(10)), end("u"), end("v")] {
            socket.say(record).await;
        }
        assert_eq!(socket.hear_more().await.unwrap()["result"], 11.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wrong_number_of_them_is_refused() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Echo", &json!([1])), &["u"])).await;
        let error = "An unexpected error occurred invoking 'Echo' on the server. \
                     HubException: Client sent 1 stream(s), Hub method expects 0.";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many_at_once() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for id in 0..32 {
            let id = id.to_string();
            socket.say(with_uploads(invocation(&id, "Sum", &json!([])), &[&format!("u{id}")])).await;
        }
        socket.say(with_uploads(invocation("more", "Sum", &json!([])), &["more"])).await;
        let error = "An unexpected error occurred invoking 'Sum' on the server. \
                     HubException: Too many streams at once.";
        let refused = socket.hear_more().await.unwrap();
        assert_eq!((&refused["invocationId"], &refused["error"]), (&json!("more"), &json!(error)));
        // Other calls have their places.
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
        socket.say(end("u0")).await;
        assert_eq!(socket.hear_more().await.unwrap()["invocationId"], "0");
        socket.say(with_uploads(invocation("more", "Sum", &json!([])), &["more"])).await;
        socket.say(end("more")).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_method_does_not_take_waits_and_calls_wait_behind_it() {
        let (service, world) = Service::new(SignalROptions::new().stream_buffer_capacity(2));
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Late", &json!([])), &["u"])).await;
        world.began(1).await;
        for number in 1..=6 {
            socket.say(item("u", &json!(number))).await;
        }
        socket.say(end("u")).await;
        socket.say(invocation("2", "Echo", &json!(["behind"]))).await;
        socket.only_reads(seconds(60)).await;
        world.gate.notify_one();
        let answers = [socket.hear_more().await.unwrap(), socket.hear_more().await.unwrap()];
        let mut results = answers.map(|answer| answer["result"].to_string());
        results.sort();
        assert_eq!(results, ["\"behind\"", "21.0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_method_left_is_nobody_s() {
        let (service, world) = Service::new(SignalROptions::new().stream_buffer_capacity(1));
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Deaf", &json!([])), &["u"])).await;
        for number in 0..5 {
            socket.say(item("u", &json!(number))).await;
        }
        world.began(1).await;
        world.gate.notify_one();
        assert_eq!(socket.hear_more().await.unwrap()["result"], "waited");
        socket.say(item("u", &json!("late"))).await;
        socket.say(end("u")).await;
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_not_complete_fail_when_the_client_is_lost() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(with_uploads(invocation("1", "Keep", &json!([])), &["u"])).await;
        socket.say(item("u", &json!(1))).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], "kept");
        drop(socket);
        assert_eq!(world.last_error().await, "The connection was lost before the stream was complete.");
    }
}

mod asked_of_the_client {
    use super::*;

    /// The question that the client is asked.
    async fn question(socket: &mut Socket) -> Value {
        let question = socket.hear_more().await.unwrap();
        assert_eq!((&question["type"], &question["target"]), (&json!(1), &json!("name")), "{question}");
        assert_eq!(question["arguments"], json!(["why"]));
        question["invocationId"].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn its_answer_is_the_result() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        let mut ids = Vec::new();
        for name in [json!("ada"), Value::Null] {
            socket.say(invocation("1", "Ask", &json!([]))).await;
            let id = question(&mut socket).await;
            socket.say(json!({"type": 3, "invocationId": id, "result": name})).await;
            assert_eq!(socket.hear_more().await.unwrap()["result"], name);
            ids.push(id);
        }
        assert_ne!(ids[0], ids[1]);
        // One without a result has none.
        socket.say(invocation("1", "Ask", &json!([]))).await;
        let id = question(&mut socket).await;
        socket.say(json!({"type": 3, "invocationId": id})).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], Value::Null);
    }

    #[tokio::test(start_paused = true)]
    async fn its_refusal_is_an_error() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(invocation("1", "Ask", &json!([]))).await;
        let id = question(&mut socket).await;
        socket.say(json!({"type": 3, "invocationId": id, "error": "no name"})).await;
        let error = "An unexpected error occurred invoking 'Ask' on the server. \
                     HubException: the client answered with an error: no name";
        assert_eq!(socket.hear_more().await.unwrap()["error"], error);
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_of_another_client_is_none() {
        let (service, _) = Service::new(SignalROptions::new());
        let [mut asked, mut other] = [Socket::start(&service).await, Socket::start(&service).await];
        asked.say(invocation("1", "Ask", &json!([]))).await;
        let id = question(&mut asked).await;
        other.say(json!({"type": 3, "invocationId": id, "result": "eve"})).await;
        assert_eq!(other.call("Echo", json!([1])).await["result"], 1);
        asked.say(json!({"type": 3, "invocationId": id, "result": "ada"})).await;
        assert_eq!(asked.hear_more().await.unwrap()["result"], "ada");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_behind_the_one_that_asks_go_on() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(invocation("1", "Ask", &json!([]))).await;
        let id = question(&mut socket).await;
        assert_eq!(socket.call("Echo", json!([1])).await["result"], 1);
        socket.say(json!({"type": 3, "invocationId": id, "result": "ada"})).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], "ada");
    }

    #[tokio::test(start_paused = true)]
    async fn its_answer_does_not_wait_behind_calls() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(invocation("1", "Ask", &json!([]))).await;
        let id = question(&mut socket).await;
        for call in ["2", "3"] {
            socket.say(invocation(call, "Wait", &json!([]))).await;
        }
        world.began(1).await;
        socket.say(json!({"type": 3, "invocationId": id, "result": "ada"})).await;
        assert_eq!(socket.hear_more().await.unwrap()["result"], "ada");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_client_that_is_gone() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        world.has(1).await;
        world.ask().await;
        question(&mut socket).await;
        drop(socket);
        assert_eq!(world.last_error().await, "the connection has ended");
        world.has(0).await;
        world.ask().await;
        assert_eq!((world.errors(), world.last_error().await), (2, "the connection has ended".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_questions_wait_for_a_client_that_takes_nothing() {
        let (service, world) = Service::new(SignalROptions::new().allow_stateful_reconnects(true));
        // Nothing is said to one that can resume before it has said something.
        let (_silent, _) = Socket::start_stateful(&service).await;
        world.has(1).await;
        for _ in 0..64 {
            world.ask().await;
        }
        assert_eq!(world.errors(), 0);
        world.ask().await;
        assert_eq!(world.last_error().await, "too many questions wait for the client");
    }
}
