//! A server on a loopback port, people who have registered, and sockets that speak JSON-RPC.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use futures::{SinkExt as _, StreamExt as _};
use messenger_axum::{Options, router};
use messenger_core::{
    Actor, ChatId, Limits, MessageBody, Messenger, Password, PasswordCost, Policy, Result, Seq, Settings,
    commands::{LogIn, RegisterUser, SendMessage},
    hub::HubSettings,
    memory::MemoryStore,
    queries::GetHistory,
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Bytes, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use crate::asyncapi;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// An id that nothing has.
pub(crate) const ID: &str = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f";
pub(crate) const PASSWORD: &str = "correct horse";

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) messenger: Messenger,
    pub(crate) address: SocketAddr,
}

/// Somebody who is logged in.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) server: Server,
    pub(crate) id: String,
    pub(crate) token: String,
}

/// An open socket. What comes that is not asked for waits in it.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<TcpStream>,
    last_id: u64,
    events: VecDeque<Value>,
    answers: HashMap<u64, Value>,
    /// Requests of [`begin`](Self::begin) that are not answered yet.
    asked: HashMap<u64, Value>,
}

/// How the server ended a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    With(u16, String),
    /// Without a closing frame.
    Cut,
}

impl Server {
    /// Without limits of rate, which the tests of those set.
    pub(crate) async fn new() -> Self {
        Self::with(HubSettings::default(), Options::new().rate_limits(None)).await
    }

    pub(crate) async fn with_hub(hub: HubSettings) -> Self {
        Self::with(hub, Options::new().rate_limits(None)).await
    }

    pub(crate) async fn with(hub: HubSettings, options: Options) -> Self {
        let messenger = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings(hub));
        Self::serving(messenger.build().unwrap(), options).await
    }

    /// Chats of more than so many members send no `typing` and no marks of others.
    pub(crate) async fn quiet_above(members: usize) -> Self {
        let settings = settings(HubSettings::default());
        let limits = Limits { ephemeral_members: members, ..Limits::default() };
        let messenger = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings).limits(limits);
        Self::serving(messenger.build().unwrap(), Options::new().rate_limits(None)).await
    }

    /// One in which calls of this operation wait at the gate, if not longer than this.
    pub(crate) async fn gated(operation: &'static str, at_most: Duration) -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate { operation, reached: Notify::new(), open: Notify::new() });
        let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
            .settings(settings(HubSettings::default()))
            .policy(Arc::clone(&gate) as Arc<dyn Policy>);
        let options = Options::new().rate_limits(None).timeout(at_most);
        (Self::serving(messenger.build().unwrap(), options).await, gate)
    }

    pub(crate) async fn serving(messenger: Messenger, options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().nest("/api/v1", router(messenger.clone(), options));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { messenger, address }
    }

    pub(crate) async fn register(&self, name: &str) -> Person {
        let command = RegisterUser {
            username: name.into(),
            email: format!("{name}@example.org"),
            password: Password::new(PASSWORD),
            display_name: None,
            device: None,
        };
        let registered = self.messenger.execute(&Actor::anonymous(), command).await.unwrap();
        Person {
            server: self.clone(),
            id: registered.user.user.id.to_string(),
            token: registered.token.expose().to_owned(),
        }
    }

    /// A new session of somebody; its token.
    pub(crate) async fn log_in(&self, name: &str, password: &str) -> String {
        let command = LogIn { login: name.into(), password: Password::new(password), device: None };
        let session = self.messenger.execute(&Actor::anonymous(), command).await.unwrap();
        session.token.expose().to_owned()
    }

    pub(crate) async fn people<const N: usize>(&self, names: [&str; N]) -> [Person; N] {
        let people = names.map(|name| self.register(name));
        futures::future::join_all(people).await.try_into().unwrap_or_else(|_| unreachable!())
    }

    /// Waits until so many sockets are open.
    pub(crate) async fn has_connections(&self, count: usize) {
        until(|| self.messenger.connections() == count).await;
    }
}

/// Holds up the calls of one operation until it is opened.
pub(crate) struct Gate {
    operation: &'static str,
    reached: Notify,
    open: Notify,
}

impl Gate {
    /// Waits until a call is at the gate.
    pub(crate) async fn reached(&self) {
        timeout(PATIENCE, self.reached.notified()).await.expect("a call comes");
    }

    /// Lets one call pass.
    pub(crate) fn open(&self) {
        self.open.notify_one();
    }
}

#[async_trait]
impl Policy for Gate {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if operation == self.operation {
            self.reached.notify_one();
            self.open.notified().await;
        }
        Ok(())
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

fn settings(hub: HubSettings) -> Settings {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    Settings { password_cost, hub, ..Settings::default() }
}

/// Looks again and again; nothing tells when these things happen.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "it did not come to that");
        sleep(Duration::from_millis(5)).await;
    }
}

impl Person {
    /// A socket that has said nothing yet.
    pub(crate) async fn connect(&self) -> Socket {
        let tcp = TcpStream::connect(self.server.address).await.unwrap();
        self.connect_over(tcp).await
    }

    /// A socket of a client that can take in little before it reads.
    pub(crate) async fn connect_narrow(&self) -> Socket {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        self.connect_over(tcp.connect(self.server.address).await.unwrap()).await
    }

    async fn connect_over(&self, tcp: TcpStream) -> Socket {
        tcp.set_nodelay(true).unwrap();
        let url = format!("ws://{}/api/v1/ws", self.server.address);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        Socket::of(client_async(request, tcp).await.unwrap().0)
    }

    /// A socket to which live events come.
    pub(crate) async fn online(&self) -> Socket {
        let mut socket = self.connect().await;
        socket.ok("Resume", json!({})).await;
        assert_eq!(socket.event().await, ("caughtUp".into(), json!({})));
        socket
    }

    /// A socket that has resumed, with what came before `caughtUp`.
    pub(crate) async fn resume(&self, chats: Value) -> (Socket, Vec<(String, Value)>) {
        let mut socket = self.connect().await;
        socket.ok("Resume", json!({ "chats": chats })).await;
        let missed = socket.until_caught_up().await;
        (socket, missed)
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.connect().await.ok(method, params).await
    }

    /// A group of this person and others; its id.
    pub(crate) async fn group(&self, others: &[&Person]) -> String {
        let members: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
        let group = self.call("CreateGroupChat", json!({"title": "Tea", "memberIds": members})).await;
        group["id"].as_str().unwrap().to_owned()
    }

    /// Sends so many messages, faster than any socket could.
    pub(crate) async fn says_quickly(&self, chat: &str, body: &str, count: usize) {
        let messenger = &self.server.messenger;
        let actor = messenger.authenticate(&self.token).await.unwrap();
        let chat_id = chat.parse().unwrap();
        for _ in 0..count {
            let send = SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None };
            messenger.execute(&actor, send).await.unwrap();
        }
    }

    /// All messages of a chat, oldest first, as the service has them.
    pub(crate) async fn history(&self, chat: &str) -> Vec<Value> {
        let messenger = &self.server.messenger;
        let actor = messenger.authenticate(&self.token).await.unwrap();
        let mut all = Vec::new();
        loop {
            let after = Some(Seq::new(all.len() as u64));
            let chat_id = chat.parse().unwrap();
            let page = GetHistory { chat_id, before: None, after, around: None, limit: Some(200) };
            let page = messenger.query(&actor, page).await.unwrap();
            all.extend(page.items.iter().map(|message| serde_json::to_value(message).unwrap()));
            if !page.has_more_after {
                return all;
            }
        }
    }
}

impl Socket {
    pub(crate) fn of(stream: WebSocketStream<TcpStream>) -> Self {
        Self { stream, last_id: 0, events: VecDeque::new(), answers: HashMap::new(), asked: HashMap::new() }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        timeout(PATIENCE, self.stream.send(message.into())).await.unwrap().unwrap();
    }

    pub(crate) async fn say(&mut self, json: &Value) {
        self.send(json.to_string()).await;
    }

    /// Sends a request without waiting for its answer.
    pub(crate) async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.say(&request).await;
        self.asked.insert(id, request);
        id
    }

    /// The answer to a request of [`begin`](Self::begin), whole.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            let frame = self.frame().await;
            self.sort(frame);
        }
    }

    /// The whole answer to a request.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        self.answer(id).await
    }

    /// The result of a request that must succeed.
    pub(crate) async fn ok(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The problem of a request that must be refused with this code.
    pub(crate) async fn refused(&mut self, method: &str, params: Value, code: &str) -> Value {
        let answer = self.call(method, params).await;
        is_refusal(&answer, code)
    }

    /// Sends a message; what is stored of it.
    pub(crate) async fn says(&mut self, chat: &str, body: &str) -> Value {
        self.ok("SendMessage", json!({"chatId": chat, "body": body})).await
    }

    /// The next event: its name and payload.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let event = loop {
            if let Some(event) = self.events.pop_front() {
                break event;
            }
            let frame = self.frame().await;
            self.sort(frame);
        };
        assert_eq!(event["jsonrpc"], "2.0");
        assert_eq!(event.as_object().unwrap().len(), 3, "{event}");
        (event["method"].as_str().unwrap().to_owned(), event["params"].clone())
    }

    /// The payload of the next event, which must be this one.
    pub(crate) async fn expect(&mut self, name: &str) -> Value {
        let (found, payload) = self.event().await;
        assert_eq!(found, name, "{payload}");
        payload
    }

    pub(crate) async fn until_caught_up(&mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        loop {
            match self.event().await {
                (name, payload) if name == "caughtUp" => {
                    assert_eq!(payload, json!({}));
                    return events;
                }
                event => events.push(event),
            }
        }
    }

    /// The next text frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.message().await {
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
            Err(ended) => panic!("the socket ended: {ended:?}"),
        }
    }

    /// The next text frame, or how the server has ended the socket.
    pub(crate) async fn message(&mut self) -> std::result::Result<String, Ended> {
        loop {
            let next = timeout(PATIENCE, self.stream.next()).await.expect("nothing came");
            return match next {
                Some(Ok(Message::Text(text))) => {
                    asyncapi::check_frame(&text);
                    Ok(text.to_string())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    // The other half of the handshake; the server may have gone without waiting for it.
                    let _ = self.stream.flush().await;
                    Err(Ended::With(code.into(), reason.to_string()))
                }
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => Err(Ended::Cut),
            };
        }
    }

    /// Whether a control frame comes next, and which: text frames wait.
    pub(crate) async fn control(&mut self) -> Message {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("nothing came").unwrap().unwrap() {
                Message::Text(text) => {
                    let frame = serde_json::from_str(&text).unwrap();
                    self.sort(frame);
                }
                other => return other,
            }
        }
    }

    /// Reads until the server has ended the socket.
    pub(crate) async fn ended(&mut self) -> Ended {
        loop {
            if let Err(ended) = self.message().await {
                return ended;
            }
        }
    }

    /// The code with which the server ends the socket.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match self.ended().await {
            Ended::With(code, _) => code,
            Ended::Cut => panic!("the socket was cut without a closing frame"),
        }
    }

    fn sort(&mut self, frame: Value) {
        match frame["id"].as_u64() {
            Some(id) if frame.get("method").is_none() => {
                if let Some(request) = self.asked.remove(&id) {
                    asyncapi::check_answer(&request, &frame);
                }
                assert!(self.answers.insert(id, frame).is_none(), "{id} was answered twice");
            }
            _ => {
                assert!(frame.get("method").is_some(), "an answer that nobody waits for: {frame}");
                self.events.push_back(frame);
            }
        }
    }
}

/// The problem in an answer, which must be a refusal with this code of the wire contract.
#[track_caller]
pub(crate) fn is_refusal(answer: &Value, code: &str) -> Value {
    let error = &answer["error"];
    let expected = if code == "malformed" { -32602 } else { -32000 };
    assert_eq!(error["code"], expected, "{answer}");
    assert_eq!(error["message"], code, "{answer}");
    let problem = error["data"].clone();
    assert_eq!(problem["code"], code, "{answer}");
    assert!((400..=599).contains(&problem["status"].as_u64().unwrap()), "{answer}");
    for text in ["type", "title", "detail"] {
        assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {answer}");
    }
    problem
}

/// The answer to something that is no request, which must have this code.
#[track_caller]
pub(crate) fn is_fault(answer: &Value, code: i64) {
    assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
    assert_eq!(answer["error"]["code"], code, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
}

/// The same JSON for every run: ids numbered in the order in which they come, no moments.
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
            _ => {}
        }
    }
    scrub(&mut value, &mut HashMap::new());
    value
}

/// Events as a list of `{ method, params }`, scrubbed.
pub(crate) fn shown(events: &[(String, Value)]) -> Value {
    scrubbed(events.iter().map(|(method, params)| json!({"method": method, "params": params})).collect())
}

pub(crate) fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// Bytes of a WebSocket frame as a client sends it, masked with zeros (RFC 6455, section 5.2).
pub(crate) fn raw_frame(first_byte: u8, length: u64, payload: &[u8]) -> Bytes {
    let mut frame = vec![first_byte];
    match length {
        0..126 => frame.push(0x80 | length as u8),
        126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame.into()
}
