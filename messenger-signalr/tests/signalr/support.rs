//! A service that is reached without a network, and clients of each transport.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::Response, serve::Listener};
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use messenger_signalr::SignalROptions;
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use tower::ServiceExt as _;

use crate::hub::{TestHub, World};

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
    /// The test's hub.
    pub(crate) fn new(options: SignalROptions) -> (Self, Arc<World>) {
        let world = Arc::new(World::default());
        let hub = messenger_signalr::router(TestHub(Arc::clone(&world)), options);
        (Self::of(Router::new().nest("/hub", hub), "/hub"), world)
    }

    pub(crate) fn of(app: Router, path: &'static str) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        let serving = app.clone();
        tokio::spawn(async move { axum::serve(Wires(dialled), serving).await });
        Self { app, dial, path }
    }

    /// The test's hub, at `/hub`, in an app that is dropped then.
    pub(crate) fn until(app: Router, ends: impl Future<Output = ()> + Send + 'static) -> Self {
        let (dial, dialled) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            tokio::select! {
                _ = async move { axum::serve(Wires(dialled), app).await } => {}
                () = ends => {}
            }
        });
        Self { app: Router::new(), dial, path: "/hub" }
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

    pub(crate) async fn post(&self, token: &str, records: &[Value]) -> StatusCode {
        let body = records.iter().map(|record| format!("{record}{RECORD_END}")).collect();
        self.request("POST", &format!("?id={token}"), "*/*", body).await.status()
    }

    /// A poll; what it brings.
    pub(crate) async fn poll(&self, token: &str) -> (StatusCode, Vec<Value>) {
        self.poll_as(token, "anybody").await
    }

    /// One of somebody else.
    pub(crate) async fn poll_as(&self, token: &str, user: &str) -> (StatusCode, Vec<Value>) {
        let query = format!("?id={token}&access_token={user}");
        let response = self.request("GET", &query, "*/*", String::new()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        // Anything else says in words what is wrong.
        let records = (status == 200).then(|| records(std::str::from_utf8(&body).unwrap()));
        (status, records.unwrap_or_default())
    }

    /// A connection by long polling, its handshake done.
    pub(crate) async fn polling(&self, query: &str) -> String {
        let token = self.token(query).await;
        assert_eq!(self.poll(&token).await, (StatusCode::OK, vec![]));
        assert_eq!(self.post(&token, &[handshake("json", 1)]).await, 200);
        assert_eq!(self.poll(&token).await, (StatusCode::OK, vec![json!({})]));
        token
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

/// Calls that are answered as soon as they are looked at, and one behind them that takes its time, if only a little.
pub(crate) fn many_calls() -> Vec<Value> {
    let answered = (0..1000).map(|id| match id % 2 {
        0 => invocation(&id.to_string(), "Echo", &json!([id])),
        _ => invocation(&id.to_string(), "Nothing", &json!([])),
    });
    answered.chain([invocation("last", "Place", &json!([]))]).collect()
}

/// Whether these are the answers to [`many_calls`], in order.
#[track_caller]
pub(crate) fn are_answered(answers: &[Value]) {
    let ids: Vec<_> = answers.iter().map(|answer| answer["invocationId"].as_str().unwrap()).collect();
    let asked: Vec<_> = (0..1000).map(|id| id.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(ids, asked);
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

    /// Opens it without a negotiation, and shakes hands.
    pub(crate) async fn start(service: &Service) -> Self {
        let mut socket = Self::open(service, "").await.unwrap();
        socket.shake_hands(1).await;
        socket
    }

    /// With a negotiation of stateful reconnect; and its token.
    pub(crate) async fn start_stateful(service: &Service) -> (Self, String) {
        let token = service.token("&useStatefulReconnect=true").await;
        let mut socket = Self::open(service, &format!("?id={token}")).await.unwrap();
        socket.shake_hands(2).await;
        (socket, token)
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

    /// Reads for so long, and does nothing else: its library answers pings.
    pub(crate) async fn only_reads(&mut self, how_long: Duration) {
        let until = Instant::now() + how_long;
        while let Ok(heard) = tokio::time::timeout_at(until, self.hear()).await {
            assert_eq!(heard, Some(ping()));
        }
    }
}
