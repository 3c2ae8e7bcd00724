//! Bad input for every route there is, as the OpenAPI document lists them.

use axum::body::Body;
use http::header;
use serde_json::{Value, json};

use crate::support::{Api, ID, Reply, request};

struct Route {
    name: String,
    method: String,
    path: String,
    /// `sessionToken`, or nothing.
    open: bool,
    /// A property of the body with its schema, if there is a body.
    fields: Vec<(String, Value)>,
}

fn routes() -> Vec<Route> {
    let document: Value =
        serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Links in mails have no JSON; they have tests of their own.
            if path.starts_with("/health") || path == "/unsubscribe" {
                continue;
            }
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let body = &document["components"]["schemas"][&name]["properties"];
            let fields = body.as_object().into_iter().flatten();
            routes.push(Route {
                fields: fields.map(|(name, schema)| (name.clone(), schema.clone())).collect(),
                method: method.to_uppercase(),
                path: path.clone(),
                open: operation["security"] == json!([]),
                name,
            });
        }
    }
    assert!(routes.len() > 30);
    routes
}

impl Route {
    fn has_body(&self) -> bool {
        self.method != "GET"
    }

    /// The path with something in place of every parameter.
    fn with(&self, parameter: &str) -> String {
        self.path
            .split('/')
            .map(|segment| if segment.starts_with('{') { parameter } else { segment })
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// The request is refused for itself, and the answer is a whole problem document.
#[track_caller]
fn is_refused(route: &Route, what: &str, reply: &Reply, statuses: &[u16]) {
    let status = reply.status.as_u16();
    assert!(statuses.contains(&status), "{} with {what}: {reply:?}", route.name);
    let code: Value = serde_json::from_slice(&reply.bytes).unwrap();
    reply.is_problem(status, code["code"].as_str().unwrap());
}

#[tokio::test]
async fn broken_bodies() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let deep = "[".repeat(200_000);
    let bodies: [&[u8]; 12] = [
        b"{",
        b"nonsense",
        b"\"text\"",
        b"[]",
        b"null",
        b"{} {}",
        b"{\"\xff\":1}",
        b"\xef\xbb\xbf{}",
        b"{\"\\ud800\":1}",
        b"{\"nosuchfield\":1}",
        b"{\"a\":1,\"a\":1}",
        deep.as_bytes(),
    ];
    for route in routes() {
        for body in bodies {
            let what = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
            let reply = api.call(&route.method, &route.with(ID), &ada.token, body.to_vec()).await;
            is_refused(&route, &what, &reply, &[400]);
        }
    }
}

#[tokio::test]
async fn ten_mebibytes() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let large = bytes::Bytes::from(vec![b' '; 10 << 20]);
    for route in routes() {
        let reply = api.call(&route.method, &route.with(ID), &ada.token, large.clone()).await;
        is_refused(&route, "a large body", &reply, &[413]);
        let chunk = large.slice(..1 << 20);
        let chunks = std::iter::repeat_n(chunk, 10).map(Ok::<_, std::io::Error>);
        let chunked = Body::from_stream(futures::stream::iter(chunks));
        let reply = api.call(&route.method, &route.with(ID), &ada.token, chunked).await;
        is_refused(&route, "a large body in chunks", &reply, &[413]);
    }
}

#[tokio::test]
async fn a_body_of_another_type() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for route in routes().iter().filter(|route| route.has_body()) {
        let request =
            request(&route.method, &route.with(ID), &ada.token).header(header::CONTENT_TYPE, "text/plain");
        let reply = api.send(request.body(Body::from("{}")).unwrap()).await;
        is_refused(route, "text/plain", &reply, &[415]);
    }
}

#[tokio::test]
async fn bad_path_parameters() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for route in routes().iter().filter(|route| route.path.contains('{')) {
        let upper = ID.to_uppercase();
        let bare = ID.replace('-', "");
        for bad in ["seven", "%00", "%ff", "%F0%9F%98%80", "..%2f..", &bare, &"x".repeat(5000)] {
            let reply = api.call(&route.method, &route.with(bad), &ada.token, "").await;
            is_refused(route, bad, &reply, &[400]);
        }
        // Nobody has it, in whatever case it is written.
        for unknown in [ID, upper.as_str()] {
            let reply = api.call(&route.method, &route.with(unknown), &ada.token, "").await;
            is_refused(route, unknown, &reply, &[400, 404]);
        }
    }
}

#[tokio::test]
async fn bad_queries() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for route in routes() {
        for bad in ["?nosuchfield=1", "?limit=-1", "?limit=many", "?cursor=%ff", "?%00=1", "?limit=1&limit=1"]
        {
            let reply = api.get(&format!("{}{bad}", route.with(ID)), &ada.token).await;
            if route.method == "GET" {
                is_refused(&route, bad, &reply, &[400]);
            }
            let reply = api.call(&route.method, &format!("{}{bad}", route.with(ID)), &ada.token, "").await;
            is_refused(&route, bad, &reply, &[400]);
        }
    }
    for bad in
        ["/users?query=", "/users?query=%00", "/users?query=a&cursor=x", "/chats?limit=0", "/chats?limit=201"]
    {
        ada.get(bad).await.is_problem(422, "invalid");
    }
    ada.get(&format!("/users?query={}", "x".repeat(5000))).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn bad_fields() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let values = [
        json!(""),
        json!("\0"),
        json!("x".repeat(200_000)),
        json!("\u{202e}\u{feff}"),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!([]),
        json!(vec![ID; 2000]),
        json!([null]),
        json!({"a": {"b": "c"}}),
    ];
    for route in routes().iter().filter(|route| route.has_body()) {
        for (field, _) in &route.fields {
            for value in &values {
                let body = json!({ field: value });
                let reply = api.call(&route.method, &route.with(ID), &ada.token, body.to_string()).await;
                let what = format!("{field} {:.40}", value.to_string());
                assert!(reply.status.as_u16() < 500, "{} with {what}: {reply:?}", route.name);
                if reply.status.as_u16() >= 400 {
                    is_refused(route, &what, &reply, &[400, 401, 403, 404, 422]);
                }
            }
            let lone = format!(r#"{{"{field}":"\ud83d"}}"#);
            let reply = api.call(&route.method, &route.with(ID), &ada.token, lone).await;
            is_refused(route, "a lone surrogate", &reply, &[400]);
        }
    }
}

#[tokio::test]
async fn nobody_and_the_wrong_token() {
    let api = Api::new();
    for route in routes() {
        for token in ["", "wrong", ID] {
            let reply = api.call(&route.method, &route.with(ID), token, "").await;
            // What is open has a look at the body, and misses fields.
            is_refused(&route, "no session", &reply, if route.open { &[400] } else { &[401] });
        }
    }
}

#[tokio::test]
async fn what_must_be_there_is_asked_for_by_name() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let document: Value =
        serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap();
    for route in routes().iter().filter(|route| route.has_body()) {
        let required = document["components"]["schemas"][&route.name]["required"].clone();
        let Some(first) = required.as_array().and_then(|required| required.first()) else { continue };
        let reply = api.call(&route.method, &route.with(ID), &ada.token, "").await;
        let detail = reply.is_problem(400, "malformed")["detail"].clone();
        assert_eq!(detail, format!("missing field `{}`", first.as_str().unwrap()), "{}", route.name);
    }
}
