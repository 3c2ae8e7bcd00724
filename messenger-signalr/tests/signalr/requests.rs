//! The requests of clients and the answers of the table of ASP.NET Core's transports.

use axum::response::Response;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use messenger_signalr::{SignalROptions, Transport};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{Service, Socket, handshake, ping, seconds};

const EVENTS: &str = "text/event-stream";

async fn said(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn service() -> Service {
    Service::new(SignalROptions::new()).0
}

async fn get(service: &Service, query: &str, accept: &str) -> Response {
    service.request("GET", query, accept, String::new()).await
}

mod negotiation {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_transports_are_offered_with_an_id_and_a_secret() {
        let offer = service().negotiate("?negotiateVersion=1").await;
        let [id, token] = ["connectionId", "connectionToken"].map(|name| offer[name].as_str().unwrap());
        assert_ne!(id, token);
        for (random, length) in [(id, 22), (token, 44)] {
            assert_eq!(random.len(), length);
            assert!(random.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)));
        }
        let wanted = json!({
            "negotiateVersion": 1,
            "connectionId": id,
            "connectionToken": token,
            "availableTransports": [
                {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
                {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
                {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
            ],
        });
        assert_eq!(offer, wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn the_id_of_version_0_is_the_secret() {
        let service = service();
        for query in ["", "?negotiateVersion=0"] {
            let offer = service.negotiate(query).await;
            assert_eq!((&offer["negotiateVersion"], offer.get("connectionToken")), (&json!(0), None));
            let id = offer["connectionId"].as_str().unwrap();
            assert_eq!(service.poll(id).await.0, 200);
        }
        // That of version 1 is none.
        let offer = service.negotiate("?negotiateVersion=1").await;
        assert_eq!(service.poll(offer["connectionId"].as_str().unwrap()).await.0, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn the_highest_version_that_both_know_is_taken() {
        let offer = service().negotiate("?negotiateVersion=2").await;
        assert_eq!(offer["negotiateVersion"], 1);
        let (service, _) = Service::new(SignalROptions::new().minimum_protocol_version(1));
        assert_eq!(service.negotiate("?negotiateVersion=1").await["negotiateVersion"], 1);
        let error = "The client requested version '0', but the server does not support this version.";
        assert_eq!(service.negotiate("").await, json!({ "error": error }));
        let error = "The client requested a non-integer protocol version.";
        assert_eq!(service.negotiate("?negotiateVersion=one").await, json!({ "error": error }));
    }

    #[tokio::test(start_paused = true)]
    async fn stateful_reconnect_is_offered_to_who_asks_where_it_is_allowed() {
        let asks = "?negotiateVersion=1&useStatefulReconnect=True";
        let stateful = SignalROptions::new().allow_stateful_reconnects(true);
        for (options, query, offered) in [
            (stateful.clone(), asks, Some(true)),
            (stateful.clone(), "?negotiateVersion=1", None),
            (stateful.clone(), "?negotiateVersion=1&useStatefulReconnect=no", None),
            (stateful.transports([Transport::LongPolling]), asks, None),
            (SignalROptions::new(), asks, None),
        ] {
            let offer = Service::new(options).0.negotiate(query).await;
            assert_eq!(offer.get("useStatefulReconnect").and_then(Value::as_bool), offered);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_offered_can_t_be_had() {
        let options = SignalROptions::new().transports([Transport::LongPolling]);
        let (service, _) = Service::new(options);
        let offer = service.negotiate("?NEGOTIATEVERSION=1").await;
        assert_eq!(offer["availableTransports"].as_array().unwrap().len(), 1);
        let id = format!("?id={}", offer["connectionToken"].as_str().unwrap());
        assert_eq!(Socket::open(&service, &id).await.err(), Some(StatusCode::NOT_FOUND));
        let text = "ServerSentEvents transport not supported by this end point type".to_owned();
        assert_eq!(said(get(&service, &id, EVENTS).await).await, (404, text));
        assert_eq!(get(&service, &id, "*/*").await.status(), 200);
        let options = SignalROptions::new().transports([Transport::WebSockets]);
        let (service, _) = Service::new(options);
        let text = "LongPolling transport not supported by this end point type".to_owned();
        let id = format!("?id={}", service.token("").await);
        assert_eq!(said(get(&service, &id, "*/*").await).await, (404, text));
        assert!(Socket::open(&service, &id).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_is_told_so_first() {
        let service = service();
        for (token, status) in [("nobody", 401), ("banned", 403)] {
            let query = format!("/negotiate?access_token={token}");
            assert_eq!(service.request("POST", &query, "*/*", String::new()).await.status(), status);
            assert_eq!(service.request("GET", &query, "*/*", String::new()).await.status(), status);
        }
        assert_eq!(service.request("GET", "/negotiate", "*/*", String::new()).await.status(), 405);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_begun_is_over_after_a_while() {
        let service = service();
        let [early, late] = [service.token("").await, service.token("").await];
        sleep(seconds(14)).await;
        assert_eq!(service.poll(&early).await.0, 200);
        sleep(seconds(2)).await;
        assert_eq!(service.poll(&late).await.0, 404);
        assert_eq!(service.post(&early, &[handshake("json", 1)]).await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_needs_an_id_that_there_is() {
    let service = service();
    for (method, accept) in [("GET", EVENTS), ("GET", "*/*"), ("POST", "*/*"), ("DELETE", "*/*")] {
        for query in ["", "?id="] {
            let answer = service.request(method, query, accept, String::new()).await;
            assert_eq!(said(answer).await, (400, "Connection ID required".to_owned()), "{method}");
        }
        let answer = service.request(method, "?id=none", accept, String::new()).await;
        assert_eq!(said(answer).await, (404, "No Connection with that ID".to_owned()), "{method}");
    }
    assert_eq!(service.request("PUT", "?id=none", "*/*", String::new()).await.status(), 405);
    assert_eq!(Socket::open(&service, "?id=none").await.err(), Some(StatusCode::NOT_FOUND));
}

#[tokio::test(start_paused = true)]
async fn a_hub_is_told_which_requests_begin_something() {
    let (service, world) = Service::new(SignalROptions::new());
    let begin = || std::mem::take(&mut *world.begins.lock().unwrap());
    let polls = service.token("").await;
    assert_eq!(begin(), [true]);
    service.poll(&polls).await;
    service.post(&polls, &[]).await;
    service.request("DELETE", &format!("?id={polls}"), "*/*", String::new()).await;
    assert_eq!(begin(), [false; 3]);
    let events = format!("?id={}", service.token("").await);
    let _events = get(&service, &events, EVENTS).await;
    let _socket = Socket::open(&service, "").await.unwrap();
    assert_eq!(begin(), [true; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_of_one_user() {
    let service = service();
    let token = service.token("&access_token=ada").await;
    for (method, accept) in [("GET", EVENTS), ("GET", "*/*"), ("POST", "*/*"), ("DELETE", "*/*")] {
        let query = format!("?id={token}&access_token=bob");
        assert_eq!(service.request(method, &query, accept, String::new()).await.status(), 404, "{method}");
    }
    let bobs = format!("?id={token}&access_token=bob");
    assert_eq!(Socket::open(&service, &bobs).await.err(), Some(StatusCode::NOT_FOUND));
    assert!(Socket::open(&service, &format!("?id={token}&access_token=ada")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_transport() {
    let service = service();
    let other = (400, "Cannot change transports mid-connection".to_owned());
    let busy = (409, "The connection is in use by another request.".to_owned());
    let unknown = Some(StatusCode::BAD_REQUEST);

    let socket = format!("?id={}", service.token("").await);
    let _socket = Socket::open(&service, &socket).await.unwrap();
    assert_eq!(said(get(&service, &socket, EVENTS).await).await, other);
    assert_eq!(said(get(&service, &socket, "*/*").await).await, other);
    assert_eq!(Socket::open(&service, &socket).await.err(), Some(StatusCode::CONFLICT));
    let post = service.request("POST", &socket, "*/*", "x".into()).await;
    assert_eq!(
        said(post).await,
        (405, "POST requests are not allowed for WebSocket connections.".to_owned())
    );

    let events = format!("?id={}", service.token("").await);
    let _events = get(&service, &events, EVENTS).await;
    assert_eq!(said(get(&service, &events, EVENTS).await).await, busy);
    assert_eq!(said(get(&service, &events, "*/*").await).await, other);
    assert_eq!(Socket::open(&service, &events).await.err(), unknown);

    let polls = format!("?id={}", service.token("").await);
    assert_eq!(get(&service, &polls, "*/*").await.status(), 200);
    assert_eq!(said(get(&service, &polls, EVENTS).await).await, other);
    assert_eq!(Socket::open(&service, &polls).await.err(), unknown);

    // Only polls can be ended by a request, and not before there were any.
    let none = format!("?id={}", service.token("").await);
    for (query, status) in [(&socket, 400), (&events, 400), (&none, 400), (&polls, 202)] {
        assert_eq!(service.request("DELETE", query, "*/*", String::new()).await.status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_handshake_of_a_web_socket_is_told_so() {
    let service = service();
    let request = http::Request::get("/hub").header(header::UPGRADE, "WebSocket");
    let answer = service.send(request.body(axum::body::Body::empty()).unwrap()).await;
    let text = "A WebSocket handshake (RFC 6455) is expected.".to_owned();
    assert_eq!(said(answer).await, (400, text));
}

#[tokio::test(start_paused = true)]
async fn what_is_posted_before_the_transport_is_known_is_not_lost() {
    let service = service();
    let token = service.token("").await;
    assert_eq!(service.post(&token, &[handshake("json", 1)]).await, 200);
    assert_eq!(service.poll(&token).await, (StatusCode::OK, vec![]));
    assert_eq!(service.poll(&token).await, (StatusCode::OK, vec![json!({})]));
    // Unless it becomes one that nothing is posted to.
    let token = service.token("").await;
    assert_eq!(service.post(&token, &[handshake("json", 1)]).await, 200);
    let mut socket = Socket::open(&service, &format!("?id={token}")).await.unwrap();
    socket.shake_hands(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_post_has_a_limit_and_an_end() {
    let service = service();
    let token = service.polling("").await;
    let query = format!("?id={token}");
    let post = |body: axum::body::Body| {
        service.send(http::Request::post(format!("/hub{query}")).body(body).unwrap())
    };
    let spaces = " ".repeat(1024 * 1024);
    assert_eq!(post((spaces.clone() + " ").into()).await.status(), 413);
    let broken = futures::stream::iter([Ok("half"), Err(std::io::Error::other("gone"))]);
    assert_eq!(post(axum::body::Body::from_stream(broken)).await.status(), 400);
    let slow = futures::stream::pending::<Result<&str, std::io::Error>>();
    let began = tokio::time::Instant::now();
    let polls = async {
        loop {
            service.poll(&token).await;
        }
    };
    tokio::select! {
        answer = post(axum::body::Body::from_stream(slow)) => assert_eq!(answer.status(), 400),
        () = polls => {}
    }
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(post("".into()).await.status(), 200);
    assert_eq!(service.post(&token, &[ping()]).await, 200);
}

#[tokio::test(start_paused = true)]
async fn answers_are_not_to_be_kept_by_anybody() {
    let service = service();
    let polls = format!("?id={}", service.token("").await);
    let poll = get(&service, &polls, "*/*").await;
    let headers = |response: &Response, names: &[header::HeaderName]| -> Vec<String> {
        names.iter().map(|name| response.headers()[name].to_str().unwrap().to_owned()).collect()
    };
    let caching = [header::CACHE_CONTROL, header::PRAGMA, header::EXPIRES, header::CONTENT_TYPE];
    let wanted =
        ["no-cache, no-store", "no-cache", "Thu, 01 Jan 1970 00:00:00 GMT", "application/octet-stream"];
    assert_eq!(headers(&poll, &caching), wanted);

    let events = format!("?id={}", service.token("").await);
    let events = get(&service, &events, "text/html, Text/Event-Stream").await;
    let names = [header::CONTENT_TYPE, header::CACHE_CONTROL, header::CONTENT_ENCODING];
    assert_eq!(headers(&events, &names), [EVENTS, "no-cache,no-store", "identity"]);
    assert_eq!(events.headers()["x-accel-buffering"], "no");
}
