use serde_json::json;

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn a_direct_chat_is_opened_once() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let opened = ada.post("/chats/direct", json!({"userId": bob.id})).await.is(201);
    let found = bob.post("/chats/direct", json!({"userId": ada.id})).await.is(200);
    assert_eq!(opened["id"], found["id"]);
    insta::assert_json_snapshot!(scrubbed(opened));
    ada.post("/chats/direct", json!({"userId": ada.id})).await.is_problem(422, "invalid");
    ada.post("/chats/direct", json!({"userId": ID})).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn a_group_is_made_once_for_a_client_id() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let group = json!({"title": "Tea", "memberIds": [bob.id], "clientId": "one"});
    let made = ada.post("/chats/group", group.clone()).await.is(201);
    let found = ada.post("/chats/group", group).await.is(200);
    assert_eq!(made["id"], found["id"]);
    insta::assert_json_snapshot!(scrubbed(made));
    let other = json!({"title": "Coffee", "memberIds": [bob.id], "clientId": "one"});
    ada.post("/chats/group", other).await.is_problem(409, "clientIdReused");
    ada.post("/chats/group", json!({"title": "Tea", "memberIds": [ID]})).await.is_problem(422, "invalid");
    ada.post("/chats/group", json!({"title": "", "memberIds": []})).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn chats_are_listed_with_the_newest_activity_first() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let mut chats = Vec::new();
    for _ in 0..3 {
        chats.push(ada.group(&[&bob]).await);
    }
    let listed = ada.get("/chats").await.is(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let mut path = "/chats?limit=2".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = ada.get(&path).await.is(200);
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/chats?limit=2&cursor={cursor}");
    }
    assert_eq!(json!(paged), listed["items"]);
    let one = ada.get(&format!("/chats/{}", chats[1])).await.is(200);
    assert!(paged.contains(&one));
}

#[tokio::test]
async fn the_title_is_changed_by_those_who_may() {
    let api = Api::new();
    let (ada, bob, eve) = (api.register("ada").await, api.register("bob").await, api.register("eve").await);
    let path = format!("/chats/{}", ada.group(&[&bob]).await);
    let chat = ada.call("PATCH", &path, json!({"title": "Coffee"})).await.is(200);
    assert_eq!(chat["title"], "Coffee");
    bob.call("PATCH", &path, json!({"title": "Beer"})).await.is_problem(403, "forbidden");
    eve.call("PATCH", &path, json!({"title": "Mine"})).await.is_problem(404, "notFound");
    eve.get(&path).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn a_chat_has_a_level_of_notifications() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let group = ada.group(&[]).await;
    let path = format!("/chats/{group}/notifications");
    assert_eq!(ada.get(&format!("/chats/{group}")).await.is(200)["me"]["notifications"], "all");
    for level in ["none", "mentions", "all"] {
        let chat = ada.call("PUT", &path, json!({"level": level})).await.is(200);
        assert_eq!(chat["me"]["notifications"], level);
    }
    ada.call("PUT", &path, json!({"level": "some"})).await.is_problem(400, "malformed");
    ada.call("PUT", &path, json!({})).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn a_chat_is_muted_until_a_moment() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let path = format!("/chats/{}/mute", ada.group(&[]).await);
    let muted = ada.call("PUT", &path, json!({"until": "2100-01-01T00:00:00+02:00"})).await.is(200);
    assert_eq!(muted["me"]["mutedUntil"], "2099-12-31T22:00:00.000Z");
    let loud = ada.call("PUT", &path, json!({})).await.is(200);
    assert_eq!(loud["me"].get("mutedUntil"), None);
    ada.call("PUT", &path, json!({"until": "tomorrow"})).await.is_problem(400, "malformed");
}
