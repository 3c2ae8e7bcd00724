use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::routes::Operations;
use crate::support::{PATIENCE, Server};

/// A way in, with what is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Rest,
    Ws,
    HubJson,
    HubMessagePack,
}

/// What came of a call.
pub(super) enum Answer {
    Done(Value),
    Refused(String),
}

impl Door {
    pub(super) const ALL: [Self; 4] = [Self::Rest, Self::Ws, Self::HubJson, Self::HubMessagePack];

    /// The names of what can be done there.
    pub(super) fn operations(self, all: &Operations) -> Vec<&str> {
        if self == Self::Rest { all.of_rest() } else { all.of_sockets() }
    }

    /// Whether the operation is not there on purpose.
    pub(super) fn has_no(self, name: &str) -> bool {
        // SignalR has its own.
        matches!(self, Self::HubJson | Self::HubMessagePack) && name == "Ping"
    }

    pub(super) async fn call(
        self,
        server: &Server,
        operations: &Operations,
        token: Option<&str>,
        name: &str,
        fields: &Value,
    ) -> Answer {
        if self == Self::Rest {
            return over_rest(server, operations, token, name, fields);
        }
        let mut socket = Socket::open(server, self, token.unwrap_or_default()).await;
        socket.send(self.frame(name, fields)).await;
        while let Some(heard) = socket.hear().await {
            if let Some(answer) = self.answer(&heard) {
                return answer;
            }
        }
        Answer::Refused("the connection has ended".to_owned())
    }

    /// Takes what is told there, until it is aborted.
    pub(super) async fn listen(self, server: &Server, token: &str) -> JoinHandle<()> {
        let mut socket = match self {
            Self::Rest => return tokio::spawn(async {}),
            _ => Socket::open(server, self, token).await,
        };
        // Events come once the client has said what it has.
        socket.send(self.frame("Resume", &json!({}))).await;
        tokio::spawn(async move { while socket.hear().await.is_some() {} })
    }

    fn frame(self, name: &str, fields: &Value) -> Message {
        match self {
            Self::HubMessagePack => {
                let record = json!([1, {}, "1", name, [fields], []]);
                let record = rmp_serde::to_vec(&record).unwrap();
                let mut framed = length_of(record.len());
                framed.extend(record);
                Message::binary(framed)
            }
            Self::HubJson => {
                let call = json!({"type": 1, "invocationId": "1", "target": name, "arguments": [fields]});
                Message::text(format!("{call}\u{1e}"))
            }
            _ => Message::text(
                json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": fields}).to_string(),
            ),
        }
    }

    /// The answer in these bytes, if there is one.
    fn answer(self, bytes: &[u8]) -> Option<Answer> {
        let records: Vec<Value> = match self {
            Self::HubMessagePack => records(bytes),
            Self::HubJson => {
                let texts = bytes.split(|byte| *byte == 0x1e).filter(|text| !text.is_empty());
                texts.map(|text| serde_json::from_slice(text).unwrap()).collect()
            }
            _ => vec![serde_json::from_slice(bytes).unwrap()],
        };
        records.iter().find_map(|record| match self {
            Self::HubMessagePack if record[0] == 3 => Some(match record[3].as_u64() {
                Some(1) => Answer::Refused(record[4].to_string()),
                _ => Answer::Done(record[4].clone()),
            }),
            Self::HubJson if record["type"] == 3 => Some(answer(record)),
            Self::Ws if record["id"] == 1 => Some(answer(record)),
            _ => None,
        })
    }
}

fn answer(record: &Value) -> Answer {
    match record.get("error") {
        Some(error) => Answer::Refused(error.to_string()),
        None => Answer::Done(record["result"].clone()),
    }
}

fn over_rest(
    server: &Server,
    operations: &Operations,
    token: Option<&str>,
    name: &str,
    fields: &Value,
) -> Answer {
    let route = operations.route(name).unwrap();
    let (path, body) = route.filled(fields);
    let base = if path.starts_with("/health") { "" } else { "/api/v1" };
    let body = Some(&body).filter(|_| route.method != "GET");
    let answer = server.request(&route.method, &format!("{base}{path}"), token, body);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status() < 300 {
        return Answer::Done(serde_json::from_str(&text).unwrap_or_default());
    }
    Answer::Refused(text)
}

/// An open socket of any kind.
pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(super) async fn open(server: &Server, door: Door, token: &str) -> Self {
        let mut socket = Self::dial(server, door, token).await.unwrap();
        let protocol = match door {
            Door::HubJson => "json",
            Door::HubMessagePack => "messagepack",
            _ => return socket,
        };
        socket.send(Message::text(format!("{}\u{1e}", json!({"protocol": protocol, "version": 1})))).await;
        assert_eq!(socket.hear().await.unwrap(), b"{}\x1e");
        socket
    }

    /// Without the handshake of the hub.
    pub(super) async fn dial(server: &Server, door: Door, token: &str) -> Result<Self, String> {
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let place = if door == Door::Ws { "ws" } else { "hub" };
        let url = format!("ws://{}/api/v1/{place}?access_token={token}", server.address);
        let opened = timeout(PATIENCE, client_async(url, tcp)).await.unwrap();
        opened.map(|(socket, _)| Self(socket)).map_err(|error| error.to_string())
    }

    /// What can't be sent any more is of no interest.
    pub(super) async fn send(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// The payload of the next frame, until the socket ends.
    pub(super) async fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap()? {
                Ok(Message::Text(text)) => return Some(text.as_bytes().to_vec()),
                Ok(Message::Binary(bytes)) => return Some(bytes.to_vec()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// The length in front of a record: seven bits a byte, the low ones first.
fn length_of(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

fn records(mut bytes: &[u8]) -> Vec<Value> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = bytes[..end].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        records.push(rmp_serde::from_slice(&bytes[end..end + length]).unwrap());
        bytes = &bytes[end + length..];
    }
    records
}
