//! Very many clients that read nothing, that send bodies which never come, or that ask for all they have: the memory of
//! the server, and what ordinary people wait meanwhile.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use messenger_core::ChatId;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use crate::{
    Plan, Result,
    client::Client,
    crowd::Side,
    http::{Http, connect_small, request, until_ended},
    report::{Report, Row, Series},
    sides::serve_alone,
    stock::Pages as Stocked,
    talk::{Talks, talk},
    world::World,
};

/// Two people each, who chat.
const PAIRS: usize = 10;
const CONNECTIONS: usize = 250;
/// Pages that a socket asks for at once. Over HTTP there is one answer at a time.
const ASKED: usize = 20;
/// MiB.
const MOST_MEMORY: f64 = 256.0;
/// A client that does not see that it was cut opens a new connection after this time.
const RENEWED: Duration = Duration::from_secs(35);
/// Before it does.
const PAUSE: Duration = Duration::from_secs(5);
/// Of slow bodies.
const BETWEEN: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 8;

/// Who is a burden.
#[derive(Debug, Clone, Copy)]
enum Burden {
    Rest,
    WebSocket,
    Hub,
    Bodies,
    Sync,
}

impl Burden {
    const fn name(self) -> &'static str {
        match self {
            Self::Rest => "250 unread pages, HTTP",
            Self::WebSocket => "250 × 20 unread pages, /ws",
            Self::Hub => "250 × 20 unread pages, /hub",
            Self::Bodies => "50 slow bodies a second",
            Self::Sync => "Sync of 3,000 chats, 8 at a time",
        }
    }
}

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let minute = Duration::from_secs(if plan.quick { 12 } else { 60 });
    if plan.wants(&["unread"]) {
        for burden in [Burden::Rest, Burden::WebSocket, Burden::Hub] {
            beside(burden, minute, plan, world, report).await?;
        }
    }
    if plan.wants(&["bodies"]) {
        beside(Burden::Bodies, minute, plan, world, report).await?;
    }
    if plan.wants(&["sync"]) {
        beside(Burden::Sync, minute / 2, plan, world, report).await?;
    }
    Ok(())
}

async fn beside(burden: Burden, length: Duration, plan: &Plan, world: &World, report: &mut Report) -> Result {
    let side = serve_alone(plan, world).await?;
    let (address, pairs) = (side.process.address, &world.pairs[..PAIRS]);
    talk(address, pairs, Duration::from_secs(1)).await?;
    let mut talks = Talks::default();
    talks.quiet.push(talk(address, pairs, length / 6).await?);
    let before = side.process.resident()?;
    let opened = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    burden.begin(&mut clients, &opened, &side, world)?;
    talks.beside.push(talk(address, pairs, length).await?);
    drop(clients);
    let name = burden.name();
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    report.add(
        Row::new("unread", format!("{name}: the server's largest memory, beside that before"), "MiB")
            .aims(MOST_MEMORY, MOST_MEMORY / 2.0),
        Series { measured: vec![mib(side.process.largest()?)], floor: vec![mib(before)] },
    );
    report.add(
        Row::new("unread", format!("{name}: begun, those that were cut anew"), ""),
        Series { measured: vec![opened.load(Ordering::Relaxed) as f64], floor: Vec::new() },
    );
    talks.report(report, "unread", name, None);
    Ok(())
}

impl Burden {
    /// Lets the clients work until they are dropped.
    fn begin(self, clients: &mut JoinSet<()>, opened: &Arc<AtomicU64>, side: &Side, world: &World) -> Result {
        let address = side.process.address;
        match self {
            Self::Rest | Self::WebSocket | Self::Hub => {
                let pages = world.stock.pages.as_ref().ok_or("there are no long pages")?;
                let pages_chat = pages.chat;
                for number in 0..CONNECTIONS {
                    let token = pages.readers[number % pages.readers.len()].token.clone();
                    let opened = Arc::clone(opened);
                    clients.spawn(async move { ask_on(self, address, &token, pages_chat, &opened).await });
                }
            }
            Self::Bodies => {
                let pages = world.stock.pages.as_ref().ok_or("there are no long pages")?;
                clients.spawn(slow_bodies(address, Arc::clone(pages), Arc::clone(opened)));
            }
            Self::Sync => {
                let (person, _) = world.stock.listed.as_ref().ok_or("nobody is in 3,000 chats")?;
                for _ in 0..AT_ONCE {
                    clients.spawn(sync_on(address, person.token.clone(), Arc::clone(opened)));
                }
            }
        }
        Ok(())
    }
}

/// Asks, reads nothing, and begins anew some time after it was cut, as clients do.
async fn ask_on(burden: Burden, address: SocketAddr, token: &str, chat: ChatId, opened: &AtomicU64) {
    loop {
        opened.fetch_add(1, Ordering::Relaxed);
        // However it ended.
        let _ = ask_and_wait(burden, address, token, chat).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask_and_wait(burden: Burden, address: SocketAddr, token: &str, chat: ChatId) -> Result {
    match burden {
        Burden::WebSocket => {
            let mut client = Client::connect_small(address, "/api/v1/ws", token).await?;
            let asks: Vec<_> = (0..ASKED)
                .map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"GetHistory","params":{{"chatId":"{chat}","limit":200}}}}"#))
                .map(String::into_bytes)
                .collect();
            client.send(&asks, false).await?;
            until_ended(client.stream(), RENEWED).await;
        }
        Burden::Hub => {
            let mut client = Client::connect_small(address, "/api/v1/hub", token).await?;
            let mut asks = "{\"protocol\":\"json\",\"version\":1}\u{1e}".to_owned();
            for id in 0..ASKED {
                asks.push_str(&format!("{{\"type\":1,\"invocationId\":\"{id}\",\"target\":\"GetHistory\",\"arguments\":[{{\"chatId\":\"{chat}\",\"limit\":200}}]}}\u{1e}"));
            }
            client.send(&[asks.into_bytes()], false).await?;
            until_ended(client.stream(), RENEWED).await;
        }
        Burden::Rest | Burden::Bodies | Burden::Sync => {
            let mut stream = connect_small(address).await?;
            let path = format!("/chats/{chat}/messages?limit=200");
            stream.write_all(&request(address, token, "GET", &path, "")).await?;
            until_ended(&stream, RENEWED).await;
        }
    }
    Ok(())
}

/// A new post every 20 ms of which only one byte comes; all stay open until they are cut.
async fn slow_bodies(address: SocketAddr, pages: Arc<Stocked>, opened: Arc<AtomicU64>) {
    let mut open = JoinSet::new();
    let mut ticks = tokio::time::interval(BETWEEN);
    for reader in pages.readers.iter().cycle() {
        ticks.tick().await;
        opened.fetch_add(1, Ordering::Relaxed);
        let (token, chat) = (reader.token.clone(), pages.chat);
        open.spawn(async move {
            if let Ok(stream) = begin_post(address, &token, chat).await {
                until_ended(&stream, RENEWED).await;
            }
        });
        while open.try_join_next().is_some() {}
    }
}

async fn begin_post(address: SocketAddr, token: &str, chat: ChatId) -> Result<TcpStream> {
    let mut stream = connect_small(address).await?;
    let body = format!(r#"{{"body":"{:.<1000}"}}"#, "");
    let mut post = request(address, token, "POST", &format!("/chats/{chat}/messages"), &body);
    post.truncate(post.len() - body.len() + 1);
    stream.write_all(&post).await?;
    Ok(stream)
}

/// Asks for everything, page by page, and reads it.
async fn sync_on(address: SocketAddr, token: String, opened: Arc<AtomicU64>) {
    let mut http = Http::new(address, &token);
    let mut cursor = None::<String>;
    loop {
        opened.fetch_add(u64::from(cursor.is_none()), Ordering::Relaxed);
        let body = match &cursor {
            Some(cursor) => {
                format!(r#"{{"limit":200,"cursor":{}}}"#, serde_json::Value::from(cursor.as_str()))
            }
            None => r#"{"limit":200}"#.to_owned(),
        };
        cursor = match http.ask("POST", "/sync", &body).await {
            Ok((200, answer)) => next_cursor(&answer),
            _ => None,
        };
    }
}

/// Found without reading the answer, which would take the CPU that the server needs.
fn next_cursor(answer: &[u8]) -> Option<String> {
    const KEY: &[u8] = br#""nextCursor":""#;
    let at = answer.windows(KEY.len()).rposition(|some| some == KEY)? + KEY.len();
    let rest = answer.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
