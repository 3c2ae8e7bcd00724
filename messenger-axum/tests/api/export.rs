//! Everything that is held about a person, as a download.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Body;
use http_body_util::BodyExt as _;
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::{
    Actor, ChatId, Error, MessageBody, Messenger, PasswordCost, Policy, Result, Settings,
    memory::MemoryStore, queries::ExportFile,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;

use crate::support::{Api, Person, request};

const EXPORT: &str = "/users/me/export";

/// The files of a zip, by their names.
fn unzipped(bytes: Vec<u8>) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.insert(file.name().unwrap().into_owned(), text);
    }
    files
}

fn lines(files: &BTreeMap<String, String>, file: ExportFile) -> Vec<Value> {
    files[file.name()].lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks, and takes nothing of the answer yet.
async fn untaken(api: &Api, person: &Person) -> http::Response<Body> {
    let request = request("GET", EXPORT, &person.token).body(Body::empty()).unwrap();
    api.router.clone().oneshot(request).await.unwrap()
}

/// Letters without a pattern, so that no compressor makes them much shorter.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state >> 32) as u8 % 75)
    };
    (0..length).map(letter).collect()
}

/// Somebody who wrote so much that it takes many parts.
async fn talkative(api: &Api, name: &str) -> Person {
    let person = api.register(name).await;
    let chat = person.group(&[]).await;
    for n in 0..150 {
        person.says(&chat, &noise(n, 7500)).await;
    }
    person
}

#[tokio::test]
async fn it_is_a_zip_of_json_lines_of_the_caller_alone() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = ada.group(&[&bob]).await;
    ada.says(&chat, "planted by ada").await;
    bob.says(&chat, "secret of bob").await;
    let reply = ada.get(EXPORT).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/zip");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"messenger-export.zip\"");
    assert_eq!(reply.header("cache-control"), "no-store");
    let files = unzipped(reply.bytes);
    let names: Vec<&str> = ExportFile::ALL.map(ExportFile::name).into_iter().chain(["README.txt"]).collect();
    assert_eq!(files.len(), names.len());
    assert!(names.iter().all(|name| files.contains_key(*name)), "{:?}", files.keys());
    assert_eq!(files["README.txt"], ExportFile::README);
    assert_eq!(lines(&files, ExportFile::Profile)[0]["email"], "ada@example.org");
    assert_eq!(lines(&files, ExportFile::Sessions).len(), 1);
    assert_eq!(lines(&files, ExportFile::Chats)[0]["id"], chat.as_str());
    assert_eq!(lines(&files, ExportFile::Marks)[0]["chatId"], chat.as_str());
    assert_eq!(lines(&files, ExportFile::Messages)[1]["body"], "planted by ada");
    assert_eq!(lines(&files, ExportFile::Mails)[0]["kind"], "address");
    let all: String = files.into_values().collect();
    assert!(!all.contains("secret of bob") && !all.contains("bob@example.org"));
}

#[tokio::test]
async fn all_of_a_long_one_comes_in_pieces() {
    let api = Api::new();
    let ada = talkative(&api, "ada").await;
    let mut body = untaken(&api, &ada).await.into_body();
    let (mut whole, mut pieces) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        assert!(piece.len() <= 32 * 1024);
        whole.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(pieces > 20, "{pieces}");
    let messages = lines(&unzipped(whole), ExportFile::Messages);
    let texts: Vec<_> = messages.iter().filter_map(|line| line["body"].as_str()).collect();
    assert_eq!(texts, (0..150).map(|n| noise(n, 7500)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_person_has_a_few_in_an_hour() {
    let exports = Rate::every(Duration::from_secs(3600), 2);
    let api = Api::with(Options::new().rate_limits(RateLimits { exports, ..RateLimits::default() }));
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    for _ in 0..2 {
        assert_eq!(ada.get(EXPORT).await.status, 200);
    }
    let reply = ada.get(EXPORT).await;
    reply.is_problem(429, "rateLimited");
    assert!((3590..=3600).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(bob.get(EXPORT).await.status, 200);
    ada.get("/users/me").await.is(200);
}

#[tokio::test]
async fn three_are_there_at_once_unless_a_host_says_otherwise() {
    let api = Api::with(Options::new());
    let ada = api.register("ada").await;
    for _ in 0..3 {
        assert_eq!(ada.get(EXPORT).await.status, 200);
    }
    let reply = ada.get(EXPORT).await;
    reply.is_problem(429, "rateLimited");
    assert!(reply.header("retry-after").parse::<u64>().unwrap() > 19 * 60);
}

#[tokio::test(start_paused = true)]
async fn a_person_has_one_under_way_and_one_that_does_not_read_gives_way() {
    let exports = Rate::every(Duration::from_secs(3600), 3);
    let api = Api::with(Options::new().rate_limits(RateLimits {
        exports,
        requests: Rate::per_second(1000, 1000),
        ..RateLimits::default()
    }));
    let ada = talkative(&api, "ada").await;
    let first = untaken(&api, &ada).await;
    assert_eq!(first.status(), 200);
    for _ in 0..5 {
        let refused = ada.get(EXPORT).await;
        refused.is_problem(429, "rateLimited");
        assert_eq!(refused.header("retry-after"), "1", "it does not count");
    }
    sleep(Duration::from_secs(2)).await;
    let second = ada.get(EXPORT).await;
    assert_eq!(second.status, 200);
    assert_eq!(lines(&unzipped(second.bytes), ExportFile::Messages).len(), 151);
    first.into_body().collect().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_reads_is_given_up() {
    let api = Api::new();
    let ada = talkative(&api, "ada").await;
    let mut body = untaken(&api, &ada).await.into_body();
    for _ in 0..3 {
        sleep(Duration::from_secs(29)).await;
        body.frame().await.unwrap().unwrap();
    }
    sleep(Duration::from_secs(31)).await;
    body.frame().await.unwrap().unwrap_err();
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_reads_holds_no_turn() {
    let api = Api::with(Options::new().rate_limits(None).concurrency(1, 0));
    let ada = talkative(&api, "ada").await;
    let began = Instant::now();
    let _untaken = untaken(&api, &ada).await;
    ada.get("/users/me").await.is(200);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn with_the_body_the_work_ends() {
    let api = Api::new();
    let ada = talkative(&api, "ada").await;
    for _ in 0..3 {
        let mut body = untaken(&api, &ada).await.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        // The next one begins at once, because the place of this one is free.
        tokio::task::yield_now().await;
    }
    assert_eq!(ada.get(EXPORT).await.status, 200);
}

/// Takes the beginning, lets something happen, and takes the rest.
async fn broken_by(api: &Api, ada: &Person, method: &str, path: &str, fields: Value) {
    let mut body = untaken(api, ada).await.into_body();
    body.frame().await.unwrap().unwrap();
    let done = ada.call(method, path, fields).await;
    assert!(done.status.is_success(), "{done:?}");
    let rest = body.collect().await;
    assert!(rest.is_err(), "it went on after {method} {path}");
}

#[tokio::test]
async fn it_breaks_off_when_the_session_ends() {
    let api = Api::new();
    let ada = talkative(&api, "ada").await;
    broken_by(&api, &ada, "POST", "/auth/logout", Value::Null).await;
    ada.get(EXPORT).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn it_breaks_off_when_the_account_is_erased() {
    let api = Api::new();
    let ada = talkative(&api, "ada").await;
    broken_by(&api, &ada, "DELETE", "/users/me", json!({"password": "correct horse"})).await;
    ada.get(EXPORT).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn it_takes_no_fields() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for query in ["?cursor=x", "?limit=1", "?a"] {
        ada.get(&format!("{EXPORT}{query}")).await.is_problem(400, "malformed");
    }
    api.get(EXPORT, "").await.is_problem(401, "unauthenticated");
}

/// Refuses parts as often as it is told, after the first one.
#[derive(Clone, Default)]
struct Away(Arc<AtomicU32>, Arc<AtomicU32>);

#[async_trait]
impl Policy for Away {
    async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
        let is_later = operation == "ExportMe" && self.0.fetch_add(1, Ordering::SeqCst) > 0;
        let refuses =
            is_later && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if refuses { Err(Error::unavailable()) } else { Ok(()) }
    }

    async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
        Ok(body)
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for_and_what_does_not_breaks_off() {
    for (times, is_whole) in [(5, true), (6, false)] {
        let away = Away::default();
        away.1.store(times, Ordering::SeqCst);
        let api = Api::with_policy(away.clone(), Options::new());
        let ada = talkative(&api, "ada").await;
        let began = Instant::now();
        let whole = untaken(&api, &ada).await.into_body().collect().await;
        assert_eq!(whole.is_ok(), is_whole, "{times}");
        assert_eq!(began.elapsed().as_secs(), 10);
        if let Ok(whole) = whole {
            let messages = lines(&unzipped(whole.to_bytes().to_vec()), ExportFile::Messages);
            assert_eq!(messages.len(), 151);
        }
    }
}

#[tokio::test]
async fn a_host_may_refuse_it() {
    struct Never;
    #[async_trait]
    impl Policy for Never {
        async fn allow(&self, _: &Actor, operation: &'static str) -> Result<()> {
            if operation == "ExportMe" { Err(Error::Forbidden("Ask us by mail.")) } else { Ok(()) }
        }
        async fn text(&self, _: &Actor, _: ChatId, body: MessageBody) -> Result<MessageBody> {
            Ok(body)
        }
    }
    let settings = Settings {
        password_cost: PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() },
        ..Settings::default()
    };
    let builder = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings);
    let exports = Rate::every(Duration::from_secs(3600), 1);
    let limits = RateLimits { exports, ..RateLimits::default() };
    let api = Api::of(builder.policy(Arc::new(Never)).build().unwrap(), Options::new().rate_limits(limits));
    let ada = api.register("ada").await;
    for _ in 0..3 {
        // What did not begin does not count. `forbidden` is a host's, and not described.
        let request = request("GET", EXPORT, &ada.token).body(Body::empty()).unwrap();
        let refused = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(refused.status(), 403);
    }
}
