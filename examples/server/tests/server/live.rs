//! Clients of a server that may go away at any moment.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use crate::support::{PATIENCE, Server};

/// Before a server that is not there is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// People in a group; each has said nothing yet.
pub(crate) struct Group {
    pub(crate) chat: String,
    pub(crate) tokens: Vec<String>,
}

impl Group {
    pub(crate) fn of(server: &Server, people: &[&str]) -> Self {
        let tokens: Vec<String> = people.iter().map(|name| server.register(name)).collect();
        let id = |token| server.request("GET", "/api/v1/users/me", Some(token), None).json()["id"].clone();
        let members: Vec<Value> = tokens[1..].iter().map(|token| id(token)).collect();
        let group = json!({"title": "Tea", "memberIds": members});
        let chat = server.request("POST", "/api/v1/chats/group", Some(&tokens[0]), Some(&group));
        assert_eq!(chat.status(), 201, "{}", chat.text());
        Self { chat: chat.json()["id"].as_str().unwrap().to_owned(), tokens }
    }

    /// All messages, by seq.
    pub(crate) fn history(&self, server: &Server) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let path = format!("/api/v1/chats/{}/messages?limit=200&after={}", self.chat, all.len());
            let page = server.request("GET", &path, Some(&self.tokens[0]), None).json();
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            if page["hasMoreAfter"] == false {
                return all;
            }
        }
    }
}

/// A socket.
pub(crate) struct Socket(WebSocketStream<tokio::net::TcpStream>);

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    With(CloseCode),
    Lost,
}

impl Socket {
    pub(crate) async fn open(address: SocketAddr, token: &str) -> Result<Self, Ended> {
        let open = async {
            let tcp = tokio::net::TcpStream::connect(address).await.map_err(|_| Ended::Lost)?;
            let url = format!("ws://{address}/api/v1/ws?access_token={token}");
            Ok(Self(client_async(url, tcp).await.map_err(|_| Ended::Lost)?.0))
        };
        timeout(PATIENCE, open).await.unwrap()
    }

    /// Tries until the server is there.
    pub(crate) async fn reopen(address: SocketAddr, token: &str) -> Self {
        let open = async {
            loop {
                match Self::open(address, token).await {
                    Ok(socket) => return socket,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        };
        timeout(PATIENCE, open).await.unwrap()
    }

    pub(crate) async fn say(&mut self, id: u64, method: &str, params: &Value) -> Result<(), Ended> {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.0.send(Message::text(request.to_string())).await.map_err(|_| Ended::Lost)
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Result<Value, Ended> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap() {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return Err(Ended::With(frame.code)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => return Err(Ended::Lost),
            }
        }
    }
}

/// A message that the server has acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) number: usize,
    pub(crate) client_id: String,
    pub(crate) id: String,
    pub(crate) seq: u64,
}

impl Acknowledged {
    fn of(number: usize, message: &Value) -> Self {
        let text = |field: &str| message[field].as_str().unwrap().to_owned();
        Self { number, client_id: text("clientId"), id: text("id"), seq: message["seq"].as_u64().unwrap() }
    }
}

/// Somebody who sends numbered messages, and each that was not answered once more: for as long as it takes.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) chat: String,
    pub(crate) token: String,
    /// No new messages from then on.
    pub(crate) stop: Arc<AtomicBool>,
    /// Hears of each that is acknowledged.
    pub(crate) told: Sender<()>,
}

impl Writer {
    fn client_id(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn message(&self, number: usize) -> Value {
        json!({"chatId": self.chat, "body": format!("{} says {number}", self.name), "clientId": self.client_id(number)})
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Over a socket, with so many messages under way, from connection to connection.
    pub(crate) async fn over_sockets(self, window: usize) -> Vec<Acknowledged> {
        let mut written = Written::default();
        while self.goes_on() || !written.unanswered.is_empty() {
            let mut socket = Socket::reopen(self.address, &self.token).await;
            // The end of a connection is no news here.
            let _ = self.over_one(&mut socket, window, &mut written).await;
        }
        written.acknowledged
    }

    /// Until it ends, or there is nothing left to do.
    pub(crate) async fn over_one(
        &self,
        socket: &mut Socket,
        window: usize,
        written: &mut Written,
    ) -> Result<(), Ended> {
        for number in &written.unanswered {
            socket.say(*number as u64, "SendMessage", &self.message(*number)).await?;
        }
        loop {
            while self.goes_on() && written.unanswered.len() < window {
                let number = written.next();
                socket.say(number as u64, "SendMessage", &self.message(number)).await?;
            }
            if written.unanswered.is_empty() {
                return Ok(());
            }
            let frame = socket.hear().await?;
            if frame.get("method").is_none() {
                written.answered(&frame);
                let _ = self.told.send(());
            }
        }
    }

    /// Over REST, one message after the other, each on a connection of its own.
    pub(crate) fn over_rest(self) -> Vec<Acknowledged> {
        let mut written = Written::default();
        while self.goes_on() {
            let number = written.next();
            let message = loop {
                match self.post(number) {
                    Ok(message) => break message,
                    Err(_) => std::thread::sleep(RETRY),
                }
            };
            written.acknowledged.push(Acknowledged::of(number, &message));
            let _ = self.told.send(());
        }
        written.acknowledged
    }

    /// Sends a message over REST: an error if it was not answered.
    pub(crate) fn post(&self, number: usize) -> io::Result<Value> {
        let mut body = self.message(number);
        body.as_object_mut().unwrap().remove("chatId");
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!(
                "POST /api/v1/chats/{}/messages HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                 Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                self.chat,
                self.token,
                body.len()
            )
            .as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let message = serde_json::from_str(body).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
        Ok(message)
    }
}

/// What a writer has written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) count: usize,
    pub(crate) unanswered: VecDeque<usize>,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

impl Written {
    fn next(&mut self) -> usize {
        self.count += 1;
        self.unanswered.push_back(self.count);
        self.count
    }

    /// Takes an answer.
    pub(crate) fn answered(&mut self, frame: &Value) {
        let number = self.unanswered.iter().position(|number| frame["id"] == *number);
        let number = number.and_then(|at| self.unanswered.remove(at)).unwrap_or_else(|| panic!("{frame}"));
        self.acknowledged.push(Acknowledged::of(number, &frame["result"]));
    }
}
