//! The chat's hub.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use messenger_axum::{Options, UnsentLimits, router};
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

/// What each read needs for a moment, and of which there are few: like connections to a store.
struct Few {
    free: Semaphore,
    /// How often the history was read, and how often at once.
    pages: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Few {
    fn new(few: usize) -> Arc<Self> {
        let [pages, now, most] = [0; 3].map(AtomicUsize::new);
        Arc::new(Self { free: Semaphore::new(few), pages, now, most })
    }
}

#[async_trait]
impl Policy for Few {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        if operation.starts_with("Get") {
            let _one = self.free.acquire().await.unwrap();
            let is_page = usize::from(operation == "GetHistory");
            self.pages.fetch_add(is_page, Relaxed);
            self.most.fetch_max(self.now.fetch_add(is_page, Relaxed) + is_page, Relaxed);
            sleep(Duration::from_millis(10)).await;
            self.now.fetch_sub(is_page, Relaxed);
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
    few: Arc<Few>,
    /// Who reads it all, by the query with which they connect.
    reader: String,
    other: Actor,
    chat: ChatId,
}

impl Busy {
    async fn new(options: Options) -> Self {
        Self::with(2, options).await
    }

    /// With a store that does so many reads at once.
    async fn with(reads: usize, options: Options) -> Self {
        let few = Few::new(reads);
        let messenger = built(Some(Arc::clone(&few) as Arc<dyn Policy>));
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
        Self { service: Service::of(app, "/api/v1/hub"), messenger, few, reader, other, chat }
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

    /// A connection by long polling of the reader, its handshake done and its next poll not yet made; its query.
    async fn polling(&self) -> String {
        let query = format!("?id={}&{}", self.service.token(&self.and_reader()).await, &self.reader[1..]);
        assert_eq!(self.service.request("GET", &query, "*/*", String::new()).await.status(), 200);
        self.post(&query, &[handshake("json", 1)]).await;
        query
    }

    async fn poll(&self, query: &str) -> String {
        let answer = self.service.request("GET", query, "*/*", String::new()).await;
        assert_eq!(answer.status(), 200);
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn post(&self, query: &str, records: &[Value]) {
        let body = records.iter().map(|record| format!("{record}{RECORD_END}")).collect();
        assert_eq!(self.service.request("POST", query, "*/*", body).await.status(), 200);
    }

    /// One that may come back on another socket.
    async fn stateful(&self) -> Socket {
        let token = self.service.token(&format!("&useStatefulReconnect=true{}", self.and_reader())).await;
        let query = format!("?id={token}{}", self.and_reader());
        let mut socket = Socket::open(&self.service, &query).await.unwrap();
        socket.shake_hands(2).await;
        socket
    }

    fn and_reader(&self) -> String {
        format!("&{}", &self.reader[1..])
    }

    /// Calls for a page of the chat, 200 kB each.
    fn pages(&self, count: usize) -> Vec<Value> {
        let page = |id: usize| {
            let fields = json!([{"chatId": self.chat, "limit": 200}]);
            invocation(&id.to_string(), "GetHistory", &fields)
        };
        (0..count).map(page).collect()
    }

    /// Waits until so many are connected, for no longer than a second.
    async fn has_connections(&self, count: usize) {
        let connections = async {
            while self.messenger.connections() != count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = timeout(seconds(1), connections).await.is_ok();
        assert!(in_time, "{} are connected", self.messenger.connections());
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

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_begins_no_connection_and_who_has_negotiated_may_come_again() {
    let busy = Busy::new(Options::new()).await;
    let there = busy.polling().await;
    busy.has_connections(1).await;
    let late = format!("?id={}{}", busy.service.token(&busy.and_reader()).await, busy.and_reader());
    busy.messenger.drain();
    let negotiate = format!("/negotiate?negotiateVersion=1{}", busy.and_reader());
    assert_eq!(busy.service.request("POST", &negotiate, "*/*", String::new()).await.status(), 503);
    assert_eq!(Socket::open(&busy.service, &busy.reader).await.err().unwrap(), 503);

    let told = busy.poll(&there).await;
    assert!(told.ends_with("{\"type\":7,\"allowReconnect\":true}\u{1e}"), "{told}");
    assert_eq!(busy.poll(&late).await, "");
    busy.post(&late, &[handshake("json", 1)]).await;
    let told = busy.poll(&late).await;
    assert!(told.ends_with("\"allowReconnect\":true}\u{1e}"), "{told}");
}

/// What is counted, from a recorder of its own.
struct Counts(metrics_exporter_prometheus::PrometheusHandle);

impl Counts {
    fn unsent_bytes(&self) -> f64 {
        let rendered = self.0.render();
        let line = rendered.lines().find_map(|line| line.strip_prefix("messenger_unsent_bytes "));
        line.map_or(0.0, |bytes| bytes.parse().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_taken_is_let_go_of_with_the_connection() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let counts = Counts(recorder.handle());
    let _recording = metrics::set_default_local_recorder(&recorder);
    let busy = Busy::new(Options::new()).await;
    // An event stream that is not read.
    let events = format!("?id={}&{}", busy.service.token(&busy.and_reader()).await, &busy.reader[1..]);
    let unread = busy.service.request("GET", &events, "text/event-stream", String::new()).await;
    busy.post(&events, &[handshake("json", 1)]).await;
    busy.post(&events, &busy.pages(2)).await;
    // A poll of which only the beginning was, before the client says that it is done.
    let polls = busy.polling().await;
    let poll = || busy.service.request("GET", &polls, "*/*", String::new());
    poll().await.into_body().collect().await.unwrap();
    busy.post(&polls, &busy.pages(1)).await;
    sleep(seconds(1)).await;
    let mut torn = poll().await.into_body();
    torn.frame().await.unwrap().unwrap();
    busy.service.request("DELETE", &polls, "*/*", String::new()).await;
    assert!(counts.unsent_bytes() > 300_000.0);
    sleep(seconds(60)).await;
    assert_eq!((busy.messenger.connections(), counts.unsent_bytes()), (0, 0.0));
    drop((unread, torn));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_posts_to_a_connection_are_read_or_wait_at_a_time() {
    let busy = Busy::new(Options::new()).await;
    let query = format!("?id={}&{}", busy.service.token(&busy.and_reader()).await, &busy.reader[1..]);
    let body = || {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>("a beginning")]);
        axum::body::Body::from_stream(begun.chain(futures::stream::pending()))
    };
    let posts: Vec<_> = (0..100)
        .map(|_| {
            let request = http::Request::post(format!("/api/v1/hub{query}")).body(body()).unwrap();
            let service = busy.service.clone();
            tokio::spawn(async move {
                let body = service.send(request).await.into_body().collect().await.unwrap().to_bytes();
                let problem: Value = serde_json::from_slice(&body).unwrap();
                (problem["status"].as_u64().unwrap(), problem["code"].as_str().unwrap().to_owned())
            })
        })
        .collect();
    sleep(seconds(1)).await;
    let refused = posts.iter().filter(|post| post.is_finished()).count();
    assert_eq!(refused, 84);
    let mut answers = std::collections::BTreeMap::new();
    for post in posts {
        *answers.entry(post.await.unwrap()).or_insert(0) += 1;
    }
    // The others broke off in the end.
    assert_eq!(answers, [((400, "malformed".into()), 16), ((429, "rateLimited".into()), 84)].into());
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
        let query = busy.polling().await;
        busy.post(&query, &busy.streams(count)).await;
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
        let mut lost = busy.stateful().await;
        for stream in busy.streams(count) {
            lost.say(stream).await;
        }
        drop(lost);
        let waited = busy.others_wait().await;
        assert!(waited <= ONE_READ, "{count}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_page_of_its_streams_and_a_person_reads_few_at_once() {
    let busy = Busy::with(100, Options::new()).await;
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let mut socket = Socket::open(&busy.service, &busy.reader).await.unwrap();
        socket.shake_hands(1).await;
        for stream in busy.streams(20) {
            socket.say(stream).await;
        }
        stalled.push(socket);
    }
    sleep(seconds(5)).await;
    assert_eq!((busy.few.pages.load(Relaxed), busy.few.most.load(Relaxed)), (10, 4));
    // Who reads gets it all.
    stalled.truncate(1);
    let mut reader = stalled.remove(0);
    let mut count = 0;
    while count < 20 * 501 {
        let record = reader.hear_more().await.unwrap();
        count += usize::from(record["type"] == 2);
    }
    assert_eq!(busy.few.pages.load(Relaxed), 9 + 20 * 3);
}

#[tokio::test(start_paused = true)]
async fn while_too_much_waits_for_a_connection_nothing_else_of_it_is_begun() {
    let unsent = UnsentLimits { per_connection: 300_000, ..UnsentLimits::default() };
    let busy = Busy::new(Options::new().unsent(unsent)).await;
    let mut silent = busy.stateful().await;
    for page in busy.pages(50) {
        silent.say(page).await;
    }
    sleep(seconds(5)).await;
    // What is written it has not confirmed, and what comes next may wait only up to the bound.
    assert_eq!(busy.few.pages.load(Relaxed), 2);
    // With each confirmation there is room for another.
    for number in 1..=50 {
        // The server confirms, too.
        while silent.hear_more().await.unwrap()["type"] != 3 {}
        silent.say(json!({"type": 8, "sequenceId": number})).await;
    }
    assert_eq!(busy.few.pages.load(Relaxed), 50);
}

#[tokio::test(start_paused = true)]
async fn when_too_much_waits_in_all_those_go_who_hold_most() {
    let unsent = UnsentLimits { in_all: 500_000, ..UnsentLimits::default() };
    let busy = Busy::new(Options::new().unsent(unsent)).await;
    let mut reads = Socket::open(&busy.service, &busy.reader).await.unwrap();
    reads.shake_hands(1).await;
    let mut deaf = Vec::new();
    for count in 1..=4 {
        let mut socket = Socket::open(&busy.service, &busy.reader).await.unwrap();
        socket.shake_hands(1).await;
        socket.say(busy.pages(1).remove(0)).await;
        sleep(Duration::from_millis(100)).await;
        deaf.push(socket);
        // Two hold what there is room for, and each that comes takes the place of another.
        busy.has_connections(1 + count.min(2)).await;
    }
    let page = busy.pages(1)[0]["arguments"].clone();
    assert_eq!(reads.call("GetHistory", page).await["result"]["items"].as_array().unwrap().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_has_to_go_is_broken_off_and_the_next_brings_the_end() {
    let unsent = UnsentLimits { per_person: 500_000, ..UnsentLimits::default() };
    let busy = Busy::new(Options::new().unsent(unsent)).await;
    let query = busy.polling().await;
    let poll = || busy.service.request("GET", &query, "*/*", String::new());
    assert_eq!(poll().await.into_body().collect().await.unwrap().to_bytes(), "{}\u{1e}");
    busy.post(&query, &busy.pages(1)).await;
    let mut torn = poll().await.into_body();
    assert!(torn.frame().await.unwrap().is_ok());
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut socket = Socket::open(&busy.service, &busy.reader).await.unwrap();
        socket.shake_hands(1).await;
        socket.say(busy.pages(1).remove(0)).await;
        others.push(socket);
    }
    busy.has_connections(2).await;
    let end = poll().await.into_body().collect().await.unwrap().to_bytes();
    let close = json!({"type": 7, "error": "Connection closed with an error.", "allowReconnect": true});
    let end: Value = serde_json::from_slice(end.strip_suffix(b"\x1e").unwrap()).unwrap();
    assert_eq!(end, close);
    assert!(torn.frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_poll_that_is_not_read_does_not_keep_the_connection() {
    let busy = Busy::new(Options::new()).await;
    let query = busy.polling().await;
    busy.post(&query, &busy.pages(2)).await;
    sleep(seconds(1)).await;
    let unread = busy.service.request("GET", &query, "*/*", String::new()).await;
    busy.has_connections(1).await;
    sleep(seconds(31)).await;
    busy.has_connections(0).await;
    drop(unread);
}
