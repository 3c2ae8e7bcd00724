//! Clients that behave badly, and other people who notice nothing of it.

use std::time::Duration;

use futures::SinkExt as _;
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::hub::HubSettings;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Ended, PATIENCE, Server, raw_frame};

/// Two people who talk all the time, each waiting for the other's word.
struct Talk {
    stop: watch::Sender<bool>,
    rounds: watch::Receiver<u64>,
    waits: JoinHandle<Vec<Duration>>,
}

impl Talk {
    async fn begin(server: &Server) -> Self {
        let people = server.people(["carol", "dave"]).await;
        let chat = people[0].group(&[&people[1]]).await;
        let mut sockets = [people[0].online().await, people[1].online().await];
        let (stop, stopped) = watch::channel(false);
        let (count, rounds) = watch::channel(0);
        let waits = tokio::spawn(async move {
            let mut waits = Vec::new();
            let mut revision = 1;
            while !*stopped.borrow() {
                sockets.reverse();
                let said = Instant::now();
                sockets[0].begin("SendMessage", json!({"chatId": chat, "body": revision.to_string()})).await;
                for socket in &mut sockets {
                    let heard = socket.expect("messageCreated").await;
                    assert_eq!(heard["message"]["body"], revision.to_string());
                    assert_eq!(heard["revision"], revision + 1);
                }
                revision += 1;
                waits.push(said.elapsed());
                count.send_replace(revision);
                // A person, not a machine; and the machine has others to look after.
                sleep(Duration::from_millis(2)).await;
            }
            waits
        });
        Self { stop, rounds, waits }
    }

    /// Waits until they have said a few words more.
    async fn goes_on(&mut self) {
        let until = *self.rounds.borrow() + 10;
        let talking = self.rounds.wait_for(|rounds| *rounds >= until);
        tokio::time::timeout(PATIENCE, talking).await.expect("the talk goes on").unwrap();
    }

    /// They have heard every word, in order and at once.
    async fn was_not_disturbed(mut self) {
        self.goes_on().await;
        self.stop.send_replace(true);
        let mut waits = self.waits.await.unwrap();
        waits.sort_unstable();
        let (usual, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        // Far more than either takes, and far less than a client that holds up the others would make it.
        assert!(usual < Duration::from_secs(1), "{usual:?}");
        assert!(longest < Duration::from_secs(6), "{longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_reads_is_ended_while_others_write_a_lot() {
    let server = Server::with_hub(HubSettings { mailbox: 64, ..HubSettings::default() }).await;
    let mut talk = Talk::begin(&server).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chat = ada.group(&[&bob]).await;
    let mut deaf = bob.connect_narrow().await;
    deaf.ok("Resume", json!({})).await;
    deaf.until_caught_up().await;
    let mut reader = bob.online().await;
    let mut adas = ada.online().await;
    let long = "x".repeat(8000);
    let began = Instant::now();
    // More than fits into all buffers between the two, of which the system's may have 4 MiB.
    let count = 700;
    for first in (1..=count).step_by(20) {
        for _ in 0..20 {
            adas.begin("SendMessage", json!({"chatId": chat, "body": long})).await;
        }
        for socket in [&mut adas, &mut reader] {
            for n in first..first + 20 {
                assert_eq!(socket.expect("messageCreated").await["revision"], n + 1);
            }
        }
    }
    talk.goes_on().await;
    // When it reads again, it finds what was under way, in order, and then the reason.
    let mut last = 1;
    let ended = loop {
        match deaf.message().await {
            Ok(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                last += 1;
                assert_eq!(event["params"]["revision"], last);
            }
            Err(ended) => break ended,
        }
    };
    // After some time the server gives up, and a frame that can't be written tells nobody.
    let too_late = began.elapsed() > Duration::from_secs(10) && ended == Ended::Cut;
    assert!(matches!(ended, Ended::With(4008, _)) || too_late, "{ended:?} after {last}");
    assert!(last <= count, "it was given everything");

    // It comes back and goes on where it was.
    let (_, missed) = bob.resume(json!({&chat: last})).await;
    if missed[0].0 == "messageCreated" {
        assert_eq!(missed.len(), count + 1 - last);
    } else {
        assert_eq!((missed.len(), missed[0].0.as_str()), (1, "chatReset"));
    }
    talk.was_not_disturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_reads_its_answers_is_ended_too() {
    let server = Server::new().await;
    let mut talk = Talk::begin(&server).await;
    let ada = server.register("ada").await;
    let chat = ada.group(&[]).await;
    let mut writer = ada.connect().await;
    for _ in 0..20 {
        writer.says(&chat, &"x".repeat(8000)).await;
    }
    drop(writer);
    server.has_connections(2).await;
    let mut deaf = ada.connect_narrow().await;
    // Not read from the point on where the answers fill the buffers, so the sending comes to a halt.
    let ask =
        json!({"jsonrpc": "2.0", "id": 1, "method": "GetHistory", "params": {"chatId": chat}}).to_string();
    let asking = tokio::spawn(async move {
        for _ in 0..100_000 {
            if deaf.stream.send(Message::text(ask.clone())).await.is_err() {
                break;
            }
        }
        deaf
    });
    // Longer than other waits here: writing to it is given up after 10 s and more.
    let began = Instant::now();
    while server.messenger.connections() > 2 {
        assert!(began.elapsed() < 2 * PATIENCE, "it is still there");
        talk.goes_on().await;
    }
    talk.was_not_disturbed().await;
    asking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_at_once() {
    let limits = RateLimits { requests: Rate::per_second(1000, 2000), ..RateLimits::default() };
    let server = Server::with(HubSettings::default(), Options::new().rate_limits(limits)).await;
    let mut talk = Talk::begin(&server).await;
    let [ada, eve] = server.people(["ada", "eve"]).await;
    let chat = ada.group(&[&eve]).await;
    let floods = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "GetMe"}),
        json!({"jsonrpc": "2.0", "method": "SetTyping", "params": {"chatId": chat, "typing": true}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"chatId": chat, "body": "spam"}}),
        json!(vec![json!({"jsonrpc": "2.0", "id": 1, "method": "NoSuchThing"}); 100]),
    ];
    let floods = floods.map(|flood| {
        let ada = ada.clone();
        tokio::spawn(async move {
            let socket = ada.connect().await;
            let (mut write, mut read) = futures::StreamExt::split(socket.stream);
            let sending = tokio::spawn(async move {
                for _ in 0..10_000 {
                    if write.send(Message::text(flood.to_string())).await.is_err() {
                        break;
                    }
                }
            });
            let mut end = None;
            while let Some(Ok(message)) = futures::StreamExt::next(&mut read).await {
                if let Message::Close(Some(frame)) = message {
                    end = Some(u16::from(frame.code));
                }
            }
            sending.abort();
            end
        })
    });
    for flood in floods {
        assert_eq!(flood.await.unwrap(), Some(4029));
        talk.goes_on().await;
    }
    talk.was_not_disturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_all_kinds() {
    let server = Server::new().await;
    let mut talk = Talk::begin(&server).await;
    let ada = server.register("ada").await;
    let half = raw_frame(0x81, 200_000, &[b' '; 1000]);
    let pieces: Vec<u8> = (0..2000).flat_map(|_| raw_frame(0x00, 0, b"")).collect();
    let pieces = [&raw_frame(0x01, 1, b"{")[..], &pieces].concat();
    let pings: Vec<u8> = (0..2000).flat_map(|_| raw_frame(0x89, 4, b"ping")).collect();
    let large = raw_frame(0x81, 10 << 20, &vec![b' '; 1 << 20]);
    let not_utf8 = raw_frame(0x81, 2, b"\xff\xfe");
    let mut open = Vec::new();
    for bytes in [&half[..], &pieces, &pings, &large, &not_utf8, b"\r\n\r\n", &[0xff; 5000]] {
        for _ in 0..5 {
            let mut socket = ada.connect().await;
            // It may be closed meanwhile.
            let _ = socket.stream.get_mut().write_all(bytes).await;
            open.push(socket);
        }
        talk.goes_on().await;
    }
    drop(open);
    server.has_connections(2).await;
    talk.was_not_disturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go() {
    let server = Server::new().await;
    let mut talk = Talk::begin(&server).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let chat = ada.group(&[&bob]).await;
    let coming = (0..4).map(|n| {
        let (person, chat) = ([&ada, &bob][n % 2].clone(), chat.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                let mut socket = person.connect().await;
                match round % 5 {
                    0 => {}
                    1 => drop(socket.begin("Resume", json!({"chats": {}})).await),
                    2 => drop(socket.says(&chat, "hello").await),
                    3 => drop(socket.begin("SendMessage", json!({"chatId": chat, "body": "bye"})).await),
                    _ => drop(socket.begin("Resume", json!({"chats": {&chat: 1}})).await),
                }
            }
        })
    });
    for coming in coming.collect::<Vec<_>>() {
        coming.await.unwrap();
        talk.goes_on().await;
    }
    server.has_connections(2).await;
    talk.was_not_disturbed().await;
}
