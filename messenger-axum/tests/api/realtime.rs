//! What is mostly for sockets, over REST.

use serde_json::json;

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn typing_is_told_in_ones_chats_only() {
    let api = Api::new();
    let (ada, eve) = (api.register("ada").await, api.register("eve").await);
    let path = format!("/chats/{}/typing", ada.group(&[]).await);
    ada.post(&path, json!({"typing": true})).await.is(204);
    eve.post(&path, json!({"typing": true})).await.is_problem(404, "notFound");
    ada.post(&path, json!({"typing": "yes"})).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn presence_is_asked_for_by_name() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let reply = ada.post("/presence/query", json!({"userIds": [bob.id, ID]})).await.is(200);
    assert_eq!(reply["items"][0], json!({"userId": bob.id, "online": false}));
    ada.post("/presence/query", json!({"userIds": vec![ID; 201]})).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn a_client_without_a_socket_learns_what_it_missed() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = ada.group(&[&bob]).await;
    let revision = bob.get(&format!("/chats/{chat}")).await.is(200)["revision"].clone();
    ada.says(&chat, "hello").await;
    let synced = bob.post("/sync", json!({"chats": {&chat: revision, ID: 5}})).await.is(200);
    insta::assert_json_snapshot!(scrubbed(synced));
    assert_eq!(bob.post("/sync", json!({})).await.is(200)["chats"].as_array().unwrap().len(), 1);
    bob.post("/sync", json!({"chats": {"seven": 1}})).await.is_problem(400, "malformed");
    bob.post("/sync", json!({"chats": {&chat: -1}})).await.is_problem(400, "malformed");
}
