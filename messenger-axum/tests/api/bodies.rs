//! Where the fields of a request come from, and what can be wrong with that.

use axum::body::Body;
use bytes::Bytes;
use http::header;
use messenger_axum::Options;
use serde_json::json;

use crate::support::{Api, Person, request};

/// Somebody who is logged in, and a path where they can send messages.
async fn chatting(api: &Api) -> (Person, String) {
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    (ada, format!("/chats/{chat}/messages"))
}

#[tokio::test]
async fn a_body_must_be_json() {
    let api = Api::new();
    let (ada, path) = chatting(&api).await;
    let send = |name: &str, value: &str| {
        let request = request("POST", &path, &ada.token).header(name, value);
        api.send(request.body(Body::from(r#"{"body":"hi"}"#)).unwrap())
    };
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"]
    {
        send("content-type", kind).await.is_problem(415, "unsupportedMediaType");
    }
    send("x-nothing", "1").await.is_problem(415, "unsupportedMediaType");
    for kind in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/vnd.chat+json"] {
        send("content-type", kind).await.is(201);
    }
    let zipped = request("POST", &path, &ada.token)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    api.send(zipped.body(Body::from("{}")).unwrap()).await.is_problem(415, "unsupportedMediaType");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let api = Api::with(Options::new().rate_limits(None).body_limit(150));
    let (ada, path) = chatting(&api).await;
    let long = json!({"body": "x".repeat(150)}).to_string();
    api.call("POST", &path, &ada.token, long.clone()).await.is_problem(413, "tooLarge");

    let announced = request("POST", &path, &ada.token)
        .header(header::CONTENT_LENGTH, 151)
        .header(header::CONTENT_TYPE, "application/json");
    // Would never be read to its end.
    let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    api.send(announced.body(Body::from_stream(endless)).unwrap()).await.is_problem(413, "tooLarge");

    let chunks = long.into_bytes().into_iter().map(|byte| Ok::<_, std::io::Error>(vec![byte]));
    let chunked = Body::from_stream(futures::stream::iter(chunks));
    api.call("POST", &path, &ada.token, chunked).await.is_problem(413, "tooLarge");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let api = Api::new();
    let (ada, path) = chatting(&api).await;
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
    api.call("POST", &path, &ada.token, Body::from_stream(broken)).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn fields_in_the_wrong_place_are_refused() {
    let api = Api::new();
    let (ada, path) = chatting(&api).await;
    let names = |problem: serde_json::Value, field: &str| {
        let detail = problem["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("`{field}`")), "{detail}");
    };
    let reply = ada.post(&format!("{path}?body=hi"), json!({"body": "hi"})).await;
    names(reply.is_problem(400, "malformed"), "body");
    ada.call("GET", "/users?query=a", json!({})).await.is_problem(400, "malformed");
    let chat = path.split('/').nth(2).unwrap();
    let reply = ada.post(&path, json!({"body": "hi", "chatId": chat})).await;
    names(reply.is_problem(400, "malformed"), "chatId");
    names(ada.get("/users?query=a&access_token=x").await.is_problem(400, "malformed"), "access_token");
    names(ada.get("/users?query=a&query=b").await.is_problem(400, "malformed"), "query");
    for path in ["/users?query=%ff", "/users?query=%zz", "/users/%ff", "/users/%zz"] {
        ada.get(path).await.is_problem(400, "malformed");
    }
}

#[tokio::test]
async fn absent_and_null_are_the_same() {
    let api = Api::new();
    let (ada, path) = chatting(&api).await;
    ada.post(&path, json!({"body": "hi", "clientId": null, "replyTo": null})).await.is(201);
    ada.post("/auth/logout", json!({})).await.is(204);
}
