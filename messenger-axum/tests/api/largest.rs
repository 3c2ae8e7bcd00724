//! How large an answer can be, as the table of `docs/http-api.md` says.

use serde_json::{Value, json};

use crate::support::{Api, Person, Reply};

const TABLE: &str = include_str!("../../../docs/http-api.md");

/// What the table says of an operation, in KiB.
fn bound(operation: &str) -> usize {
    let (_, rows) = TABLE.split_once("### The largest answers").unwrap();
    let row = rows.lines().find(|row| row.contains(&format!("`{operation}`")));
    let row = row.unwrap_or_else(|| panic!("{operation} is in the table"));
    row.split('|').nth(2).unwrap().trim().replace(" KiB", "").replace(',', "").parse().unwrap()
}

/// The answer is no larger than the table says, and not so much smaller that the table says nothing.
#[track_caller]
fn fits(operation: &str, reply: &Reply) {
    let _: Value = reply.is(reply.status.as_u16());
    assert!(reply.status.is_success(), "{operation}: {}", reply.status);
    let (most, bytes) = (bound(operation) * 1024, reply.bytes.len());
    assert!(bytes <= most, "{operation}: {bytes} bytes, and the table says {most}");
    assert!(bytes * 3 > most, "{operation}: {bytes} bytes, and the table says {most}");
}

/// Four bytes a character, the longest in UTF-8; and one that takes six bytes in JSON.
fn crabs(count: usize) -> String {
    "🦀".repeat(count)
}

fn controls(count: usize) -> String {
    "\u{1}".repeat(count)
}

/// Somebody with the longest names and as many chats, neighbours and sessions as there can be on a page.
struct Crowded {
    person: Person,
    group: String,
    users: Vec<String>,
}

impl Crowded {
    async fn new(api: &Api) -> Self {
        let mut person = api.register("ada").await;
        let mut users = Vec::new();
        for n in 0..200 {
            let other = api.register(&format!("{n:03}{}", "x".repeat(29))).await;
            other.call("PATCH", "/users/me", json!({"displayName": crabs(64)})).await.is(200);
            users.push(other.id);
        }
        for _ in 0..100 {
            let login = json!({"login": "ada", "password": "correct horse", "device": crabs(128)});
            api.call("POST", "/auth/login", "", login.to_string()).await.is(200);
        }
        // The session of the person was the longest unused.
        let login = json!({"login": "ada", "password": "correct horse"}).to_string();
        let token =
            api.call("POST", "/auth/login", "", login).await.is(200)["token"].as_str().unwrap().to_owned();
        person.token = token;
        let group = json!({"title": crabs(128), "memberIds": users});
        let created = person.post("/chats/group", group).await;
        fits("CreateGroupChat", &created);
        let group = created.is(201)["id"].as_str().unwrap().to_owned();
        Self { person, group, users }
    }

    async fn says(&self, chat: &str, body: &str, client_id: usize) {
        let client_id = format!("{client_id:064}");
        let message = json!({"body": body, "clientId": client_id});
        self.person.post(&format!("/chats/{chat}/messages"), message).await.is(201);
    }
}

#[tokio::test]
async fn no_answer_is_larger_than_the_table_says() {
    let api = Api::new();
    let crowded = Crowded::new(&api).await;
    let Crowded { person, group, users } = &crowded;
    fits("ListSessions", &person.get("/auth/sessions?limit=200").await);
    fits("FindUsers", &person.get("/users?query=%F0%9F%A6%80&limit=200").await);
    fits("ListMembers", &person.get(&format!("/chats/{group}/members?limit=200")).await);
    fits("GetPresence", &person.post("/presence/query", json!({"userIds": users})).await);

    // 80 of the longest texts. In the reckoning of a page they weigh as much as they do in UTF-8.
    for n in 0..80 {
        crowded.says(group, &controls(8000), n).await;
    }
    let page = person.get(&format!("/chats/{group}/messages?limit=200")).await;
    fits("GetHistory", &page);
    let page = page.is(200);
    assert_eq!((page["items"].as_array().unwrap().len(), &page["hasMoreBefore"]), (31, &json!(true)));
    let last = page["items"][30]["id"].as_str().unwrap();
    fits("GetMessage", &person.get(&format!("/chats/{group}/messages/{last}")).await);
    fits("GetChat", &person.get(&format!("/chats/{group}")).await);

    // And 200 chats that each end in such a text.
    for n in 0..200 {
        let chat = json!({"title": crabs(128), "memberIds": []});
        let chat = person.post("/chats/group", chat).await.is(201)["id"].as_str().unwrap().to_owned();
        crowded.says(&chat, &controls(8000), 1000 + n).await;
    }
    fits("ListChats", &person.get("/chats?limit=200").await);
    let mut sync = json!({"limit": 200});
    let (mut chats, mut largest) = (0, None::<Reply>);
    loop {
        let answer = person.post("/sync", sync.clone()).await;
        let told = answer.is(200);
        chats += told["chats"].as_array().unwrap().len();
        if largest.as_ref().is_none_or(|largest| largest.bytes.len() < answer.bytes.len()) {
            largest = Some(answer);
        }
        sync["cursor"] = told["nextCursor"].clone();
        if sync["cursor"].is_null() {
            break;
        }
    }
    assert_eq!(chats, 201);
    fits("Sync", &largest.unwrap());
}

#[tokio::test]
async fn a_chat_shows_the_beginning_of_its_last_message_and_says_so() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    for (length, truncated) in [(256, false), (257, true), (8000, true)] {
        let id = ada.says(&chat, &"ä".repeat(length)).await;
        let listed = ada.get("/chats").await.is(200);
        let synced = ada.post("/sync", json!({})).await.is(200);
        let got = ada.get(&format!("/chats/{chat}")).await.is(200);
        for shown in [&listed["items"][0], &synced["chats"][0]["chat"], &got] {
            let last = &shown["lastMessage"];
            assert_eq!(last["body"], "ä".repeat(length.min(256)));
            assert_eq!(last["truncated"], if truncated { json!(true) } else { Value::Null });
        }
        // What is asked for by itself is whole, and so is what has changed.
        let whole = ada.get(&format!("/chats/{chat}/messages/{id}")).await.is(200);
        let messages = synced["chats"][0]["messages"].as_array().unwrap();
        for message in [&whole, messages.last().unwrap()] {
            assert_eq!((&message["body"], &message["truncated"]), (&json!("ä".repeat(length)), &Value::Null));
        }
    }
}

#[tokio::test]
async fn every_operation_that_answers_is_in_the_table() {
    let document: Value =
        serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap();
    let (_, rows) = TABLE.split_once("### The largest answers").unwrap();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            let responses = operation["responses"].as_object().unwrap();
            let is_json = |(status, response): (&String, &Value)| {
                status.starts_with('2') && response["content"].get("application/json").is_some()
            };
            let is_listed = rows.contains(&format!("`{name}`"));
            assert!(is_listed || !responses.iter().any(is_json) || name.starts_with("Health"), "{name}");
        }
    }
}
