//! What is the same for all routes: problems, ids of requests, headers, origins, health.

use axum::body::Body;
use messenger_axum::Options;
use messenger_core::{Actor, ChatId, Error, MessageBody, Policy, Result};
use serde_json::json;

use crate::support::{Api, ID, request};

#[tokio::test]
async fn an_unknown_route_is_a_problem() {
    let api = Api::new();
    for path in ["/nothing", "/users/", "/chats/a/b/c/d/e", "/docs/../secret", "/%ff"] {
        api.get(path, "").await.is_problem(404, "notFound");
    }
}

#[tokio::test]
async fn another_method_is_a_problem_that_names_those_there_are() {
    let api = Api::new();
    let reply = api.call("PUT", &format!("/chats/{ID}/messages"), "", "").await;
    reply.is_problem(405, "methodNotAllowed");
    assert!(reply.header("allow").contains("POST"), "{reply:?}");
    assert!(reply.header("allow").contains("GET"), "{reply:?}");
    for path in ["/openapi.json", "/health/live", "/docs"] {
        api.call("DELETE", path, "", "").await.is_problem(405, "methodNotAllowed");
    }
    api.call("BREW", "/users", "", "").await.is_problem(405, "methodNotAllowed");
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_read() {
    let api = Api::new();
    for token in ["", "wrong", ID] {
        let reply = api.call("POST", &format!("/chats/{ID}/messages"), token, "nonsense").await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let ada = api.register("ada").await;
    for (authorization, status) in [
        ("Basic YTpi".to_owned(), 401),
        (ada.token.clone(), 401),
        (format!("Bearer{}", ada.token), 401),
        (format!("Bearer {}x", ada.token), 401),
        (format!("bearer  {}", ada.token), 200),
    ] {
        let request = request("GET", "/users/me", "").header("authorization", &authorization);
        assert_eq!(api.send(request.body(Body::empty()).unwrap()).await.status, status, "{authorization}");
    }
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_sane() {
    let api = Api::new();
    let with =
        |id: &str| request("GET", "/nothing", "").header("x-request-id", id).body(Body::empty()).unwrap();
    assert_eq!(api.send(with("trace-1")).await.is_problem(404, "notFound")["requestId"], "trace-1");
    let made = api.send(with("a b")).await.is_problem(404, "notFound")["requestId"].clone();
    assert_eq!(made.as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn answers_are_not_stored_and_not_sniffed() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for path in ["/users/me", "/nothing", "/health/live"] {
        let reply = ada.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn problems_look_like_this() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut problems = vec![
        ada.get("/chats/seven").await.is_problem(400, "malformed"),
        api.get("/users/me", "").await.is_problem(401, "unauthenticated"),
        ada.get(&format!("/chats/{ID}")).await.is_problem(404, "notFound"),
        ada.call("PATCH", &format!("/chats/{chat}"), json!({"title": ""})).await.is_problem(422, "invalid"),
    ];
    for problem in &mut problems {
        problem["requestId"] = "id".into();
    }
    insta::assert_json_snapshot!(problems);
}

#[tokio::test]
async fn a_head_request_has_the_headers_of_get() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let reply = ada.call("HEAD", "/users/me", json!(null)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.bytes.is_empty());
    assert_eq!(reply.header("content-type"), "application/json");
}

/// Breaks on searches, in different ways.
struct Broken;

#[async_trait::async_trait]
impl Policy for Broken {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        match operation {
            "FindUsers" => panic!("a secret"),
            "UpdateProfile" => panic!("a secret"),
            "GetMe" => Err(Error::internal("a secret")),
            "ListChats" => Err(Error::Unavailable(Some("a secret".into()))),
            _ => Ok(()),
        }
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

#[tokio::test]
async fn a_panic_or_fault_is_told_without_its_cause() {
    let api = Api::with_policy(Broken, Options::new());
    let ada = api.register("ada").await;
    let replies = [
        (ada.get("/users?query=a").await, 500, "internal"),
        (ada.call("PATCH", "/users/me", json!({})).await, 500, "internal"),
        (ada.get("/users/me").await, 500, "internal"),
        (ada.get("/chats").await, 503, "unavailable"),
    ];
    for (reply, status, code) in replies {
        reply.is_problem(status, code);
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("secret"), "{reply:?}");
        assert_eq!(reply.header("retry-after"), if status == 503 { "1" } else { "" });
    }
}

#[tokio::test]
async fn other_origins_may_call_only_if_they_are_named() {
    let preflight = || {
        request("OPTIONS", "/chats", "")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };
    let closed = Api::new().send(preflight()).await;
    closed.is_problem(405, "methodNotAllowed");
    assert_eq!(closed.header("access-control-allow-origin"), "");

    let api = Api::with(Options::new().allow_origins(["https://app.example".parse().unwrap()]));
    let open = api.send(preflight()).await;
    assert_eq!(open.status, 200);
    assert_eq!(open.header("access-control-allow-origin"), "https://app.example");
    let refused = request("GET", "/chats", "").header("origin", "https://app.example").body(Body::empty());
    let refused = api.send(refused.unwrap()).await;
    refused.is_problem(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
    let other = request("GET", "/chats", "").header("origin", "https://evil.example").body(Body::empty());
    assert_eq!(api.send(other.unwrap()).await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn health_is_ready_until_the_node_stops() {
    let api = Api::new();
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(api.get(path, "").await.status, 200);
    }
    api.messenger.drain();
    assert_eq!(api.get("/health/live", "").await.status, 200);
    api.get("/health/ready", "").await.is_problem(503, "unavailable");
}

#[tokio::test]
async fn health_can_be_at_the_root_too() {
    let Api { router, messenger } = Api::new();
    let api = Api { router: router.merge(messenger_axum::health(messenger.clone())), messenger };
    for uri in ["/health/ready", "/api/v1/health/ready"] {
        let request = http::Request::get(uri).body(Body::empty()).unwrap();
        assert_eq!(api.send(request).await.status, 200);
    }
}
