//! The API as the example server mounts it, and people who use it.

use std::{collections::HashMap, sync::Arc};

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use messenger_axum::{Options, router};
use messenger_core::{Messenger, PasswordCost, Policy, Settings, memory::MemoryStore};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const PREFIX: &str = "/api/v1";
/// An id that nothing has.
pub(crate) const ID: &str = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f";

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) messenger: Messenger,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    api: Api,
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Api {
    /// Without limits of rate, which the tests of those set.
    pub(crate) fn new() -> Self {
        Self::with(Options::new().rate_limits(None))
    }

    pub(crate) fn with(options: Options) -> Self {
        Self::of(Messenger::in_memory(), options)
    }

    pub(crate) fn with_policy(policy: impl Policy, options: Options) -> Self {
        let settings = Settings {
            password_cost: PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() },
            ..Settings::default()
        };
        let builder = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings);
        Self::of(builder.policy(Arc::new(policy)).build().unwrap(), options.rate_limits(None))
    }

    pub(crate) fn of(messenger: Messenger, options: Options) -> Self {
        let router = Router::new().nest(PREFIX, router(messenger.clone(), options));
        Self { router, messenger }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        let reply = Reply { status: parts.status, headers: parts.headers, bytes };
        documented::check(&method, &path, &reply);
        reply
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(request("GET", path, token).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: impl Into<Body>) -> Reply {
        let request = request(method, path, token).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn register(&self, name: &str) -> Person {
        let account = json!({
            "username": name, "email": format!("{name}@example.org"), "password": "correct horse",
        });
        let reply = self.call("POST", "/auth/register", "", account.to_string()).await.is(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Person { api: self.clone(), id: text(&reply["user"]["id"]), token: text(&reply["token"]) }
    }
}

impl Person {
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.api.get(path, &self.token).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.api.call(method, path, &self.token, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, body).await
    }

    /// A group of this person and others; its id.
    pub(crate) async fn group(&self, others: &[&Person]) -> String {
        let members: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
        let group = self.post("/chats/group", json!({"title": "Tea", "memberIds": members})).await.is(201);
        group["id"].as_str().unwrap().to_owned()
    }

    /// Sends a message; its id.
    pub(crate) async fn says(&self, chat: &str, text: &str) -> String {
        let message = self.post(&format!("/chats/{chat}/messages"), json!({"body": text})).await.is(201);
        message["id"].as_str().unwrap().to_owned()
    }
}

impl Reply {
    /// Its JSON, if it has this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.bytes.is_empty() {
            return Value::Null;
        }
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Its problem document, if it is a whole one with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem: Value = serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{self:?}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["requestId"], self.header("x-request-id"));
        for text in ["type", "title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {problem}");
        }
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, String::from_utf8_lossy(&self.bytes))
    }
}

/// A request below the prefix; without a token if that is empty.
pub(crate) fn request(method: &str, path: &str, token: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(format!("{PREFIX}{path}"));
    if token.is_empty() { request } else { request.header(header::AUTHORIZATION, format!("Bearer {token}")) }
}

/// The same JSON for every run: ids numbered in the order in which they come, no moments, no tokens.
pub(crate) fn scrubbed(mut value: Value) -> Value {
    fn scrub(value: &mut Value, ids: &mut HashMap<String, usize>) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, ids)),
            Value::Object(fields) => fields.values_mut().for_each(|field| scrub(field, ids)),
            Value::String(text) if text.len() == 36 && text.matches('-').count() == 4 => {
                let next = ids.len() + 1;
                *text = format!("id {}", ids.entry(text.clone()).or_insert(next));
            }
            Value::String(text) if text.len() == 24 && text.ends_with('Z') => "time".clone_into(text),
            Value::String(text) if text.len() == 43 => "token".clone_into(text),
            _ => {}
        }
    }
    scrub(&mut value, &mut HashMap::new());
    value
}

/// Whatever a test is answered with must be what the OpenAPI document says of that operation.
mod documented {
    use std::sync::LazyLock;

    use http::Method;
    use messenger_core::Limits;
    use serde_json::Value;

    use super::{PREFIX, Reply};

    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_slice(&messenger_axum::openapi(&Limits::default())).unwrap());

    #[track_caller]
    pub(super) fn check(method: &Method, path: &str, reply: &Reply) {
        let Some(operation) = operation(method, path) else { return };
        let status = reply.status.as_str();
        let described = &operation["responses"][status];
        assert!(
            described.is_object(),
            "{method} {path} is answered {status}, which is not described: {reply:?}"
        );
        if let Ok(problem) = serde_json::from_slice::<Value>(&reply.bytes)
            && let (Some(code), true) = (problem["code"].as_str(), reply.status.as_u16() >= 400)
        {
            let text = described["description"].as_str().unwrap();
            assert!(text.contains(&format!("`{code}`")), "{method} {path}: {code} is not described: {text}");
        }
    }

    /// The one of this path: a segment as it stands is nearer than a parameter.
    fn operation(method: &Method, path: &str) -> Option<&'static Value> {
        let path = path.strip_prefix(PREFIX)?;
        let fits = |template: &str| {
            let (mut here, mut there) = (path.split('/'), template.split('/'));
            let alike = |(a, b): (&str, &str)| a == b || b.starts_with('{');
            here.clone().count() == there.clone().count() && here.by_ref().zip(there.by_ref()).all(alike)
        };
        let paths = DOCUMENT["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
        let (_, methods) = paths.min_by_key(|(template, _)| template.matches('{').count())?;
        methods.get(method.as_str().to_lowercase())
    }
}
