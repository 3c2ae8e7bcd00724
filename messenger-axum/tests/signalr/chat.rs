//! The chat's hub.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use messenger_axum::{Options, router};
use messenger_core::{
    Actor, ChatId, MessageBody, Messenger, Password, PasswordCost, Policy, Result, Settings, Timestamp,
    commands::{CreateGroupChat, RegisterUser, SendMessage},
    context::{Clock, Context, SystemRandom},
    memory::MemoryStore,
    queries::GetMe,
};
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::support::{RECORD_END, Service, Socket, handshake, invocation, ping, seconds};

/// The clock of the test.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000).after(self.0.elapsed())
    }
}

fn messenger() -> Messenger {
    built(None)
}

fn built(policy: Option<Arc<dyn Policy>>) -> Messenger {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let context = Context::new(Arc::new(TestClock(Instant::now())), Arc::new(SystemRandom));
    let settings = Settings { password_cost, ..Settings::default() };
    let messenger = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings).context(context);
    match policy {
        Some(policy) => messenger.policy(policy).build().unwrap(),
        None => messenger.build().unwrap(),
    }
}

/// What each read needs for a moment, and of which there are two: like connections to a store.
struct Few(Semaphore);

#[async_trait]
impl Policy for Few {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if operation.starts_with("Get") {
            let _one = self.0.acquire().await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

/// A chat with much in it, and those who are in it.
struct Busy {
    service: Service,
    messenger: Messenger,
    /// Who reads it all, by the query with which they connect.
    reader: String,
    other: Actor,
    chat: ChatId,
}

impl Busy {
    async fn new(options: Options) -> Self {
        let messenger = built(Some(Arc::new(Few(Semaphore::new(2)))));
        let [(_, reader), (_, other)] =
            [register(&messenger, "ada").await, register(&messenger, "bob").await];
        let token = |query: &str| query.split_once('=').unwrap().1.to_owned();
        let [ada, other] = [token(&reader), token(&other)]
            .map(|token| async { messenger.authenticate(&{ token }).await.unwrap() });
        let (ada, other) = (ada.await, other.await);
        let group =
            CreateGroupChat { title: "Tea".into(), member_ids: vec![other.user().unwrap()], client_id: None };
        let chat = messenger.execute(&ada, group).await.unwrap().value.id;
        for _ in 0..500 {
            let send = SendMessage { chat_id: chat, body: "x".repeat(1000), client_id: None, reply_to: None };
            messenger.execute(&ada, send).await.unwrap();
        }
        let options = options.rate_limits(None);
        let app = Router::new().nest("/api/v1", router(messenger.clone(), options));
        Self { service: Service::of(app, "/api/v1/hub"), messenger, reader, other, chat }
    }

    /// Records that begin so many streams of all that is in the chat.
    fn streams(&self, count: usize) -> Vec<Value> {
        let begin = |id: usize| {
            let mut begin = invocation(&id.to_string(), "StreamHistory", &json!([{"chatId": self.chat}]));
            begin["type"] = json!(4);
            begin
        };
        (0..count).map(begin).collect()
    }

    /// How long another one waits for an answer, a few seconds later.
    async fn others_wait(&self) -> Duration {
        sleep(seconds(5)).await;
        let began = Instant::now();
        let answer = timeout(seconds(60), self.messenger.query(&self.other, GetMe {})).await;
        answer.expect("an answer comes").unwrap();
        began.elapsed()
    }
}

/// Somebody who has registered: their id, and the query with which they connect.
async fn register(messenger: &Messenger, name: &str) -> (String, String) {
    let command = RegisterUser {
        username: name.into(),
        email: format!("{name}@example.org"),
        password: Password::new("correct horse"),
        display_name: None,
        device: None,
    };
    let registered = messenger.execute(&Actor::anonymous(), command).await.unwrap();
    (registered.user.user.id.to_string(), format!("?access_token={}", registered.token.expose()))
}

#[tokio::test(start_paused = true)]
async fn who_is_lost_before_the_first_ping_goes_offline() {
    let messenger = messenger();
    let [(_, ada), (bob, bobs)] = [register(&messenger, "ada").await, register(&messenger, "bob").await];
    let app = Router::new().nest("/api/v1", router(messenger.clone(), Options::new()));
    let service = Service::of(app, "/api/v1/hub");

    let mut watching = Socket::open(&service, &ada).await.unwrap();
    watching.shake_hands(1).await;
    let watched = watching.call("WatchPresence", json!([{"userIds": [bob]}])).await;
    assert_eq!(watched["result"]["items"][0]["online"], false);

    let mut lost = Socket::open(&service, &bobs).await.unwrap();
    lost.shake_hands(1).await;
    let online = watching.hear_more().await.unwrap();
    assert_eq!(
        (&online["target"], &online["arguments"][0]["online"]),
        (&json!("presenceChanged"), &json!(true))
    );
    let began = Instant::now();
    let offline = loop {
        match watching.hear().await.unwrap() {
            record if record == ping() => watching.say(ping()).await,
            other => break other,
        }
    };
    assert_eq!(offline["arguments"][0]["online"], false, "{offline}");
    // Until it is missed, then a grace of 5 s, each seen within a second.
    let gone = began.elapsed();
    assert!(
        (seconds(20 + 30 + 5)..=seconds(20 + 30 + 5) + 2 * Duration::from_secs(1)).contains(&gone),
        "{gone:?}"
    );
}

/// What one read takes.
const ONE_READ: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn streams_that_nobody_polls_for_keep_nothing_from_others() {
    for count in [4, 64] {
        let busy = Busy::new(Options::new()).await;
        let token = busy.service.token(&format!("&{}", &busy.reader[1..])).await;
        let ask = |body: &[Value]| {
            let body = body.iter().map(|record| format!("{record}{RECORD_END}")).collect();
            let query = format!("?id={token}&{}", &busy.reader[1..]);
            async move { (query, body) }
        };
        let (query, hands) = ask(&[handshake("json", 1)]).await;
        assert_eq!(busy.service.request("GET", &query, "*/*", String::new()).await.status(), 200);
        assert_eq!(busy.service.request("POST", &query, "*/*", hands).await.status(), 200);
        let (query, streams) = ask(&busy.streams(count)).await;
        assert_eq!(busy.service.request("POST", &query, "*/*", streams).await.status(), 200);
        let waited = busy.others_wait().await;
        assert!(waited <= ONE_READ, "{count}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_to_a_socket_that_takes_nothing_keep_nothing_from_others() {
    for count in [4, 64] {
        let busy = Busy::new(Options::new()).await;
        let mut stalled = Socket::open(&busy.service, &busy.reader).await.unwrap();
        stalled.shake_hands(1).await;
        for stream in busy.streams(count) {
            stalled.say(stream).await;
        }
        let waited = busy.others_wait().await;
        assert!(waited <= ONE_READ, "{count}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_a_connection_that_may_come_back_keep_nothing_from_others() {
    for count in [4, 64] {
        let busy = Busy::new(Options::new()).await;
        let token = busy.service.token(&format!("&useStatefulReconnect=true&{}", &busy.reader[1..])).await;
        let query = format!("?id={token}&{}", &busy.reader[1..]);
        let mut lost = Socket::open(&busy.service, &query).await.unwrap();
        lost.shake_hands(2).await;
        for stream in busy.streams(count) {
            lost.say(stream).await;
        }
        drop(lost);
        let waited = busy.others_wait().await;
        assert!(waited <= ONE_READ, "{count}: {waited:?}");
    }
}
