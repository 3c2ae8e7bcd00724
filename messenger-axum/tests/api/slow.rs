//! Clients that do not send what they have begun, or do not take what they have asked for.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use http::header;
use http_body_util::BodyExt as _;
use messenger_axum::Options;
use serde_json::json;
use tokio::time::{Instant, advance, sleep};
use tower::ServiceExt as _;

use crate::support::{Api, Person, Reply, request};

/// A search, which takes its fields in the body, whose body begins so and never goes on.
fn stuck(api: &Api, token: &str, begins: &str) -> BoxFuture<'static, Reply> {
    let begins = Ok::<_, Infallible>(Bytes::copy_from_slice(begins.as_bytes()));
    let body = Body::from_stream(stream::iter([begins]).chain(stream::pending()));
    let (api, token) = (api.clone(), token.to_owned());
    async move { api.call("POST", "/presence/query", &token, body).await }.boxed()
}

/// A presence query that comes in parts of so many bytes, one each second.
fn in_parts(api: &Api, ada: &Person, bytes: usize, of: usize) -> BoxFuture<'static, Reply> {
    let text = format!("{:bytes$}", json!({"userIds": [ada.id]}).to_string());
    let parts: Vec<_> = text.into_bytes().chunks(of).map(Bytes::copy_from_slice).collect();
    let body = Body::from_stream(stream::iter(parts).then(|part| async {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(part)
    }));
    let (api, token) = (api.clone(), ada.token.clone());
    async move { api.call("POST", "/presence/query", &token, body).await }.boxed()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused_when_its_time_is_over() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let began = Instant::now();
    let reply = stuck(&api, &ada.token, "{").await;
    reply.is_problem(408, "tooSlow");
    assert_eq!(reply.header("connection"), "close");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_body_may_come_slowly_but_not_more_slowly_than_the_least_rate() {
    let api = Api::new();
    let ada = api.register("ada").await;
    in_parts(&api, &ada, 6000, 300).await.is(200);
    let began = Instant::now();
    in_parts(&api, &ada, 5000, 220).await.is_problem(408, "tooSlow");
    assert_eq!(began.elapsed().as_secs(), 5, "so much is there for 5 s at 240 bytes a second");
}

#[tokio::test(start_paused = true)]
async fn no_body_may_take_longer_than_the_time_for_bodies() {
    let api = Api::with(Options::new().rate_limits(None).body_timeout(Duration::from_secs(9)));
    let ada = api.register("ada").await;
    in_parts(&api, &ada, 8000, 1000).await.is(200);
    in_parts(&api, &ada, 10_000, 1000).await.is_problem(408, "tooSlow");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_never_come_keep_nobody_waiting() {
    let api = Api::with(Options::new().rate_limits(None).concurrency(1, 0));
    let ada = api.register("ada").await;
    let mut bodies: Vec<_> = (0..50).map(|_| stuck(&api, &ada.token, "{")).collect();
    for body in &mut bodies {
        assert!(body.now_or_never().is_none());
    }
    let began = Instant::now();
    ada.get("/users/me").await.is(200);
    ada.post("/presence/query", json!({"userIds": []})).await.is(200);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_the_body_waited_for_longest_gives_way() {
    // A sixteenth of it is for one person.
    let api = Api::with(Options::new().rate_limits(None).unread_limit(16 * 100));
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let long = "x".repeat(90);
    let mut first = stuck(&api, &ada.token, &long);
    assert!((&mut first).now_or_never().is_none());
    stuck(&api, &ada.token, &long).await.is_problem(429, "rateLimited");
    let mut others = stuck(&api, &bob.token, &long);
    assert!((&mut others).now_or_never().is_none());

    advance(Duration::from_secs(1)).await;
    let mut second = stuck(&api, &ada.token, &long);
    assert!((&mut second).now_or_never().is_none());
    first.now_or_never().unwrap().is_problem(408, "tooSlow");
    assert!((&mut others).now_or_never().is_none(), "somebody else's has nothing to do with it");
}

#[tokio::test(start_paused = true)]
async fn what_the_head_says_is_refused_without_the_body() {
    let api = Api::with(Options::new().rate_limits(None).body_limit(1000));
    let ada = api.register("ada").await;
    let never = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let began = Instant::now();
    for (length, kind, status, code) in
        [(1001, "application/json", 413, "tooLarge"), (10, "text/plain", 415, "unsupportedMediaType")]
    {
        let request = request("POST", "/presence/query", &ada.token)
            .header(header::CONTENT_LENGTH, length)
            .header(header::CONTENT_TYPE, kind);
        api.send(request.body(never()).unwrap()).await.is_problem(status, code);
    }
    api.call("POST", "/presence/query", "wrong", never()).await.is_problem(401, "unauthenticated");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Somebody with a chat whose newest page is some 300 KB long.
async fn talkative(api: &Api) -> (Person, String) {
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    for _ in 0..30 {
        ada.says(&chat, &"x".repeat(7500)).await;
    }
    (ada, format!("/chats/{chat}/messages?limit=50"))
}

/// Asks, and takes nothing of the answer yet.
async fn untaken(api: &Api, person: &Person, path: &str) -> http::Response<Body> {
    let request = request("GET", path, &person.token).body(Body::empty()).unwrap();
    api.router.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_long_answer_comes_whole_and_with_its_length() {
    let api = Api::new();
    let (ada, page) = talkative(&api).await;
    let response = untaken(&api, &ada, &page).await;
    let length: usize = response.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    let mut body = response.into_body();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() <= 32 * 1024, "given back in pieces");
        whole.extend_from_slice(&piece);
    }
    assert_eq!(whole.len(), length);
    let page: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 31);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_given_up() {
    let api = Api::new();
    let (ada, page) = talkative(&api).await;
    let mut body = untaken(&api, &ada, &page).await.into_body();
    for _ in 0..3 {
        sleep(Duration::from_secs(29)).await;
        body.frame().await.unwrap().unwrap();
    }
    sleep(Duration::from_secs(31)).await;
    body.frame().await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_takes_have_a_budget() {
    // A sixteenth of it is for one person: one page, and not two.
    let api = Api::with(Options::new().rate_limits(None).unsent_limit(16 * 400_000));
    let (ada, page) = talkative(&api).await;
    let first = untaken(&api, &ada, &page).await;
    assert_eq!(first.status(), 200);
    let refused = ada.get(&page).await;
    refused.is_problem(429, "rateLimited");
    assert_eq!(refused.header("retry-after"), "1");
    // What is short goes on, and what changes something too.
    ada.get("/users/me").await.is(200);
    ada.post("/chats/group", json!({"title": "Tea", "memberIds": []})).await.is(201);

    sleep(Duration::from_secs(2)).await;
    ada.get(&page).await.is(200);
    let given_up = first.into_body().collect().await;
    assert!(given_up.is_err(), "it gave way to the other");
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_its_way_holds_no_turn() {
    let api = Api::with(Options::new().rate_limits(None).concurrency(1, 0));
    let (ada, page) = talkative(&api).await;
    let _untaken = untaken(&api, &ada, &page).await;
    ada.get("/users/me").await.is(200);
}
