//! What a client and a node say to each other: JSON-RPC over the WebSocket, or SignalR's JSON over the hub.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Ends a record of SignalR's JSON.
const END: char = '\u{1e}';
/// What opening may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a socket is spoken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// To `/ws`.
    WebSocket,
    /// To `/hub`, without a negotiation.
    SignalR,
}

/// The socket has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

/// What comes from a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// An answer to the request of this id: a result, or the code of a problem.
    Answer {
        /// The number of the request.
        id: u64,
        /// What it was answered with.
        result: Result<Value, String>,
    },
    /// An event.
    Event {
        /// Its name.
        name: String,
        /// What it says.
        params: Value,
    },
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    wire: Wire,
    stream: WebSocketStream<TcpStream>,
    /// Records of SignalR that came with one before them.
    more: VecDeque<String>,
}

impl Socket {
    /// Opens a socket of the session with this token.
    ///
    /// # Errors
    /// If the node is not there or refuses.
    pub async fn open(wire: Wire, address: SocketAddr, token: &str) -> Result<Self, Ended> {
        let open = async {
            let tcp = TcpStream::connect(address).await.map_err(|_| Ended)?;
            tcp.set_nodelay(true).map_err(|_| Ended)?;
            let path = if wire == Wire::WebSocket { "ws" } else { "hub" };
            let url = format!("ws://{address}/api/v1/{path}?access_token={token}");
            let (stream, _) = client_async(url, tcp).await.map_err(|_| Ended)?;
            let mut socket = Self { wire, stream, more: VecDeque::new() };
            if wire == Wire::SignalR {
                socket.shake_hands().await?;
            }
            Ok(socket)
        };
        timeout(PATIENCE, open).await.unwrap_or(Err(Ended))
    }

    async fn shake_hands(&mut self) -> Result<(), Ended> {
        self.send(format!("{}{END}", json!({"protocol": "json", "version": 1}))).await?;
        let answer = self.record().await?;
        if answer == "{}" { Ok(()) } else { Err(Ended) }
    }

    /// Asks for something; the answer comes with this id.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn ask(&mut self, id: u64, method: &str, params: &Value) -> Result<(), Ended> {
        let text = match self.wire {
            Wire::WebSocket => {
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
            }
            Wire::SignalR => {
                let call = json!({"type": 1, "invocationId": id.to_string(), "target": method, "arguments": [params]});
                format!("{call}{END}")
            }
        };
        self.send(text).await
    }

    async fn send(&mut self, text: String) -> Result<(), Ended> {
        match timeout(PATIENCE, self.stream.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Ended),
        }
    }

    /// Waits for the next frame. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            let record = self.record().await?;
            let record: Value = serde_json::from_str(&record).expect("a server speaks JSON");
            let frame = match self.wire {
                Wire::WebSocket => rpc_frame(record),
                Wire::SignalR => hub_frame(record)?,
            };
            if let Some(frame) = frame {
                return Ok(frame);
            }
        }
    }

    async fn record(&mut self) -> Result<String, Ended> {
        loop {
            if let Some(record) = self.more.pop_front() {
                return Ok(record);
            }
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) if self.wire == Wire::WebSocket => {
                    return Ok(text.as_str().to_owned());
                }
                Some(Ok(Message::Text(text))) => {
                    let records = text.as_str().split(END).filter(|record| !record.is_empty());
                    self.more.extend(records.map(str::to_owned));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Err(Ended),
            }
        }
    }
}

fn rpc_frame(mut frame: Value) -> Option<Frame> {
    if let Some(name) = frame["method"].as_str() {
        return Some(Frame::Event { name: name.to_owned(), params: frame["params"].take() });
    }
    let id = frame["id"].as_u64()?;
    let result = match frame.get("error") {
        Some(error) => Err(error["message"].as_str().unwrap_or_default().to_owned()),
        None => Ok(frame["result"].take()),
    };
    Some(Frame::Answer { id, result })
}

fn hub_frame(mut record: Value) -> Result<Option<Frame>, Ended> {
    Ok(match record["type"].as_u64() {
        Some(1) => {
            let name = record["target"].as_str().unwrap_or_default().to_owned();
            Some(Frame::Event { name, params: record["arguments"][0].take() })
        }
        Some(3) => {
            let id = record["invocationId"].as_str().and_then(|id| id.parse().ok());
            let result = match record["error"].as_str() {
                Some(error) => Err(code_of(error)),
                None => Ok(record["result"].take()),
            };
            id.map(|id| Frame::Answer { id, result })
        }
        Some(7) => return Err(Ended),
        _ => None,
    })
}

/// Of `… HubException: code: detail`.
fn code_of(error: &str) -> String {
    let text = error.rsplit_once("HubException: ").map_or(error, |(_, text)| text);
    text.split(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_frames_are_read_alike() {
        let rpc = |frame| rpc_frame(frame).unwrap();
        let hub = |record| hub_frame(record).unwrap().unwrap();
        let event = rpc(json!({"jsonrpc": "2.0", "method": "chatRemoved", "params": {"chatId": "c"}}));
        assert_eq!(hub(json!({"type": 1, "target": "chatRemoved", "arguments": [{"chatId": "c"}]})), event);
        let answer = rpc(json!({"jsonrpc": "2.0", "id": 7, "result": {"seq": 1}}));
        assert_eq!(hub(json!({"type": 3, "invocationId": "7", "result": {"seq": 1}})), answer);
        let refusal =
            rpc(json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "notFound"}}));
        let error = "An unexpected error occurred invoking 'X' on the server. HubException: notFound: It is not there: no.";
        assert_eq!(hub(json!({"type": 3, "invocationId": "7", "error": error})), refusal);
        assert_eq!(hub_frame(json!({"type": 7})), Err(Ended));
        assert_eq!(hub_frame(json!({"type": 6})), Ok(None));
    }
}
