//! A service that is reached without a network, and clients of each transport.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, response::Response, serve::Listener};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::{io::DuplexStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use tower::ServiceExt as _;

/// Longer than anything here takes on the clock of the test; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Bytes that are on their way without anybody taking them, as in the buffers of a system.
const ON_THE_WAY: usize = 64 * 1024;
pub(crate) const RECORD_END: char = '\u{1e}';

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Something that is served at `/hub`.
#[derive(Clone)]
pub(crate) struct Service {
    app: Router,
    dial: mpsc::UnboundedSender<DuplexStream>,
    path: &'static str,
}

impl Service {
    pub(crate) fn of(app: Router, path: &'static str) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        let serving = app.clone();
        tokio::spawn(async move { axum::serve(Wires(dialled), serving).await });
        Self { app, dial, path }
    }

    /// A way to the server, which holds so many bytes in each direction.
    pub(crate) fn wire(&self, bytes: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(bytes);
        self.dial.send(server).unwrap();
        client
    }

    /// Makes a request; the query begins with `?`, or is empty.
    pub(crate) async fn request(&self, method: &str, query: &str, accept: &str, body: String) -> Response {
        let uri = format!("{}{query}", self.path);
        let request = Request::builder().method(method).uri(uri).header("accept", accept);
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        let answer = self.app.clone().oneshot(request);
        timeout(PATIENCE, answer).await.expect("an answer comes").unwrap()
    }

    pub(crate) async fn negotiate(&self, query: &str) -> Value {
        let response = self.request("POST", &format!("/negotiate{query}"), "*/*", String::new()).await;
        assert_eq!(response.status(), 200);
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    /// The secret of a connection that has been negotiated.
    pub(crate) async fn token(&self, query: &str) -> String {
        let query = format!("?negotiateVersion=1{query}");
        self.negotiate(&query).await["connectionToken"].as_str().unwrap().to_owned()
    }
}

/// Connections as a listener gives them.
struct Wires(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Wires {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
        match self.0.recv().await {
            Some(wire) => (wire, ([127, 0, 0, 1], 1).into()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}

pub(crate) fn handshake(protocol: &str, version: u32) -> Value {
    json!({"protocol": protocol, "version": version})
}

pub(crate) fn ping() -> Value {
    json!({"type": 6})
}

pub(crate) fn invocation(id: &str, target: &str, arguments: &Value) -> Value {
    json!({"type": 1, "invocationId": id, "target": target, "arguments": arguments})
}

pub(crate) fn records(text: &str) -> Vec<Value> {
    text.split_terminator(RECORD_END).map(|record| serde_json::from_str(record).unwrap()).collect()
}

/// A client with a WebSocket.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<DuplexStream>,
    records: VecDeque<Value>,
    /// How often it was asked for a sign of life.
    pub(crate) asked: usize,
}

impl Socket {
    /// Opens it; the query begins with `?`, or is empty.
    pub(crate) async fn open(service: &Service, query: &str) -> Result<Self, StatusCode> {
        Self::open_over(service.wire(ON_THE_WAY), service.path, query).await
    }

    pub(crate) async fn open_over(wire: DuplexStream, path: &str, query: &str) -> Result<Self, StatusCode> {
        let request = format!("ws://test{path}{query}").into_client_request().unwrap();
        match timeout(PATIENCE, client_async(request, wire)).await.expect("an answer comes") {
            Ok((stream, _)) => Ok(Self { stream, records: VecDeque::new(), asked: 0 }),
            Err(Error::Http(response)) => Err(response.status()),
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn shake_hands(&mut self, version: u32) {
        self.say(handshake("json", version)).await;
        assert_eq!(self.hear().await, Some(json!({})));
    }

    pub(crate) async fn say(&mut self, record: Value) {
        self.send(format!("{record}{RECORD_END}")).await;
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        timeout(PATIENCE, self.stream.send(message.into())).await.unwrap().unwrap();
    }

    /// The next record, pings included; `None` at the end.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Some(record);
            }
            match timeout(PATIENCE, self.stream.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => self.records.extend(records(&text)),
                Some(Ok(Message::Ping(_))) => self.asked += 1,
                Some(Ok(Message::Close(_))) => {
                    // The other half of the handshake; the server may have gone without waiting for it.
                    let _ = self.stream.flush().await;
                    return None;
                }
                Some(Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The next record that is no ping.
    pub(crate) async fn hear_more(&mut self) -> Option<Value> {
        let more = async {
            loop {
                match self.hear().await {
                    Some(record) if record == ping() => {}
                    other => return other,
                }
            }
        };
        timeout(PATIENCE, more).await.expect("more than pings comes")
    }

    /// The result of a call.
    pub(crate) async fn call(&mut self, target: &str, arguments: Value) -> Value {
        self.say(invocation("call", target, &arguments)).await;
        let answer = self.hear_more().await.expect("an answer comes");
        assert_eq!((&answer["type"], &answer["invocationId"]), (&json!(3), &json!("call")), "{answer}");
        answer
    }
}
