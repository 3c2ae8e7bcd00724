//! What clients and server say over a socket: JSON-RPC in texts, SignalR in one of its two encodings, or Socket.IO.

use std::{net::SocketAddr, time::Duration};

use messenger_core::ChatId;

use super::{Result, client::Client};

/// How a socket is spoken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// To the server's WebSocket.
    WebSocket,
    /// To the hub.
    SignalRJson,
    /// To the hub.
    SignalRMessagePack,
    /// To the bare server, which gives each frame to a room.
    Floor,
    /// To the bare server, which gives each frame back to who sent it, in what the server would say.
    Echo,
    /// To a Socket.IO server that gives what is sent to a room.
    SocketIo,
}

/// What a record is to a client of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// An event: a message in a chat.
    Message,
    /// An event: nothing is missing.
    CaughtUp,
    /// What was asked for.
    Answer,
    /// Or was refused.
    Refusal,
    /// It is to be answered with [`Wire::pong`].
    Ping,
    /// Anything else.
    Other,
}

/// Ends a record of SignalR's JSON.
const END: u8 = 0x1e;

impl Wire {
    /// Those of the server, side by side.
    pub const OF_SERVER: [Self; 3] = [Self::WebSocket, Self::SignalRJson, Self::SignalRMessagePack];

    /// What tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::SignalRJson => "JSON",
            Self::SignalRMessagePack => "MessagePack",
            Self::Floor => "floor",
            Self::Echo => "echo",
            Self::SocketIo => "Socket.IO",
        }
    }

    /// A socket in this room.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn open(self, address: SocketAddr, token: &str, room: usize) -> Result<Client> {
        let path = match self {
            Self::WebSocket => "/api/v1/ws",
            Self::SignalRJson | Self::SignalRMessagePack => "/api/v1/hub",
            Self::Floor => &format!("/ws?room={room}"),
            Self::Echo => "/echo",
            Self::SocketIo => &format!("/socket.io/?EIO=4&transport=websocket&room={room}"),
        };
        let mut client = Client::connect(address, path, token).await?;
        self.shake_hands(&mut client).await?;
        Ok(client)
    }

    /// Whether there is no store behind it.
    pub const fn is_floor(self) -> bool {
        matches!(self, Self::Floor | Self::Echo)
    }

    /// Whether its messages have numbers that tell their order.
    pub(super) const fn has_order(self) -> bool {
        !matches!(self, Self::Floor | Self::Echo | Self::SocketIo)
    }

    const fn is_binary(self) -> bool {
        matches!(self, Self::SignalRMessagePack)
    }

    /// Agrees on the protocol, where there is something to agree on. A client that sends no pings, as this one, is not
    /// waited for.
    async fn shake_hands(self, client: &mut Client) -> Result {
        let protocol = match self {
            Self::WebSocket | Self::Floor | Self::Echo => return Ok(()),
            Self::SocketIo => {
                expect(client, b"0{").await?;
                client.send(&[b"40".to_vec()], false).await?;
                return expect(client, b"40{").await;
            }
            Self::SignalRJson => "json",
            Self::SignalRMessagePack => "messagepack",
        };
        let hello = format!("{{\"protocol\":\"{protocol}\",\"version\":1}}\u{1e}");
        client.send(&[hello.into_bytes()], false).await?;
        let mut answer = None;
        while answer.is_none() {
            client.receive(|bytes| answer = Some(bytes.to_vec())).await?;
        }
        match answer.as_deref() {
            Some(b"{}\x1e") => Ok(()),
            answer => Err(format!("SignalR's handshake was answered with {answer:?}").into()),
        }
    }

    /// Asks for what was missed, and waits until it is there. What stores nothing has nothing.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn resume(self, client: &mut Client) -> Result {
        let resume = match self {
            Self::Floor | Self::Echo | Self::SocketIo => return Ok(()),
            Self::WebSocket => br#"{"jsonrpc":"2.0","id":0,"method":"Resume","params":{}}"#.to_vec(),
            Self::SignalRJson => {
                b"{\"type\":1,\"invocationId\":\"0\",\"target\":\"Resume\",\"arguments\":[{}]}\x1e".to_vec()
            }
            Self::SignalRMessagePack => invocation(0, "Resume", &[]),
        };
        self.send(client, &[resume]).await?;
        let mut caught_up = false;
        while !caught_up {
            client
                .receive(|bytes| {
                    self.records(bytes, |record| caught_up |= self.read(record) == Record::CaughtUp);
                })
                .await?;
        }
        Ok(())
    }

    /// Says what it has, in parts if there is much of it, and waits until it has what it missed.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn resume_with(self, client: &mut Client, chats: &[(ChatId, u64)]) -> Result {
        const PART: usize = 500;
        let mut rest = chats;
        while rest.len() > PART {
            let part;
            (part, rest) = rest.split_at(PART);
            self.ask(client, "Resume", &named(part, r#""more":true,"#)).await?;
        }
        self.send(client, &[self.request("Resume", &named(rest, ""))?]).await?;
        self.wait_for(client, Record::CaughtUp).await
    }

    /// Says at which position it is, or that it has none yet, waits until it has what it missed, and answers with the
    /// position it is at then. Nothing may have changed since.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn resume_by(self, client: &mut Client, position: Option<&str>) -> Result<String> {
        let params = serde_json::json!({ "position": position }).to_string();
        self.send(client, &[self.request("Resume", &params)?]).await?;
        let (mut last, mut asked) = (None, None);
        while last.is_none() {
            let mut take = |record: &[u8]| match self.read(record) {
                Record::CaughtUp => last = Some(record.to_vec()),
                Record::Answer if record.ends_with(b"\"result\":{}}") => {}
                Record::Answer | Record::Refusal => {
                    asked = Some(String::from_utf8_lossy(record).into_owned());
                }
                _ => {}
            };
            client.receive(|bytes| self.records(bytes, &mut take)).await?;
            if let Some(asked) = asked {
                return Err(format!("a resume by a position was answered with {asked}").into());
            }
        }
        let told: serde_json::Value = serde_json::from_slice(&last.unwrap_or_default())?;
        let position = told["params"]["position"].as_str();
        Ok(position.ok_or("the server tells no position")?.to_owned())
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn ask(self, client: &mut Client, method: &str, params: &str) -> Result {
        self.send(client, &[self.request(method, params)?]).await?;
        self.wait_for(client, Record::Answer).await
    }

    async fn wait_for(self, client: &mut Client, wanted: Record) -> Result {
        let (mut came, mut refusal) = (false, None);
        while !came {
            let take = |record: &[u8]| match self.read(record) {
                record if record == wanted => came = true,
                Record::Refusal => refusal = Some(String::from_utf8_lossy(record).into_owned()),
                _ => {}
            };
            let mut take = take;
            client.receive(|bytes| self.records(bytes, &mut take)).await?;
            if let Some(refusal) = refusal {
                return Err(refusal.into());
            }
        }
        Ok(())
    }

    fn request(self, method: &str, params: &str) -> Result<Vec<u8>> {
        match self {
            Self::WebSocket => {
                Ok(format!(r#"{{"jsonrpc":"2.0","id":0,"method":"{method}","params":{params}}}"#)
                    .into_bytes())
            }
            Self::SignalRJson => Ok(format!(
                "{{\"type\":1,\"invocationId\":\"0\",\"target\":\"{method}\",\"arguments\":[{params}]}}\u{1e}"
            )
            .into_bytes()),
            Self::SignalRMessagePack | Self::Floor | Self::Echo | Self::SocketIo => {
                Err("this is asked for in texts".into())
            }
        }
    }

    /// Writes records with one call of the system.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn send(self, client: &mut Client, records: &[Vec<u8>]) -> Result {
        client.send(records, self.is_binary()).await
    }

    /// Gives each record of a frame to `take`. The server splits none over two.
    pub fn records<'b>(self, mut frame: &'b [u8], mut take: impl FnMut(&'b [u8])) {
        match self {
            Self::WebSocket | Self::Floor | Self::Echo | Self::SocketIo => take(frame),
            Self::SignalRJson => match frame.split_last() {
                // Quicker than to split what is one record, as most are.
                Some((&END, record)) if !record.contains(&END) => take(record),
                Some((&END, records)) => records.split(|byte| *byte == END).for_each(take),
                _ => take(frame),
            },
            Self::SignalRMessagePack => {
                while let Some((record, rest)) = binary_record(frame) {
                    take(record);
                    frame = rest;
                }
            }
        }
    }

    /// What this record is.
    pub fn read(self, record: &[u8]) -> Record {
        match self {
            Self::WebSocket | Self::Floor | Self::Echo => read_rpc(record),
            Self::SignalRJson => read_json(record),
            Self::SignalRMessagePack => read_message_pack(record),
            Self::SocketIo => read_socket_io(record),
        }
    }

    /// The number of the request that this record answers, where that is quickly found.
    pub fn answered(self, record: &[u8]) -> Option<usize> {
        let number = match self {
            Self::WebSocket | Self::Echo => record.strip_prefix(ANSWER_OF_RPC)?,
            Self::SocketIo => record.strip_prefix(ANSWER_OF_SOCKET_IO)?,
            Self::SignalRJson | Self::SignalRMessagePack | Self::Floor => return None,
        };
        usize::try_from(Self::WebSocket.number(number)?).ok()
    }

    /// What a ping is answered with.
    pub fn pong(self) -> Vec<u8> {
        b"3".to_vec()
    }

    /// What is before the seq of a message in an event.
    pub const fn seq_key(self) -> &'static [u8] {
        match self {
            Self::SignalRMessagePack => b"\xa3seq",
            _ => br#""seq":"#,
        }
    }

    /// The number that these bytes begin with.
    pub fn number(self, bytes: &[u8]) -> Option<u64> {
        if !self.is_binary() {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
            return Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
        }
        let (first, rest) = bytes.split_first()?;
        let length = match first {
            0..=0x7f => return Some(u64::from(*first)),
            0xcc..=0xcf => 1 << (first - 0xcc),
            _ => return None,
        };
        Some(rest.get(..length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// The parameters of a resume.
fn named(chats: &[(ChatId, u64)], more: &str) -> String {
    let chats: Vec<_> = chats.iter().map(|(chat, revision)| format!(r#""{chat}":{revision}"#)).collect();
    format!(r#"{{{more}"chats":{{{}}}}}"#, chats.join(","))
}

/// Waits for a frame that begins like this.
async fn expect(client: &mut Client, wanted: &[u8]) -> Result {
    let mut came = None;
    while came.is_none() {
        client.receive(|bytes| came = Some(bytes.to_vec())).await?;
    }
    match came {
        Some(frame) if frame.starts_with(wanted) => Ok(()),
        frame => Err(format!("Socket.IO's handshake was answered with {frame:?}").into()),
    }
}

const ANSWER_OF_RPC: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const ANSWER_OF_SOCKET_IO: &[u8] = b"43";

fn read_rpc(text: &[u8]) -> Record {
    const EVENT: &[u8] = br#"{"jsonrpc":"2.0","method":"messageCreated""#;
    const CAUGHT_UP: &[u8] = br#"{"jsonrpc":"2.0","method":"caughtUp","#;
    if text.starts_with(EVENT) {
        Record::Message
    } else if text.starts_with(ANSWER_OF_RPC) {
        answer(text[..64.min(text.len())].windows(8).any(|some| some == br#""error":"#))
    } else if text.starts_with(CAUGHT_UP) {
        Record::CaughtUp
    } else {
        Record::Other
    }
}

/// Engine.IO 4: a digit for the kind of packet, within which Socket.IO 5 has one of its own.
fn read_socket_io(frame: &[u8]) -> Record {
    if frame.starts_with(b"42[\"message\"") {
        Record::Message
    } else if frame.starts_with(ANSWER_OF_SOCKET_IO) {
        Record::Answer
    } else if frame == b"2" {
        Record::Ping
    } else {
        Record::Other
    }
}

fn read_json(record: &[u8]) -> Record {
    const EVENT: &[u8] = br#"{"type":1,"target":""#;
    const ANSWER: &[u8] = br#"{"type":3,"invocationId":""#;
    if let Some(rest) = record.strip_prefix(EVENT) {
        event(rest)
    } else if record.starts_with(ANSWER) {
        answer(record[..64.min(record.len())].windows(8).any(|some| some == br#""error":"#))
    } else {
        Record::Other
    }
}

fn read_message_pack(record: &[u8]) -> Record {
    match record {
        // Six items: an invocation, no headers, no id, and the length of the name.
        [0x96, 0x01, 0x80, 0xc0, 0xa0..=0xbf, rest @ ..] => event(rest),
        // The kind of an answer is behind its id.
        [0x94 | 0x95, 0x03, 0x80, id @ 0xa0..=0xbf, rest @ ..] => {
            answer(rest.get(usize::from(id & 0x1f)) == Some(&1))
        }
        _ => Record::Other,
    }
}

fn event(name: &[u8]) -> Record {
    if name.starts_with(b"messageCreated") {
        Record::Message
    } else if name.starts_with(b"caughtUp") {
        Record::CaughtUp
    } else {
        Record::Other
    }
}

fn answer(is_refusal: bool) -> Record {
    if is_refusal { Record::Refusal } else { Record::Answer }
}

/// The first record, without its length, and what is behind it.
fn binary_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut at) = (0, 0);
    loop {
        let byte = bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            return bytes.get(at..)?.split_at_checked(length);
        }
    }
}

/// Writes what one socket sends.
#[derive(Debug)]
pub struct Sender {
    /// How the socket is spoken over.
    pub wire: Wire,
    /// Where it writes to.
    pub chat: ChatId,
    /// The number of the socket.
    pub index: usize,
    /// Messages so far.
    pub number: u64,
}

impl Sender {
    /// A message of 100 bytes for the server; for the floor, the frame of 200 bytes that it gives to all. The time
    /// is in it, since the round began.
    pub fn record(&mut self, time: Duration) -> Vec<u8> {
        self.number += 1;
        let (number, chat, time) = (self.number, self.chat, time.as_nanos());
        // Rises with time, as a UUIDv7 does, whoever sends.
        let client_id = format!("{time:012x}-{}-{number}", self.index);
        let body = format!("@{time:016x}{:.<83}", "");
        match self.wire {
            Wire::WebSocket | Wire::Echo => format!(
                r#"{{"jsonrpc":"2.0","id":{number},"method":"SendMessage","params":{{"chatId":"{chat}","clientId":"{client_id}","body":"{body}"}}}}"#
            )
            .into_bytes(),
            Wire::SocketIo => format!(
                r#"42{number}["send",{{"chatId":"{chat}","clientId":"{client_id}","body":"{body}"}}]"#
            )
            .into_bytes(),
            Wire::SignalRJson => format!(
                "{{\"type\":1,\"invocationId\":\"{number}\",\"target\":\"SendMessage\",\"arguments\":[{{\"chatId\":\"{chat}\",\"clientId\":\"{client_id}\",\"body\":\"{body}\"}}]}}\u{1e}"
            )
            .into_bytes(),
            Wire::SignalRMessagePack => {
                let fields = [("chatId", &*chat.to_string()), ("clientId", &client_id), ("body", &body)];
                invocation(number, "SendMessage", &fields)
            }
            Wire::Floor => format!(
                r#"{{"jsonrpc":"2.0","method":"messageCreated","params":{{"body":"@{time:016x}{:.<119}"}}}}"#,
                ""
            )
            .into_bytes(),
        }
    }
}

/// A record of MessagePack with one argument, which has less than 16 fields.
fn invocation(id: u64, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0x95, 0x01, 0x80];
    write_text(&mut body, &id.to_string());
    write_text(&mut body, target);
    body.extend([0x91, 0x80 | fields.len() as u8]);
    for (name, value) in fields {
        write_text(&mut body, name);
        write_text(&mut body, value);
    }
    let (mut record, mut length) = (Vec::with_capacity(body.len() + 2), body.len());
    while length > 0x7f {
        record.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    record.push(length as u8);
    record.extend(body);
    record
}

/// Of less than 256 bytes.
fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() as u8 {
        length @ 0..32 => out.push(0xa0 | length),
        length => out.extend([0xd9, length]),
    }
    out.extend_from_slice(text.as_bytes());
}
