//! Sessions over channels, on a clock that stands still while there is something to do.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Sink, Stream};
use messenger_core::{
    Actor, ChatId, MessageBody, Messenger, Policy, Result, doc::register, memory::MemoryStore,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::session::Session;
use crate::{
    Options,
    door::Door,
    web_socket::{Fault, Message},
};

/// A socket whose client is at the other ends of two channels.
struct Wire {
    received: mpsc::UnboundedReceiver<Message>,
    sent: mpsc::UnboundedSender<Message>,
}

impl Stream for Wire {
    type Item = std::result::Result<Message, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.received.poll_recv(task)).map(Ok))
    }
}

impl Sink<Message> for Wire {
    type Error = Fault;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> std::result::Result<(), Fault> {
        // A client that is lost takes nothing in.
        let _ = self.sent.send(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::result::Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }
}

/// Says that everything is allowed, after a while.
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
}

/// A client that has just connected; the future is its session.
async fn connect(slow: Duration) -> (Client, impl Future<Output = ()>) {
    let messenger = Messenger::builder(Arc::new(MemoryStore::new())).policy(Arc::new(Slow(slow)));
    let messenger = messenger.build().unwrap();
    let ada = register(&messenger, "ada").await;
    let connection = messenger.connect(&ada).await.unwrap();
    let door = Door::new(messenger, Options::new().timeout(2 * slow));
    let (say, received) = mpsc::unbounded_channel();
    let (sent, hear) = mpsc::unbounded_channel();
    (
        Client { say, hear },
        Session::new(door.clone(), connection, door.account_of(&ada)).run(Wire { received, sent }),
    )
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_client_that_is_lost_at_once_is_missed() {
    let (_lost, session) = connect(LONG).await;
    // The first ping, which comes within 30 s, and the time of another one.
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
    // Nothing is read while the call is under way that others must not overtake.
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
