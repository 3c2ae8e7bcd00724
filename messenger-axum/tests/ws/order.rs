//! Many requests under way, long answers, and the order of both.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Server, is_refusal};

#[tokio::test]
async fn five_hundred_sends_without_waiting_keep_their_order() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chats = [ada.group(&[&bob]).await, ada.group(&[&bob]).await];
    let (mut adas, mut bobs) = (ada.online().await, bob.online().await);
    let mut sent = Vec::new();
    for n in 0..500 {
        let message = json!({"chatId": chats[n % 2], "body": n.to_string(), "clientId": n.to_string()});
        sent.push(adas.begin("SendMessage", message).await);
    }
    for (n, id) in sent.into_iter().enumerate() {
        let message = adas.answer(id).await["result"].clone();
        assert_eq!((&message["seq"], &message["body"]), (&json!(n / 2 + 2), &json!(n.to_string())));
    }
    for socket in [&mut adas, &mut bobs] {
        let mut last = [1, 1];
        for _ in 0..500 {
            let event = socket.expect("messageCreated").await;
            let n: usize = event["message"]["body"].as_str().unwrap().parse().unwrap();
            last[n % 2] += 1;
            assert_eq!(event["revision"], last[n % 2]);
            assert_eq!(event["message"]["seq"], last[n % 2]);
        }
    }
}

#[tokio::test]
async fn requests_are_begun_in_the_order_in_which_they_came() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut socket = ada.connect().await;
    let mut asked = Vec::new();
    for n in 0..50 {
        asked.push(socket.begin("UpdateChat", json!({"chatId": chat, "title": n.to_string()})).await);
        asked.push(socket.begin("SendMessage", json!({"chatId": chat, "body": n.to_string()})).await);
        asked.push(socket.begin("GetChat", json!({"chatId": chat})).await);
    }
    for (index, id) in asked.into_iter().enumerate() {
        let result = socket.answer(id).await["result"].clone();
        if index % 3 == 2 {
            assert_eq!(result["title"], (index / 3).to_string());
        }
    }
    let history = ada.history(&chat).await;
    let place =
        |of: &dyn Fn(&Value) -> &Value, text: &str| history.iter().position(|message| *of(message) == text);
    for n in (0..50).map(|n| n.to_string()) {
        let retitled = place(&|message| &message["system"]["title"], &n).unwrap();
        let said = place(&|message| &message["body"], &n).unwrap();
        assert!(retitled < said, "{n}: {retitled} {said}");
    }
}

#[tokio::test]
async fn sends_of_many_connections_leave_no_gap() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chat = ada.group(&[&bob]).await;
    let mut reader = bob.online().await;
    let senders = (0..8).map(|sender| {
        let (person, chat) = ([&ada, &bob][sender % 2].clone(), chat.clone());
        tokio::spawn(async move {
            let mut socket = person.connect().await;
            let mut sent = Vec::new();
            for n in 0..50 {
                let body = format!("{sender}/{n}");
                sent.push(socket.begin("SendMessage", json!({"chatId": chat, "body": body})).await);
            }
            let mut last = 0;
            for id in sent {
                let seq = socket.answer(id).await["result"]["seq"].as_u64().unwrap();
                assert!(seq > last, "{seq} after {last}");
                last = seq;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let mut of_each = [0; 8];
    for revision in 2..402 {
        let event = reader.expect("messageCreated").await;
        assert_eq!(event["revision"], revision);
        let body = event["message"]["body"].as_str().unwrap();
        let (sender, n) = body.split_once('/').unwrap();
        let expected = &mut of_each[sender.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<usize>().unwrap(), *expected);
        *expected += 1;
    }
}

#[tokio::test]
async fn the_longest_answers_arrive() {
    let server = Server::new().await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut socket = ada.connect().await;
    // Each of these characters takes six bytes in JSON.
    let longest = "\u{1}".repeat(8000);
    for _ in 0..200 {
        assert_eq!(socket.says(&chat, &longest).await["body"], longest);
    }
    let page = socket.ok("GetHistory", json!({"chatId": chat, "limit": 200})).await;
    // As many as fit into 256 KiB as they are stored.
    assert_eq!(page["items"].as_array().unwrap().len(), 31);
    assert_eq!((&page["items"][30]["body"], &page["hasMoreBefore"]), (&json!(longest), &json!(true)));

    // In a batch they would wait for each other, so there it comes to an end.
    let page = json!({"chatId": chat, "limit": 40});
    let ask = |id: usize| json!({"jsonrpc": "2.0", "id": id, "method": "GetHistory", "params": page});
    socket.say(&(0..10).map(ask).collect()).await;
    let answers = loop {
        let frame = socket.frame().await;
        if frame.is_array() {
            break frame;
        }
    };
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.as_array().unwrap().iter().partition(|answer: &&Value| answer.get("result").is_some());
    assert_eq!((done.len(), refused.len()), (3, 7));
    refused.into_iter().for_each(|answer| drop(is_refusal(answer, "malformed")));
    socket.ok("Ping", json!({})).await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_holds_up_the_others_no_longer() {
    let (server, gate) = Server::gated("GetUser", Duration::from_millis(100)).await;
    let ada = server.register("ada").await;
    let mut socket = ada.connect().await;
    let slow = socket.begin("GetUser", json!({"userId": ada.id})).await;
    let next = socket.begin("GetMe", json!({})).await;
    gate.reached().await;
    is_refusal(&socket.answer(slow).await, "unavailable");
    assert_eq!(socket.answer(next).await["result"]["id"], ada.id);
}
