//! JSON-RPC 2.0 (jsonrpc.org/specification), encoded and decoded.

use bytes::Bytes;
use messenger_core::{
    Error, Event,
    hub::{Delivery, FrameEncoder},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Problem;
use messenger_socket::Message;

/// Encodes events as notifications.
static EVENTS: FrameEncoder = FrameEncoder::new(encode);

/// A received request.
#[derive(Debug)]
pub(super) struct Request<'f> {
    /// Absent for a notification, which is not answered.
    pub(super) id: Option<Id>,
    pub(super) method: std::borrow::Cow<'f, str>,
    pub(super) params: Option<&'f RawValue>,
}

/// The client's id of its request: a string, a number or null, as it was written.
#[derive(Debug, Clone)]
pub(super) struct Id(Box<RawValue>);

impl Id {
    pub(super) fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

/// A fault of the protocol, not of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Parse,
    InvalidRequest,
    NoSuchMethod,
}

impl Fault {
    const fn code(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::NoSuchMethod => -32601,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Parse => "The frame is not JSON.",
            Self::InvalidRequest => "The frame is no JSON-RPC 2.0 request.",
            Self::NoSuchMethod => "There is no such method.",
        }
    }
}

const INVALID_PARAMS: i32 = -32602;
const REFUSED: i32 = -32000;

/// The content of a frame: one request, or a batch of them, each of which may be invalid.
#[derive(Debug)]
pub(super) enum Frame<'f> {
    One(Result<Request<'f>, Fault>),
    Batch(Vec<Result<Request<'f>, Fault>>),
}

/// Reads a frame.
pub(super) fn read(text: &str) -> Frame<'_> {
    if text.trim_start().starts_with('[') {
        return match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(requests) if requests.is_empty() => Frame::One(Err(Fault::InvalidRequest)),
            Ok(requests) => {
                Frame::Batch(requests.into_iter().map(|request| read_one(request.get())).collect())
            }
            Err(_) => Frame::One(Err(Fault::Parse)),
        };
    }
    Frame::One(read_one(text))
}

fn read_one(text: &str) -> Result<Request<'_>, Fault> {
    #[derive(Deserialize)]
    struct Envelope<'f> {
        #[serde(borrow)]
        jsonrpc: std::borrow::Cow<'f, str>,
        #[serde(borrow, default, deserialize_with = "present")]
        id: Option<&'f RawValue>,
        #[serde(borrow)]
        method: std::borrow::Cow<'f, str>,
        #[serde(borrow, default)]
        params: Option<&'f RawValue>,
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        // A type error may precede a syntax error.
        let is_json = error.is_data() && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if is_json { Fault::InvalidRequest } else { Fault::Parse }
    })?;
    let fits =
        envelope.jsonrpc == "2.0" && envelope.id.is_none_or(|id| !id.get().starts_with(['{', '[', 't', 'f']));
    if !fits {
        return Err(Fault::InvalidRequest);
    }
    let id = envelope.id.map(|id| Id(id.to_owned()));
    Ok(Request { id, method: envelope.method, params: envelope.params })
}

/// A null id is an id; only an absent one makes a notification.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The answer to a successful request; `result` is JSON.
pub(super) fn answer(id: &Id, result: &[u8]) -> Vec<u8> {
    let id = id.0.get().as_bytes();
    let mut frame = Vec::with_capacity(40 + id.len() + result.len());
    frame.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    frame.extend_from_slice(id);
    frame.extend_from_slice(br#","result":"#);
    frame.extend_from_slice(result);
    frame.push(b'}');
    frame
}

/// The answer to an invalid request.
pub(super) fn fault(id: &Id, fault: Fault) -> Vec<u8> {
    write_error(id, fault.code(), fault.text(), None)
}

/// The answer to a request that was refused.
pub(super) fn refusal(id: &Id, error: &Error) -> Vec<u8> {
    let problem = Problem::report(error);
    let code = if matches!(error, Error::Malformed(_)) { INVALID_PARAMS } else { REFUSED };
    write_error(id, code, problem.code(), Some(&problem))
}

fn write_error(id: &Id, code: i32, message: &str, data: Option<&Problem>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'static str,
        id: &'a RawValue,
        error: Body<'a>,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        code: i32,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a Problem>,
    }
    let error = Body { code, message, data };
    // Strings and numbers always serialise.
    serde_json::to_vec(&Answer { jsonrpc: "2.0", id: &id.0, error }).unwrap_or_default()
}

/// The answers to a batch, in one frame.
pub(super) fn batch(answers: &[Bytes]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(answers.iter().map(|answer| 1 + answer.len()).sum::<usize>() + 1);
    frame.push(b'[');
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            frame.push(b',');
        }
        frame.extend_from_slice(answer);
    }
    frame.push(b']');
    frame
}

/// An event as a notification; encoded once for all sockets.
pub(super) fn event(delivery: &Delivery) -> Bytes {
    delivery.frame(&EVENTS)
}

fn encode(event: &Event) -> Bytes {
    let mut frame = Vec::with_capacity(640);
    frame.extend_from_slice(br#"{"jsonrpc":"2.0","method":""#);
    frame.extend_from_slice(event.name().as_bytes());
    frame.extend_from_slice(br#"","params":"#);
    // Domain types always serialise.
    if serde_json::to_writer(&mut frame, &event.payload()).is_err() {
        tracing::error!(event = event.name(), "an event could not be encoded");
    }
    frame.push(b'}');
    frame.into()
}

/// A text message of bytes that this module wrote.
pub(super) fn text(bytes: impl Into<Bytes>) -> Message {
    // `serde_json` writes UTF-8, and the rest is copied from text frames.
    Message::Text(bytes.into())
}
