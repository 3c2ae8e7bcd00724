use serde_json::{Value, json};

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn a_message_is_sent_once_for_a_client_id() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let path = format!("/chats/{}/messages", ada.group(&[&bob]).await);
    let first = ada.says(path.split('/').nth(2).unwrap(), "hello").await;
    let message = json!({"body": "hello 😀", "clientId": "one", "replyTo": first});
    let sent = ada.post(&path, message.clone()).await.is(201);
    assert_eq!(ada.post(&path, message).await.is(200), sent);
    insta::assert_json_snapshot!(scrubbed(sent));
    let other = json!({"body": "bye", "clientId": "one"});
    ada.post(&path, other).await.is_problem(409, "clientIdReused");
    ada.post(&path, json!({"body": "x".repeat(8001)})).await.is_problem(422, "invalid");
    ada.post(&path, json!({"body": "x", "replyTo": ID})).await.is_problem(422, "invalid");
    ada.post(&format!("/chats/{ID}/messages"), json!({"body": "x"})).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn a_message_is_read_changed_and_deleted() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = ada.group(&[&bob]).await;
    let path = format!("/chats/{chat}/messages/{}", ada.says(&chat, "hello").await);
    assert_eq!(bob.get(&path).await.is(200)["body"], "hello");
    let edited = ada.call("PATCH", &path, json!({"body": "bye"})).await.is(200);
    assert_eq!(edited["body"], "bye");
    bob.call("PATCH", &path, json!({"body": "mine"})).await.is_problem(403, "forbidden");
    bob.call("DELETE", &path, json!(null)).await.is_problem(403, "forbidden");
    let deleted = ada.call("DELETE", &path, json!(null)).await.is(200);
    insta::assert_json_snapshot!(scrubbed(json!({"edited": edited, "deleted": deleted})));
    bob.get(&format!("/chats/{chat}/messages/{ID}")).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn the_history_is_read_from_any_place() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    for n in 2..=7 {
        ada.says(&chat, &n.to_string()).await;
    }
    let page = async |query: &str| {
        let page = ada.get(&format!("/chats/{chat}/messages{query}")).await.is(200);
        let seqs: Vec<u64> = page["items"].as_array().unwrap().iter().map(seq).collect();
        (seqs, page["hasMoreBefore"].as_bool().unwrap(), page["hasMoreAfter"].as_bool().unwrap())
    };
    assert_eq!(page("").await, (vec![1, 2, 3, 4, 5, 6, 7], false, false));
    assert_eq!(page("?limit=2").await, (vec![6, 7], true, false));
    assert_eq!(page("?before=6&limit=2").await, (vec![4, 5], true, true));
    assert_eq!(page("?after=2&limit=2").await, (vec![3, 4], true, true));
    assert!(page("?around=4&limit=3").await.0.contains(&4));
    let path = format!("/chats/{chat}/messages");
    ada.get(&format!("{path}?before=6&after=2")).await.is_problem(422, "invalid");
    ada.get(&format!("{path}?before=-6")).await.is_problem(400, "malformed");
    ada.get(&format!("{path}?cursor=x")).await.is_problem(400, "malformed");
}

fn seq(message: &Value) -> u64 {
    message["seq"].as_u64().unwrap()
}

#[tokio::test]
async fn marks_only_move_forward() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = ada.group(&[&bob]).await;
    for text in ["one", "two", "three"] {
        ada.says(&chat, text).await;
    }
    let mark = async |what: &str, seq: u64| {
        bob.call("PUT", &format!("/chats/{chat}/{what}"), json!({"seq": seq})).await.is(200)
    };
    assert_eq!(mark("delivered", 4).await, json!({"readSeq": 0, "unread": 3}));
    assert_eq!(mark("read", 3).await, json!({"readSeq": 3, "unread": 1}));
    assert_eq!(mark("read", 2).await, json!({"readSeq": 3, "unread": 1}));
    bob.call("PUT", &format!("/chats/{chat}/read"), json!({"seq": -1})).await.is_problem(400, "malformed");
    bob.call("PUT", &format!("/chats/{ID}/read"), json!({"seq": 1})).await.is_problem(404, "notFound");
}
