//! Too much, too often, too long.

use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, extract::ConnectInfo};
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::{Actor, ChatId, MessageBody, Policy, Result};
use serde_json::json;

use crate::support::{Api, Reply, request};

fn rarely(burst: u32) -> Rate {
    Rate::every(Duration::from_secs(3600), burst)
}

fn limited(limits: RateLimits) -> Api {
    Api::with(Options::new().rate_limits(limits))
}

async fn send_from(api: &Api, address: [u8; 4], mut request: http::Request<Body>) -> Reply {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4000))));
    api.send(request).await
}

fn login(name: &str, password: &str) -> http::Request<Body> {
    let body = json!({"login": name, "password": password}).to_string();
    request("POST", "/auth/login", "").header("content-type", "application/json").body(body.into()).unwrap()
}

#[tokio::test]
async fn people_are_limited_one_by_one() {
    let api = limited(RateLimits { requests: rarely(1), ..RateLimits::default() });
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    ada.get("/users/me").await.is(200);
    bob.get("/users/me").await.is(200);
    let reply = ada.get("/users/me").await;
    reply.is_problem(429, "rateLimited");
    assert!((3590..=3600).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn strangers_are_limited_by_address() {
    let api = limited(RateLimits { requests: rarely(1), logins: rarely(1), ..RateLimits::default() });
    let stranger = || request("GET", "/users/me", "").body(Body::empty()).unwrap();
    send_from(&api, [192, 0, 2, 1], stranger()).await.is_problem(401, "unauthenticated");
    send_from(&api, [192, 0, 2, 1], stranger()).await.is_problem(429, "rateLimited");
    send_from(&api, [192, 0, 2, 2], stranger()).await.is_problem(401, "unauthenticated");

    send_from(&api, [192, 0, 2, 1], login("ada", "wrong")).await.is_problem(401, "invalidCredentials");
    send_from(&api, [192, 0, 2, 1], login("ada", "wrong")).await.is_problem(429, "rateLimited");
    send_from(&api, [192, 0, 2, 2], login("ada", "wrong")).await.is_problem(401, "invalidCredentials");
}

#[tokio::test]
async fn a_stranger_with_a_wrong_token_keeps_nobody_out() {
    let api = limited(RateLimits { requests: rarely(1), ..RateLimits::default() });
    let ada = api.register("ada").await;
    let with = |token: &str| request("GET", "/users/me", token).body(Body::empty()).unwrap();
    send_from(&api, [192, 0, 2, 1], with("wrong")).await.is_problem(401, "unauthenticated");
    send_from(&api, [192, 0, 2, 1], with("wrong")).await.is_problem(429, "rateLimited");
    send_from(&api, [192, 0, 2, 1], with(&ada.token)).await.is(200);
}

#[tokio::test]
async fn wrong_passwords_are_counted_for_the_account_from_everywhere() {
    let api = limited(RateLimits { wrong_passwords: rarely(2), ..RateLimits::default() });
    api.register("ada").await;
    for _ in 0..5 {
        api.send(login("ada", "correct horse")).await.is(200);
    }
    let at_once = futures::future::join_all((0..20).map(|_| api.send(login("ada", "correct horse")))).await;
    assert!(at_once.iter().any(|reply| reply.status == 429), "more at once than the burst allows");
    for (last, name) in [(1, "ada"), (2, "ADA")] {
        send_from(&api, [192, 0, 2, last], login(name, "wrong")).await.is_problem(401, "invalidCredentials");
    }
    send_from(&api, [192, 0, 2, 3], login("Ada", "correct horse")).await.is_problem(429, "rateLimited");
    for _ in 0..2 {
        api.send(login("nobody", "wrong")).await.is_problem(401, "invalidCredentials");
    }
    api.send(login("nobody", "wrong")).await.is_problem(429, "rateLimited");
}

#[tokio::test]
async fn wrong_passwords_of_who_is_logged_in_are_counted_too() {
    let api = limited(RateLimits { wrong_passwords: rarely(2), ..RateLimits::default() });
    let ada = api.register("ada").await;
    let change = json!({"current": "wrong", "new": "battery staple"});
    ada.call("PUT", "/auth/password", change.clone()).await.is_problem(401, "invalidCredentials");
    ada.call("DELETE", "/users/me", json!({"password": "wrong"})).await.is_problem(401, "invalidCredentials");
    ada.call("PUT", "/auth/password", change).await.is_problem(429, "rateLimited");
    ada.call("DELETE", "/users/me", json!({"password": "correct horse"}))
        .await
        .is_problem(429, "rateLimited");
    ada.get("/users/me").await.is(200);
}

/// Never done with a search.
struct Slow;

#[async_trait::async_trait]
impl Policy for Slow {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if operation == "FindUsers" { std::future::pending().await } else { Ok(()) }
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

#[tokio::test]
async fn what_takes_too_long_and_what_comes_on_top_of_the_queue_is_unavailable() {
    let options = Options::new().concurrency(1, 1).timeout(Duration::from_millis(50));
    let api = Api::with_policy(Slow, options);
    let ada = api.register("ada").await;
    let search = || ada.get("/users?query=a");
    let (first, second, third, health) =
        futures::join!(search(), search(), search(), api.get("/health/ready", ""));
    for reply in [first, second, third] {
        reply.is_problem(503, "unavailable");
        assert_eq!(reply.header("retry-after"), "1");
    }
    assert_eq!(health.status, 200);
    // All places are free again.
    ada.get("/users/me").await.is(200);
}
