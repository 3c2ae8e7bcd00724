//! JSON-RPC 2.0: what is a request, how it is answered, and what happens to what is none.

use serde_json::{Value, json};

use crate::support::{ID, Server, Socket, is_fault, is_refusal};

const PARSE: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const NO_SUCH_METHOD: i64 = -32601;

async fn socket() -> Socket {
    Server::new().await.register("ada").await.connect().await
}

#[tokio::test]
async fn an_answer_has_the_id_of_its_request() {
    let mut socket = socket().await;
    for id in [
        json!(1),
        json!(0),
        json!(-7),
        json!(1.5),
        json!("one"),
        json!(""),
        json!("\u{1F980}\""),
        json!(null),
    ] {
        socket.say(&json!({"jsonrpc": "2.0", "id": id, "method": "Ping"})).await;
        assert_eq!(socket.frame().await, json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
    // As it was written: a client may compare text.
    socket.send(r#"{"jsonrpc":"2.0","id":1.50e1,"method":"Ping"}"#).await;
    assert_eq!(socket.message().await.unwrap(), r#"{"jsonrpc":"2.0","id":1.50e1,"result":{}}"#);
    socket.send(r#"{"jsonrpc":"2.0","id":18446744073709551616,"method":"Nothing"}"#).await;
    assert!(socket.message().await.unwrap().contains(r#""id":18446744073709551616,"error""#));
}

#[tokio::test]
async fn an_id_is_text_a_number_or_null() {
    let mut socket = socket().await;
    for id in [json!(true), json!(false), json!([]), json!([1]), json!({}), json!({"a": 1})] {
        socket.say(&json!({"jsonrpc": "2.0", "id": id, "method": "Ping"})).await;
        let answer = socket.frame().await;
        is_fault(&answer, INVALID_REQUEST);
        assert_eq!(answer["id"], Value::Null);
    }
}

#[tokio::test]
async fn a_request_without_an_id_is_done_and_not_answered() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut socket = ada.connect().await;
    let notifications = [
        json!({"jsonrpc": "2.0", "method": "SendMessage", "params": {"chatId": chat, "body": "quietly"}}),
        json!({"jsonrpc": "2.0", "method": "SendMessage", "params": {"chatId": ID, "body": "nowhere"}}),
        json!({"jsonrpc": "2.0", "method": "SendMessage", "params": 7}),
        json!({"jsonrpc": "2.0", "method": "NoSuchThing"}),
        json!([{"jsonrpc": "2.0", "method": "GetMe"}, {"jsonrpc": "2.0", "method": "NoSuchThing"}]),
    ];
    for notification in &notifications {
        socket.say(notification).await;
    }
    socket.ok("Ping", json!({})).await;
    assert_eq!(ada.history(&chat).await[1]["body"], "quietly");
}

#[tokio::test]
async fn parameters_are_an_object_null_or_absent() {
    let mut socket = socket().await;
    for params in [json!({}), json!(null)] {
        socket.ok("GetMe", params).await;
    }
    for params in [json!([]), json!([{}]), json!(1), json!("{}"), json!(true)] {
        for method in ["GetMe", "Ping", "Resume", "WatchPresence"] {
            socket.refused(method, params.clone(), "malformed").await;
        }
    }
}

#[tokio::test]
async fn what_is_not_json_is_a_parse_error() {
    let mut socket = socket().await;
    let deep = "[".repeat(100_000);
    let deep_object = r#"{"a":"#.repeat(40_000);
    for text in [
        "",
        " ",
        "{",
        "nonsense",
        "{}{}",
        "[1,",
        "[1}",
        "\u{feff}{}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"Ping\",\"id\":1}x",
        "{\"jsonrpc\":\"2.0\",\"method\":\"\\ud800\",\"id\":1}",
        "{'jsonrpc':'2.0'}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"Ping\n\",\"id\":1}",
        &deep,
        &deep_object,
    ] {
        socket.send(text).await;
        let answer = socket.frame().await;
        is_fault(&answer, PARSE);
        assert_eq!(answer["id"], Value::Null, "{text:.40}");
    }
    socket.ok("Ping", json!({})).await;
}

#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request() {
    let mut socket = socket().await;
    for text in [
        "{}",
        "1",
        "null",
        "\"Ping\"",
        "true",
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":["Ping"]}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"Ping"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"Ping"}"#,
        r#"{"id":1,"method":"Ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"Ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"Ping","method":"GetMe"}"#,
        // An answer: the server asks nothing.
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        "[]",
        " [ ] ",
    ] {
        socket.send(text).await;
        let answer = socket.frame().await;
        is_fault(&answer, INVALID_REQUEST);
        assert_eq!(answer["id"], Value::Null, "{text}");
    }
    socket.ok("Ping", json!({})).await;
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_not_found() {
    let mut socket = socket().await;
    let long = "x".repeat(10_000);
    for method in [
        "",
        " ",
        "Nothing",
        "Get",
        "GetMe ",
        "get_me",
        "RegisterUser",
        "LogIn",
        "caughtUp",
        "\u{0}",
        "Ｐing",
        &long,
    ] {
        let answer = socket.call(method, json!({})).await;
        is_fault(&answer, NO_SUCH_METHOD);
    }
}

#[tokio::test]
async fn a_refusal_carries_the_problem() {
    let mut socket = socket().await;
    let answer = socket.call("GetUser", json!({"userId": ID})).await;
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "notFound", "data": {
            "type": "https://github.com/messenger-rs/messenger/blob/main/docs/http-api.md#notFound",
            "title": "Not found",
            "status": 404,
            "detail": "There is no such person, or it is not yours to see.",
            "code": "notFound",
        }}})
    );
    let problem = socket.refused("CreateGroupChat", json!({"title": "", "memberIds": []}), "invalid").await;
    assert_eq!(problem["errors"][0]["pointer"], "/title");
    let problem = socket.refused("GetUser", json!({"userId": ID, "colour": 1}), "malformed").await;
    assert!(problem["detail"].as_str().unwrap().contains("`colour`"), "{problem}");
}

fn by_id(answers: &Value) -> Vec<&Value> {
    let mut answers: Vec<&Value> = answers.as_array().unwrap().iter().collect();
    answers.sort_by_key(|answer| answer["id"].as_u64());
    answers
}

#[tokio::test]
async fn a_batch_is_answered_in_one_frame() {
    let mut socket = socket().await;
    socket
        .say(&json!([
            {"jsonrpc": "2.0", "id": 1, "method": "GetMe"},
            {"jsonrpc": "2.0", "method": "Ping"},
            7,
            {"jsonrpc": "2.0", "id": 2, "method": "Nothing"},
            {"jsonrpc": "2.0", "id": 3, "method": "GetUser", "params": {"userId": ID}},
            {"jsonrpc": "2.0", "id": 4, "method": "GetUser", "params": {}},
            [],
            {"jsonrpc": "2.0", "id": 5, "method": "Ping"},
        ]))
        .await;
    let answers = socket.frame().await;
    let answers = by_id(&answers);
    assert_eq!(answers.len(), 7);
    for fault in &answers[..2] {
        is_fault(fault, INVALID_REQUEST);
        assert_eq!(fault["id"], Value::Null);
    }
    assert_eq!(answers[2]["result"]["username"], "ada");
    is_fault(answers[3], NO_SUCH_METHOD);
    is_refusal(answers[4], "notFound");
    is_refusal(answers[5], "malformed");
    assert_eq!(*answers[6], json!({"jsonrpc": "2.0", "id": 5, "result": {}}));
}

#[tokio::test]
async fn the_requests_of_a_batch_are_begun_in_order() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut socket = ada.connect().await;
    let send = |n: usize| json!({"jsonrpc": "2.0", "id": n, "method": "SendMessage", "params": {"chatId": chat, "body": n.to_string()}});
    socket.say(&(1..=100).map(send).collect()).await;
    // Not before all of the batch is the next request begun.
    let last = socket.begin("SendMessage", json!({"chatId": chat, "body": "last"})).await;
    let answers = loop {
        let frame = socket.frame().await;
        if frame.is_array() {
            break frame;
        }
        assert!(frame.get("method").is_some() || frame["id"] == last);
    };
    for (n, answer) in by_id(&answers).into_iter().enumerate() {
        assert_eq!(answer["result"]["seq"], n + 2, "{answer}");
    }
    let said: Vec<Value> =
        ada.history(&chat).await[1..].iter().map(|message| message["body"].clone()).collect();
    let expected = (1..=100).map(|n| json!(n.to_string())).chain([json!("last")]);
    assert_eq!(said, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_of_too_many_is_refused_as_a_whole() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut socket = ada.connect().await;
    let send =
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"chatId": chat, "body": "x"}});
    socket.say(&vec![send; 101].into()).await;
    let answer = socket.frame().await;
    assert_eq!(answer["id"], Value::Null);
    is_refusal(&answer, "malformed");
    assert_eq!(ada.history(&chat).await.len(), 1);
}

#[tokio::test]
async fn a_batch_of_faults_alone_is_answered() {
    let mut socket = socket().await;
    socket.send("[1,2,3]").await;
    let answers = socket.frame().await;
    assert_eq!(answers.as_array().unwrap().len(), 3);
    answers.as_array().unwrap().iter().for_each(|answer| is_fault(answer, INVALID_REQUEST));
}
