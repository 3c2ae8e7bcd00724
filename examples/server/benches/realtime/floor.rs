//! The floor: a bare axum server that gives each frame to all sockets of a room, or back to who sent it, answers it, and
//! does nothing else.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{
        Query, State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
    serve::ListenerExt as _,
};
use futures::{FutureExt as _, SinkExt as _};
use tokio::{
    net::TcpListener,
    sync::{
        Notify,
        broadcast::{self, error::TryRecvError},
    },
};

use crate::{Result, process};

/// What a frame is answered with.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
/// As long as the server's own answer to a message of 100 bytes, and as the event that tells of it.
const ANSWER_LENGTH: usize = 380;
const EVENT_LENGTH: usize = 480;
/// Seconds between two pings of one socket.
const PING_SECONDS: usize = 30;

#[derive(Clone)]
struct Rooms {
    by_name: Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>,
    /// A socket is pinged whenever its group is woken.
    wheel: Arc<[Notify; PING_SECONDS]>,
    opened: Arc<AtomicUsize>,
}

pub(crate) async fn serve() -> Result {
    process::end_with_parent()?;
    let wheel = Arc::new([const { Notify::const_new() }; PING_SECONDS]);
    let rooms = Rooms { by_name: Arc::default(), wheel, opened: Arc::default() };
    tokio::spawn(turn(Arc::clone(&rooms.wheel)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("http://{}/", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new().route("/ws", get(open)).route("/echo", get(open_echo)).with_state(rooms);
    Ok(axum::serve(listener, router).await?)
}

async fn turn(wheel: Arc<[Notify; PING_SECONDS]>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for group in wheel.iter().cycle() {
        ticks.tick().await;
        group.notify_waiters();
    }
}

async fn open(
    upgrade: WebSocketUpgrade,
    Query(query): Query<HashMap<String, String>>,
    State(rooms): State<Rooms>,
) -> Response {
    let room = query.get("room").map_or("", String::as_str);
    let room = rooms
        .by_name
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(room.to_owned())
        .or_insert_with(|| broadcast::channel(1024).0)
        .clone();
    upgrade.read_buffer_size(1024).on_upgrade(move |socket| async move {
        // It ends when its client goes away.
        let group = rooms.opened.fetch_add(1, Ordering::Relaxed) % PING_SECONDS;
        let _ = run(socket, room, &rooms.wheel[group]).await;
    })
}

async fn run(mut socket: WebSocket, room: broadcast::Sender<Utf8Bytes>, pings: &Notify) -> Result {
    let mut told = room.subscribe();
    loop {
        tokio::select! {
            text = told.recv() => socket.feed(Message::Text(text?)).await?,
            () = pings.notified() => socket.feed(Message::Ping(Default::default())).await?,
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    room.send(text)?;
                    socket.feed(Message::Text(Utf8Bytes::from_static(ANSWER))).await?;
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Ok(()),
            }
        }
        // One flush for all that waits.
        loop {
            match told.try_recv() {
                Ok(text) => socket.feed(Message::Text(text)).await?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                // It ends, so that nothing is left out in silence.
                Err(lagged @ TryRecvError::Lagged(_)) => return Err(lagged.into()),
            }
        }
        socket.flush().await?;
    }
}

async fn open_echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.read_buffer_size(1024).on_upgrade(async |socket| {
        let _ = echo(socket).await;
    })
}

/// Reads what is there, gives back an answer and an event for each frame, and writes them at once.
async fn echo(mut socket: WebSocket) -> Result {
    let answer = Utf8Bytes::from(format!("{ANSWER:<ANSWER_LENGTH$}"));
    while let Some(mut message) = socket.recv().await {
        loop {
            if let Message::Text(request) = message? {
                socket.feed(Message::Text(answer.clone())).await?;
                let event = format!(r#"{{"jsonrpc":"2.0","method":"messageCreated","params":{request}}}"#);
                socket.feed(Message::Text(format!("{event:<EVENT_LENGTH$}").into())).await?;
            }
            match socket.recv().now_or_never() {
                Some(Some(next)) => message = next,
                Some(None) => return Ok(()),
                None => break,
            }
        }
        socket.flush().await?;
    }
    Ok(())
}
