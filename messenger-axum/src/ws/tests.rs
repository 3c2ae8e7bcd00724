//! Sessions over channels, on a clock that is paused while there is something to do.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Sink, Stream};
use messenger_core::{
    Actor, ChatId, MessageBody, Messenger, Policy, Result,
    commands::{CreateGroupChat, SendMessage},
    doc::register,
    hub::Connection,
    memory::MemoryStore,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::{sleep, timeout},
};

use super::session::Session;
use crate::{Options, UnsentLimits, door::Door, sockets::Sockets};
use messenger_socket::{Account, Message, SocketError, WebSocket};

/// A socket whose client holds the other ends of two channels.
struct Wire {
    received: mpsc::UnboundedReceiver<Message>,
    sent: mpsc::UnboundedSender<Message>,
    flushed: Arc<AtomicUsize>,
}

impl Stream for Wire {
    type Item = std::result::Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.received.poll_recv(task)).map(Ok))
    }
}

impl Sink<Message> for Wire {
    type Error = SocketError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> std::result::Result<(), SocketError> {
        // A lost client receives nothing.
        let _ = self.sent.send(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), SocketError>> {
        self.flushed.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }
}

/// A policy that allows everything, after a delay.
struct Slow(Duration);

#[async_trait]
impl Policy for Slow {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if operation == "GetMe" {
            sleep(self.0).await;
        }
        Ok(())
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

struct Client {
    say: mpsc::UnboundedSender<Message>,
    hear: mpsc::UnboundedReceiver<Message>,
    /// How many times its messages were flushed.
    flushed: Arc<AtomicUsize>,
}

fn wire() -> (Client, Wire) {
    let (say, received) = mpsc::unbounded_channel();
    let (sent, hear) = mpsc::unbounded_channel();
    let flushed = Arc::<AtomicUsize>::default();
    (Client { say, hear, flushed: Arc::clone(&flushed) }, Wire { received, sent, flushed })
}

/// A door, and the connection and account of a person who has just connected.
async fn connected(messenger: Messenger, options: Options) -> (Door, Connection, Arc<Account>) {
    let ada = register(&messenger, "ada").await;
    let connection = messenger.connect(&ada).await.unwrap();
    let door = Door::new(messenger, options);
    let account = Sockets::new(door.clone()).account_of(&ada);
    (door, connection, account)
}

/// A client that has just connected; the future is its session.
async fn connect(slow: Duration) -> (Client, impl Future<Output = ()>) {
    let messenger = Messenger::builder(Arc::new(MemoryStore::new())).policy(Arc::new(Slow(slow)));
    let options = Options::new().timeout(2 * slow);
    let (door, connection, account) = connected(messenger.build().unwrap(), options).await;
    let (client, wire) = wire();
    (client, Session::new(door, connection, account).run(wire))
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_client_that_is_lost_at_once_is_missed() {
    let (_lost, session) = connect(LONG).await;
    // The first ping, which comes within 30 s, and the time until the next one.
    timeout(Duration::from_secs(61), session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_answers_pings_stays() {
    let (mut client, session) = connect(LONG).await;
    let answers = async {
        while let Some(message) = client.hear.recv().await {
            assert!(matches!(message, Message::Ping(_)), "{message:?}");
            client.say.send(Message::Pong).unwrap();
        }
    };
    let stays = timeout(LONG, async { tokio::join!(session, answers) });
    assert!(stays.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_listened_to_is_not_taken_for_silent() {
    let (mut client, session) = connect(LONG).await;
    let session = tokio::spawn(session);
    client
        .say
        .send(Message::Text(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"GetMe"}"#)))
        .unwrap();
    // Nothing is read while a call is running that others must not overtake.
    let answer = loop {
        match client.hear.recv().await.expect("the session goes on") {
            Message::Ping(_) => client.say.send(Message::Pong).unwrap(),
            other => break other,
        }
    };
    let Message::Text(answer) = answer else { panic!("{answer:?}") };
    assert!(str::from_utf8(&answer).unwrap().contains("ada"));
    session.abort();
}

#[tokio::test(start_paused = true)]
async fn a_client_for_which_too_much_waits_is_not_listened_to() {
    let limits = UnsentLimits { per_connection: 1, ..UnsentLimits::default() };
    let options = Options::new().unsent(limits).frame_limit(1000);
    let (door, connection, account) = connected(Messenger::in_memory(), options).await;
    let waits = account.reserve(4000);
    let (mut client, wire) = wire();
    let session = tokio::spawn(Session::new(door, connection, account).run(wire));
    for id in 1..=3 {
        let ask = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"GetMe"}}"#);
        client.say.send(Message::Text(ask.into())).unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    while let Ok(message) = client.hear.try_recv() {
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    drop(waits);
    for id in 1..=3 {
        let Some(Message::Text(answer)) = client.hear.recv().await else { panic!("an answer") };
        assert!(str::from_utf8(&answer).unwrap().contains(&format!("\"id\":{id}")));
    }
    session.abort();
}

#[tokio::test(start_paused = true)]
async fn a_message_becomes_whole_however_little_may_wait() {
    let limits = UnsentLimits { per_connection: 1, ..UnsentLimits::default() };
    let (door, connection, account) = connected(Messenger::in_memory(), Options::new().unsent(limits)).await;
    let (mut client, server) = tokio::io::duplex(1000);
    let socket = WebSocket::new(server, 256 * 1024, Arc::clone(&account));
    let session = tokio::spawn(Session::new(door, connection, account).run(socket));
    // A batch of one request, in a frame of the maximum length.
    let mut ask = br#"[{"jsonrpc":"2.0","id":1,"method":"GetMe"}]"#.to_vec();
    ask.resize(256 * 1024, b' ');
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((ask.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(ask);
    let (begin, rest) = frame.split_at(200_000);
    client.write_all(begin).await.unwrap();
    // In the meantime something is sent to the client: the first ping.
    let mut answer = [0; 100];
    assert_eq!(client.read(&mut answer).await.unwrap(), 2);
    client.write_all(rest).await.unwrap();
    let length = timeout(Duration::from_secs(5), client.read(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains("\"id\":1"), "{answer:?}");
    session.abort();
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_told_is_written_together() {
    let messenger = Messenger::in_memory();
    let ada = register(&messenger, "ada").await;
    let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![], client_id: None };
    let chat = messenger.execute(&ada, group).await.unwrap().value.id;
    let mut connection = messenger.connect(&ada).await.unwrap();
    connection.go_live();
    for _ in 0..50 {
        let send = SendMessage { chat_id: chat, body: "hello".into(), client_id: None, reply_to: None };
        messenger.execute(&ada, send).await.unwrap();
    }
    let door = Door::new(messenger, Options::new());
    let account = Sockets::new(door.clone()).account_of(&ada);
    let (mut client, wire) = wire();
    let session = tokio::spawn(Session::new(door, connection, account).run(wire));
    for _ in 0..50 {
        let Some(Message::Text(event)) = client.hear.recv().await else { panic!("an event") };
        assert!(str::from_utf8(&event).unwrap().contains("messageCreated"));
    }
    // Each flush is a system call.
    assert!(client.flushed.load(Ordering::Relaxed) < 5, "{:?}", client.flushed);
    session.abort();
}

/// A text frame of a client, masked with zeros; for a short text.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test(start_paused = true)]
async fn when_too_much_waits_in_all_the_one_that_has_read_nothing_for_longest_goes_at_once() {
    let messenger = Messenger::in_memory();
    let ada = register(&messenger, "ada").await;
    let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![], client_id: None };
    let chat = messenger.execute(&ada, group).await.unwrap().value.id;
    for _ in 0..20 {
        let send = SendMessage { chat_id: chat, body: "x".repeat(8000), client_id: None, reply_to: None };
        messenger.execute(&ada, send).await.unwrap();
    }
    // One page has 160 kB.
    let unsent = UnsentLimits { in_all: 400_000, ..UnsentLimits::default() };
    let sockets = Sockets::new(Door::new(messenger, Options::new().unsent(unsent)));
    let door = &sockets.door;
    let ask = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"GetHistory","params":{{"chatId":"{chat}"}}}}"#);
    let mut deaf = Vec::new();
    for _ in 0..3 {
        let (mut client, server) = tokio::io::duplex(1000);
        let account = sockets.account_of(&ada);
        let connection = door.messenger.connect(&ada).await.unwrap();
        let socket = WebSocket::new(server, 1000, Arc::clone(&account));
        let session = Session::new(door.clone(), connection, account).run(socket);
        let session = tokio::spawn(session);
        client.write_all(&frame(&ask)).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        deaf.push((client, session));
    }
    let are_over: Vec<bool> = deaf.iter().map(|(_, session)| session.is_finished()).collect();
    assert_eq!(are_over, [true, false, false]);
    // The answer is incomplete, so no closing frame follows it.
    let mut got = Vec::new();
    deaf[0].0.read_to_end(&mut got).await.unwrap();
    assert!(got.len() <= 1000, "{}", got.len());
}
