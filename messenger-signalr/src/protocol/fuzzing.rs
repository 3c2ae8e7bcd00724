//! Invariants for arbitrary bytes from a client.

use bytes::Bytes;
use serde_json::Value;

use super::{Argument, Framing, Malformed, Message, Outcome, Payload, Protocol, Records, handshake};

/// JSON records: the input is four bytes that control the chunking, then the client's bytes.
pub fn json(input: &[u8]) {
    messages(Protocol::Json, input);
}

/// MessagePack records, with an input as for [`json`].
pub fn messagepack(input: &[u8]) {
    messages(Protocol::MessagePack, input);
}

/// A handshake and binary records after it, with an input as for [`json`].
pub fn handshake(input: &[u8]) {
    let records = records(input, [Framing::Text, Framing::Binary]);
    let Some(Ok(request)) = records.first().map(|record| handshake::read(record)) else { return };
    let refusal = handshake::refused(&request.protocol);
    let refusal: Value = parse(&only_record(Framing::Text, refusal));
    assert_eq!(refusal["error"], *request.protocol);
    let again = format!(r#"{{"version":{},"protocol":{}}}"#, request.version, refusal["error"]);
    assert_eq!(handshake::read(again.as_bytes()).as_ref(), Ok(&request));
    let _ = Protocol::named(&request.protocol);
}

fn messages(protocol: Protocol, input: &[u8]) {
    for record in records(input, [protocol.into(); 2]) {
        match protocol.read(&record) {
            Ok(message) => written_again(protocol, &message),
            Err(malformed) => assert!(!malformed.to_string().is_empty()),
        }
    }
}

/// The records of the input, which must not depend on the chunking. The first may have another framing.
fn records(input: &[u8], framings: [Framing; 2]) -> Vec<Bytes> {
    let Some((sizes, stream)) = input.split_first_chunk::<4>() else { return Vec::new() };
    let limit = if sizes[0] % 2 == 0 { 32_768 } else { usize::from(sizes[0]) };
    let (whole, error) = split(limit, [stream], framings);
    let mut rest = stream;
    let chunks = sizes.iter().cycle().map_while(|size| {
        let chunk = rest.split_off(..rest.len().min(1 + usize::from(*size)))?;
        (!chunk.is_empty()).then_some(chunk)
    });
    assert_eq!(split(limit, chunks, framings), (whole.clone(), error));
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(split(limit, bytes, framings), (whole.clone(), error));
    assert!(whole.iter().all(|record| record.len() < limit));
    whole
}

fn split<'s>(
    limit: usize,
    chunks: impl IntoIterator<Item = &'s [u8]>,
    framings: [Framing; 2],
) -> (Vec<Bytes>, Option<Malformed>) {
    let mut records = Records::new(limit);
    let mut all = Vec::new();
    for chunk in chunks {
        records.push(Bytes::copy_from_slice(chunk));
        // Several chunks may arrive before the next read.
        if chunk.len() % 3 == 0 {
            continue;
        }
        if let Err(malformed) = drain(&mut records, &mut all, framings) {
            return (all, Some(malformed));
        }
    }
    let end = drain(&mut records, &mut all, framings);
    (all, end.err())
}

fn drain(records: &mut Records, all: &mut Vec<Bytes>, framings: [Framing; 2]) -> Result<(), Malformed> {
    while let Some(record) = records.next(framings[all.len().min(1)])? {
        all.push(record);
    }
    Ok(())
}

fn only_record(framing: Framing, bytes: Bytes) -> Bytes {
    let mut records = Records::new(usize::MAX);
    records.push(bytes);
    let Ok(Some(record)) = records.next(framing) else { panic!("no whole record") };
    assert_eq!(records.next(framing), Ok(None));
    record
}

/// A message that is read, written and read again must stay the same.
fn written_again(protocol: Protocol, message: &Message<'_>) {
    let written = match message {
        Message::Invocation(invocation) => {
            let Some(arguments) = payloads(protocol, &invocation.arguments) else { return };
            protocol.request(invocation.id.as_deref(), &invocation.target, &arguments)
        }
        Message::StreamItem { id, item } => {
            let Some(item) = payload(protocol, item) else { return };
            protocol.stream_item(id, &item)
        }
        Message::Completion { id, outcome } => match outcome {
            Outcome::Void => protocol.completion(id, Ok(&Payload::void())),
            Outcome::Error(error) => protocol.completion(id, Err(error)),
            Outcome::Value(value) => {
                let Some(value) = payload(protocol, value) else { return };
                protocol.completion(id, Ok(&value))
            }
        },
        Message::Close { error } => protocol.close(error.as_deref(), true),
        Message::Ack(sequence_id) => protocol.ack(*sequence_id),
        Message::Sequence(sequence_id) => protocol.sequence(*sequence_id),
        Message::Ping => protocol.ping(),
        Message::Cancel { .. } | Message::Unknown => return,
    };
    let record = only_record(protocol.into(), written);
    let Ok(read) = protocol.read(&record) else { panic!("not read again: {message:?}") };
    assert!(is_same(message, &read), "{message:?} became {read:?}");
}

fn payloads(protocol: Protocol, arguments: &[Argument<'_>]) -> Option<Vec<Payload>> {
    arguments.iter().map(|argument| payload(protocol, argument)).collect()
}

/// Converts the argument through both encodings; `None` if one of them can't represent it.
fn payload(protocol: Protocol, argument: &Argument<'_>) -> Option<Payload> {
    let json = argument.json().ok()?;
    let is_owned_the_same = argument.clone().into_owned().json().is_ok_and(|owned| owned == json);
    assert!(is_owned_the_same);
    let packed = Payload::of_json(Protocol::MessagePack, Bytes::copy_from_slice(&json));
    // JSON that was read may still contain a lone surrogate, or a number out of range.
    assert!(packed.is_ok() || protocol == Protocol::Json);
    let packed = packed.ok()?;
    let Ok(unpacked) = Argument::of_messagepack(packed.or(b"")).json() else { panic!("not unpacked") };
    assert!(is_alike(&parse(&json), &parse(&unpacked)));
    let Ok(payload) = Payload::of_json(protocol, json.into_owned().into()) else { panic!("no payload") };
    Some(payload)
}

fn is_same(one: &Message<'_>, other: &Message<'_>) -> bool {
    match (one, other) {
        (Message::Invocation(one), Message::Invocation(other)) => {
            one.id == other.id
                && one.target == other.target
                && one.arguments.len() == other.arguments.len()
                && one.arguments.iter().zip(&other.arguments).all(|(one, other)| is_same_value(one, other))
        }
        (Message::StreamItem { id, item }, Message::StreamItem { id: other_id, item: other }) => {
            id == other_id && is_same_value(item, other)
        }
        (Message::Completion { id, outcome }, Message::Completion { id: other_id, outcome: other }) => {
            id == other_id
                && match (outcome, other) {
                    (Outcome::Void, Outcome::Void) => true,
                    (Outcome::Value(one), Outcome::Value(other)) => is_same_value(one, other),
                    (Outcome::Error(one), Outcome::Error(other)) => one == other,
                    _ => false,
                }
        }
        (Message::Close { error }, Message::Close { error: other }) => {
            error.as_deref().unwrap_or_default() == other.as_deref().unwrap_or_default()
        }
        (Message::Ack(one), Message::Ack(other)) => one == other,
        (Message::Sequence(one), Message::Sequence(other)) => one == other,
        (Message::Ping, Message::Ping) => true,
        _ => false,
    }
}

fn is_same_value(one: &Argument<'_>, other: &Argument<'_>) -> bool {
    match (one.json(), other.json()) {
        (Ok(one), Ok(other)) => is_alike(&parse(&one), &parse(&other)),
        _ => false,
    }
}

fn parse(json: &[u8]) -> Value {
    match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => panic!("no JSON: {error}"),
    }
}

/// Floating-point numbers may differ by one unit in the last place.
fn is_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && is_alike(one.1, other.1))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or_default(), other.as_f64().unwrap_or_default());
            one == other || (one - other).abs() <= 4.0 * f64::EPSILON * one.abs().max(other.abs())
        }
        _ => one == other,
    }
}
