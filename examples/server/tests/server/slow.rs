//! Clients that do not send what they have begun, or do not read what they have asked for.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    live::Socket,
    support::{Client, PATIENCE, Server},
};

/// More than the requests that are worked on at a time.
const STUCK: usize = 600;

fn head(method: &str, path: &str, token: &str, length: usize) -> String {
    format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[test]
fn bodies_that_never_come_keep_nobody_waiting() {
    let server = Server::in_memory(["--rate-limits", "off", "--body-timeout", "3s"]);
    let [ada, bob] = ["ada", "bob"].map(|name| server.register(name));
    let began = Instant::now();
    let mut stuck: Vec<Client> = (0..STUCK).map(|_| server.connect()).collect();
    for client in &mut stuck {
        client.send(&head("POST", "/presence/query", &ada, 100));
        client.send("{");
    }
    let asked = Instant::now();
    let path = "/api/v1/users/me";
    assert_eq!(server.request("GET", path, Some(&bob), None).status(), 200);
    let sent = json!({"title": "Tea", "memberIds": []});
    assert_eq!(server.request("POST", "/api/v1/chats/group", Some(&bob), Some(&sent)).status(), 201);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

    let told: HashSet<u16> = stuck
        .iter_mut()
        .map(|client| {
            let told = client.answer().status();
            client.is_cut();
            told
        })
        .collect();
    // Those that were more than one person may have waiting, and those that were waited for.
    assert!(told.contains(&408) && told.is_subset(&[408, 429].into()), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_body_that_comes_after_its_head_is_read() {
    let server = Server::in_memory([]);
    let ada = server.register("ada");
    let body = json!({"userIds": []}).to_string();
    let mut client = server.connect();
    client.send(&head("POST", "/presence/query", &ada, body.len()));
    for part in [&body[..5], &body[5..]] {
        std::thread::sleep(Duration::from_millis(50));
        client.send(part);
    }
    assert_eq!(client.answer().status(), 200);
}

#[cfg(target_os = "linux")]
#[test]
fn answers_that_nobody_reads_hold_little_memory() {
    let server = Server::in_memory(["--rate-limits", "off"]);
    let people = ["ada", "bob", "cyd", "dan"].map(|name| server.register(name));
    let page = long_page(&server, &people);
    let before = server.memory();
    let clients: Vec<Client> = (0..400)
        .map(|at| {
            let mut client = server.connect();
            client.send(&head("GET", &page, &people[at % people.len()], 0));
            client
        })
        .collect();
    // Asked last, and answered while the others wait for their clients.
    let asked = Instant::now();
    assert_eq!(server.request("GET", "/api/v1/users/me", Some(&people[0]), None).status(), 200);
    let mut most = 0;
    while asked.elapsed() < Duration::from_secs(8) {
        most = most.max(server.memory().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(most < 64 << 20, "{} MiB more", most >> 20);
    drop(clients);
    let dropped = Instant::now();
    while server.memory() > before + (16 << 20) {
        assert!(dropped.elapsed() < PATIENCE, "{} MiB", server.memory() >> 20);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_that_were_used_are_as_small_as_before() {
    let server = Server::in_memory(["--rate-limits", "off"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let people = ["ada", "bob", "cyd", "dan"].map(|name| server.register(name));
    let page = long_page(&server, &people);
    let ask = json!({"chatId": page.split('/').nth(2).unwrap(), "limit": 200});
    let mut sockets: Vec<Socket> = (0..100)
        .map(|at| runtime.block_on(Socket::open(server.address, &people[at % people.len()])).unwrap())
        .collect();
    let reads_a_page = |socket: &mut Socket| {
        runtime.block_on(async {
            socket.say(1, "GetHistory", &ask).await.unwrap();
            let answer = socket.hear().await.unwrap();
            assert!(answer["result"].to_string().len() > 200_000, "{:.300}", answer.to_string());
        });
    };
    // What the process itself needs for such an answer is there from then on.
    reads_a_page(&mut sockets[0]);
    let before = server.memory();
    sockets.iter_mut().for_each(reads_a_page);
    let used = Instant::now();
    // The answers together take 25 MB.
    while server.memory() > before + (4 << 20) {
        assert!(used.elapsed() < PATIENCE, "{} MiB, {} before", server.memory() >> 20, before >> 20);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_a_password_is_given_back() {
    let server = Server::in_memory([]);
    for name in ["ada", "bob", "cyd"] {
        server.register(name);
    }
    let asked = Instant::now();
    while server.memory() > 16 << 20 {
        assert!(asked.elapsed() < Duration::from_secs(3), "{} MiB", server.memory() >> 20);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A chat of these people, and the path of its newest page: as much text as fits in.
#[cfg(target_os = "linux")]
fn long_page(server: &Server, people: &[String]) -> String {
    let ids: Vec<String> = people
        .iter()
        .map(|token| {
            let me = server.request("GET", "/api/v1/users/me", Some(token), None).json();
            me["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let group = json!({"title": "Tea", "memberIds": ids[1..]});
    let chat = server.request("POST", "/api/v1/chats/group", Some(&people[0]), Some(&group)).json();
    let page = format!("/chats/{}/messages", chat["id"].as_str().unwrap());
    let message = json!({"body": "🦀".repeat(8000)});
    for _ in 0..10 {
        let sent = server.request("POST", &format!("/api/v1{page}"), Some(&people[0]), Some(&message));
        assert_eq!(sent.status(), 201);
    }
    page + "?limit=200"
}
