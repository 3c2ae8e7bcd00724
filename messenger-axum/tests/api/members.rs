use serde_json::json;

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn members_are_listed_by_page() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let path = format!("/chats/{}/members", ada.group(&[&bob]).await);
    let members = bob.get(&path).await.is(200);
    insta::assert_json_snapshot!(scrubbed(members.clone()));
    let first = bob.get(&format!("{path}?limit=1")).await.is(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = bob.get(&format!("{path}?limit=1&cursor={cursor}")).await.is(200);
    assert_eq!(json!([first["items"][0], second["items"][0]]), members["items"]);
}

#[tokio::test]
async fn members_are_added_and_removed() {
    let api = Api::new();
    let (ada, bob, eve) = (api.register("ada").await, api.register("bob").await, api.register("eve").await);
    let path = format!("/chats/{}/members", ada.group(&[&bob]).await);
    let add = json!({"userIds": [bob.id, eve.id]});
    bob.post(&path, add.clone()).await.is_problem(403, "forbidden");
    assert_eq!(ada.post(&path, add.clone()).await.is(200), json!({"added": [eve.id]}));
    assert_eq!(ada.post(&path, add).await.is(200), json!({"added": []}));
    ada.post(&path, json!({"userIds": [ID]})).await.is_problem(422, "invalid");

    bob.call("DELETE", &format!("{path}/{}", eve.id), json!(null)).await.is_problem(403, "forbidden");
    ada.call("DELETE", &format!("{path}/{}", eve.id), json!(null)).await.is(204);
    eve.get(&path).await.is_problem(404, "notFound");
    ada.call("DELETE", &format!("{path}/{}", eve.id), json!(null)).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn roles_are_given_by_the_owner() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let members = format!("/chats/{}/members", ada.group(&[&bob]).await);
    let role = |id: &str| format!("{members}/{id}/role");
    bob.call("PUT", &role(&bob.id), json!({"role": "owner"})).await.is_problem(403, "forbidden");
    let member = ada.call("PUT", &role(&bob.id), json!({"role": "admin"})).await.is(200);
    assert_eq!((&member["role"], &member["user"]["id"]), (&json!("admin"), &json!(bob.id)));
    ada.call("PUT", &role(&bob.id), json!({"role": "king"})).await.is_problem(400, "malformed");
    ada.call("PUT", &role(ID), json!({"role": "admin"})).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn who_leaves_sees_the_chat_no_more() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = format!("/chats/{}", ada.group(&[&bob]).await);
    ada.post(&format!("{chat}/leave"), json!(null)).await.is(204);
    ada.get(&chat).await.is_problem(404, "notFound");
    assert_eq!(bob.get(&chat).await.is(200)["me"]["role"], "owner");
    ada.post(&format!("{chat}/leave"), json!({})).await.is_problem(404, "notFound");
}
