//! Too much, too often, too long.

use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, extract::ConnectInfo};
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::{Actor, ChatId, MessageBody, Policy, Result};
use serde_json::json;

use crate::support::{Api, Person, Reply, request};

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
async fn what_is_done_with_links_in_mails_counts_as_log_ins_do() {
    let limits = RateLimits { logins: rarely(1), ..RateLimits::default() };
    let routes = [
        ("POST", "/auth/password/reset", json!({"email": "ada@example.org"})),
        ("PUT", "/auth/password/reset", json!({"token": "AQEB", "new": "battery staple"})),
        ("POST", "/auth/email/confirm", json!({"token": "AQEB"})),
    ];
    for (n, (method, path, body)) in (1..).zip(routes) {
        let api = limited(limits);
        let stranger = || {
            let request = request(method, path, "").header("content-type", "application/json");
            request.body(body.to_string().into()).unwrap()
        };
        send_from(&api, [192, 0, 2, n], stranger()).await.is_problem(403, "forbidden");
        send_from(&api, [192, 0, 2, n], stranger()).await.is_problem(429, "rateLimited");
        send_from(&api, [192, 0, 2, n], login("ada", "wrong")).await.is_problem(429, "rateLimited");
    }
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

/// Never done with a search, nor with a log-in.
struct Slow;

#[async_trait::async_trait]
impl Policy for Slow {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if matches!(operation, "FindUsers" | "LogIn") { std::future::pending().await } else { Ok(()) }
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

#[tokio::test(start_paused = true)]
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

/// A request that is sent and not answered yet.
async fn begun(request: impl Future<Output = Reply> + Send + 'static) -> tokio::task::JoinHandle<Reply> {
    let request = tokio::spawn(request);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!request.is_finished());
    request
}

fn from(api: &Api, network: u8, person: &Person, path: &str) -> impl Future<Output = Reply> + Send + 'static {
    let (api, request) = (api.clone(), request("GET", path, &person.token).body(Body::empty()).unwrap());
    async move { send_from(&api, [192, 0, 2, network], request).await }
}

#[tokio::test]
async fn one_network_leaves_turns_for_others() {
    // A quarter of four is for one network.
    let api = Api::with_policy(Slow, Options::new().concurrency(4, 0));
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let search = begun(from(&api, 1, &ada, "/users?query=a")).await;
    let refused = from(&api, 1, &bob, "/users/me").await;
    refused.is_problem(429, "rateLimited");
    assert_eq!(refused.header("retry-after"), "1");
    from(&api, 2, &bob, "/users/me").await.is(200);
    search.abort();
}

#[tokio::test]
async fn one_person_leaves_turns_for_others() {
    // A sixteenth of 32 is for one person.
    let api = Api::with_policy(Slow, Options::new().concurrency(32, 0));
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let _first = begun(from(&api, 1, &ada, "/users?query=a")).await;
    let _second = begun(from(&api, 2, &ada, "/users?query=a")).await;
    from(&api, 3, &ada, "/users/me").await.is_problem(429, "rateLimited");
    from(&api, 1, &bob, "/users/me").await.is(200);
}

#[tokio::test]
async fn work_on_passwords_waits_in_a_queue_of_its_own() {
    let options = Options::new().concurrency(1, 0).password_concurrency(1, 1);
    let api = Api::with_policy(Slow, options);
    let ada = api.register("ada").await;
    let log_in = |name: &'static str| {
        let api = api.clone();
        async move { api.send(login(name, "correct horse")).await }
    };
    let (_tried, waits) = (begun(log_in("ada")).await, begun(log_in("ada")).await);
    ada.get("/users/me").await.is(200);
    for name in ["ada", "nobody"] {
        let refused = log_in(name).await;
        refused.is_problem(503, "unavailable");
        assert_eq!(refused.header("retry-after"), "1");
    }
    let change = json!({"current": "correct horse", "new": "battery staple"});
    ada.call("PUT", "/auth/password", change).await.is_problem(503, "unavailable");
    ada.call("DELETE", "/users/me", json!({"password": "wrong"})).await.is_problem(503, "unavailable");
    let account = json!({"username": "bob", "email": "bob@example.org", "password": "correct horse"});
    api.call("POST", "/auth/register", "", account.to_string()).await.is_problem(503, "unavailable");
    waits.abort();
}
