//! What is the same for all routes: problems, ids, headers, limits.

use std::{net::SocketAddr, time::Duration};

use axum::{body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::header;
use messenger_axum::{Options, Rate, RateLimits};

use crate::support::{Api, ID, request};

const TOKEN: &str = "toy-0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f";

fn messages() -> String {
    format!("/chats/{ID}/messages")
}

#[tokio::test]
async fn an_unknown_route_is_a_problem() {
    let api = Api::new();
    api.get("/nothing", TOKEN).await.is_problem(404, "notFound");
    api.get("/", TOKEN).await.is_problem(404, "notFound");
    api.get("/users/", TOKEN).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn another_method_is_a_problem_that_names_those_there_are() {
    let api = Api::new();
    let reply = api.call("DELETE", &messages(), TOKEN, "").await;
    reply.is_problem(405, "methodNotAllowed");
    assert!(reply.header("allow").contains("POST"), "{reply:?}");
    api.call("PUT", "/openapi.json", TOKEN, "").await.is_problem(405, "methodNotAllowed");
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_read() {
    let api = Api::new();
    for token in ["", "wrong", "toy-"] {
        let reply = api.call("POST", &messages(), token, "nonsense").await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let basic = request("GET", "/users?query=a", "").header("authorization", "Basic YTpi");
    api.send(basic.body(Body::empty()).unwrap()).await.is_problem(401, "unauthenticated");
    let lower = request("GET", "/users?query=a", "").header("authorization", format!("bearer {TOKEN}"));
    assert_eq!(api.send(lower.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_body_must_be_json() {
    let api = Api::new();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/json; charset=latin1"),
        ("x-nothing", "1"),
    ] {
        let request = request("POST", &messages(), TOKEN).header(name, value);
        let reply = api.send(request.body(Body::from(r#"{"body":"hi"}"#)).unwrap()).await;
        reply.is_problem(415, "unsupportedMediaType");
    }
    let zipped = request("POST", &messages(), TOKEN)
        .header("content-type", "application/json")
        .header("content-encoding", "gzip");
    api.send(zipped.body(Body::from("{}")).unwrap()).await.is_problem(415, "unsupportedMediaType");
    for kind in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/vnd.chat+json"] {
        let request = request("POST", &messages(), TOKEN).header("content-type", kind);
        let reply = api.send(request.body(Body::from(r#"{"body":"hi"}"#)).unwrap()).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let api = Api::with(Options::new().body_limit(100));
    let long = format!(r#"{{"body":"{}"}}"#, "x".repeat(100));
    api.call("POST", &messages(), TOKEN, long.clone()).await.is_problem(413, "tooLarge");

    let announced = request("POST", &messages(), TOKEN)
        .header(header::CONTENT_LENGTH, 101)
        .header(header::CONTENT_TYPE, "application/json");
    // Would never be read to its end.
    let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let reply = api.send(announced.body(Body::from_stream(endless)).unwrap()).await;
    reply.is_problem(413, "tooLarge");

    let chunks =
        futures::stream::iter(long.into_bytes().into_iter().map(|byte| Ok::<_, std::io::Error>(vec![byte])));
    api.call("POST", &messages(), TOKEN, Body::from_stream(chunks)).await.is_problem(413, "tooLarge");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
    Api::new().call("POST", &messages(), TOKEN, Body::from_stream(broken)).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn fields_in_the_wrong_place_are_refused() {
    let api = Api::new();
    let reply = api.call("POST", &format!("{}?body=hi", messages()), TOKEN, r#"{"body":"hi"}"#).await;
    assert!(reply.is_problem(400, "malformed")["detail"].as_str().unwrap().contains("`body`"));
    api.call("GET", "/users?query=a", TOKEN, "{}").await.is_problem(400, "malformed");
    let twice = format!(r#"{{"body":"hi","chatId":"{ID}"}}"#);
    let reply = api.call("POST", &messages(), TOKEN, twice).await;
    assert!(reply.is_problem(400, "malformed")["detail"].as_str().unwrap().contains("`chatId`"));
    api.get("/users?query=a&access_token=x", TOKEN).await.is_problem(400, "malformed");
    api.get("/users?query=%ff", TOKEN).await.is_problem(400, "malformed");
    api.get("/users/%ff", TOKEN).await.is_problem(400, "malformed");
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
    for path in ["/users?query=a", "/nothing", "/health/live"] {
        let reply = api.get(path, TOKEN).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_panic_or_fault_is_told_without_its_cause() {
    let api = Api::new();
    for login in ["panic", "internal"] {
        let reply =
            api.call("POST", "/auth/login", "", format!(r#"{{"login":"{login}","password":"x"}}"#)).await;
        reply.is_problem(500, "internal");
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("secret"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_unavailable() {
    let api = Api::with(Options::new().timeout(Duration::from_secs(3)));
    let reply = api.call("POST", "/auth/login", "", r#"{"login":"slow","password":"x"}"#).await;
    reply.is_problem(503, "unavailable");
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn what_comes_on_top_of_the_queue_is_unavailable_at_once() {
    let api = Api::with(Options::new().concurrency(1, 1).timeout(Duration::from_secs(3)));
    let slow = || api.call("POST", "/auth/login", "", r#"{"login":"slow","password":"x"}"#);
    let (first, second, third, health) = futures::join!(slow(), slow(), slow(), api.get("/health/ready", ""));
    for reply in [first, second, third] {
        reply.is_problem(503, "unavailable");
    }
    assert_eq!(health.status, 200);
    assert_eq!(api.call("POST", "/auth/logout", TOKEN, "").await.status, 204);
}

fn from(address: [u8; 4], mut request: http::Request<Body>) -> http::Request<Body> {
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4000))));
    request
}

#[tokio::test]
async fn people_are_limited_one_by_one() {
    let once = Rate::every(Duration::from_secs(3600), 1);
    let api = Api::with(Options::new().rate_limits(RateLimits { requests: once, ..RateLimits::default() }));
    let other = "toy-0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e00";
    assert_eq!(api.get("/users?query=a", TOKEN).await.status, 200);
    assert_eq!(api.get("/users?query=a", other).await.status, 200);
    let reply = api.get("/users?query=a", TOKEN).await;
    reply.is_problem(429, "rateLimited");
    assert!((3590..=3600).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn strangers_are_limited_by_address() {
    let once = Rate::every(Duration::from_secs(3600), 1);
    let limits = RateLimits { requests: once, logins: once, ..RateLimits::default() };
    let api = Api::with(Options::new().rate_limits(limits));
    let stranger = |address| from(address, request("GET", "/users?query=a", "").body(Body::empty()).unwrap());
    api.send(stranger([192, 0, 2, 1])).await.is_problem(401, "unauthenticated");
    api.send(stranger([192, 0, 2, 1])).await.is_problem(429, "rateLimited");
    api.send(stranger([192, 0, 2, 2])).await.is_problem(401, "unauthenticated");

    let login = |address| {
        let body = Body::from(r#"{"login":"ada","password":"wrong"}"#);
        from(
            address,
            request("POST", "/auth/login", "").header("content-type", "application/json").body(body).unwrap(),
        )
    };
    api.send(login([192, 0, 2, 1])).await.is_problem(401, "invalidCredentials");
    api.send(login([192, 0, 2, 1])).await.is_problem(429, "rateLimited");
    api.send(login([192, 0, 2, 2])).await.is_problem(401, "invalidCredentials");
}

#[tokio::test]
async fn wrong_passwords_are_counted_for_the_account_from_everywhere() {
    let twice = Rate::every(Duration::from_secs(3600), 2);
    let api =
        Api::with(Options::new().rate_limits(RateLimits { wrong_passwords: twice, ..RateLimits::default() }));
    let login =
        |login: &str| api.call("POST", "/auth/login", "", format!(r#"{{"login":"{login}","password":"x"}}"#));
    login("ada").await.is_problem(401, "invalidCredentials");
    login("ADA").await.is_problem(401, "invalidCredentials");
    login("Ada").await.is_problem(429, "rateLimited");
    login("bob").await.is_problem(401, "invalidCredentials");
}

#[tokio::test]
async fn other_origins_may_call_only_if_they_are_named() {
    let preflight = || {
        request("OPTIONS", &messages(), "")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };
    let closed = Api::new().send(preflight()).await;
    assert!(closed.headers.get("access-control-allow-origin").is_none());
    let api = Api::with(Options::new().allow_origins(["https://app.example".parse().unwrap()]));
    let open = api.send(preflight()).await;
    assert_eq!(open.status, 200);
    assert_eq!(open.header("access-control-allow-origin"), "https://app.example");
    let refused = request("GET", "/users", "").header("origin", "https://app.example").body(Body::empty());
    let refused = api.send(refused.unwrap()).await;
    refused.is_problem(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
}
