//! What operators see, and what they must not.

use std::{cell::RefCell, io, sync::Once};

use axum::body::Body;
use messenger_axum::Options;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use crate::support::{Api, ID, request};

thread_local! {
    /// What this thread has logged since it began to listen.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// For the whole process, because whether a place logs at all is decided for all threads at once: with a subscriber
/// for one thread, another test could have decided that it does not.
struct Log;

impl Log {
    fn listen() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(|| Log)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LOG.set(Some(Vec::new()));
    }

    fn heard() -> String {
        String::from_utf8(LOG.take().unwrap()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_ids_and_routes_but_nothing_that_people_send() {
    Log::listen();
    let api = Api::new();
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    ada.says(&chat, "whispered").await;
    ada.get("/users?query=whispered").await.is(200);
    ada.get(&format!("/users?query=a&access_token={}", ada.token)).await.is_problem(400, "malformed");
    ada.post(&format!("/chats/{chat}/messages"), json!({"body": 1, "x": "whispered"})).await;
    let login = json!({"login": "ada", "password": "whispered"}).to_string();
    api.call("POST", "/auth/login", "", login).await.is_problem(401, "invalidCredentials");
    let named = request("GET", "/users/me", &ada.token).header("x-request-id", "trace-me");
    api.send(named.body(Body::empty()).unwrap()).await.is(200);

    let log = Log::heard();
    for expected in
        ["/api/v1/chats/{chatId}/messages", "request_id=trace-me", "status=401", "method=\"POST\""]
    {
        assert!(log.contains(expected), "no {expected} in {log}");
    }
    for secret in [ada.token.as_str(), "whispered", "correct horse", "ada@example.org", "access_token"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn metrics_count_by_route_and_not_by_path() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = Api::with(Options::new());
            let ada = api.register("ada").await;
            ada.get(&format!("/chats/{ID}")).await.is_problem(404, "notFound");
            ada.get(&format!("/nothing/{ID}")).await.is_problem(404, "notFound");
            api.call("BREW", "/users", "", "").await.is_problem(405, "methodNotAllowed");
        });
    });
    let text = handle.render();
    let mut counted: Vec<&str> =
        text.lines().filter(|line| line.starts_with("messenger_http_requests_total")).collect();
    counted.sort_unstable();
    insta::assert_debug_snapshot!(counted);
    assert!(text.contains("messenger_http_request_duration_seconds"));
    assert!(!text.contains(ID));
}
