mod any;
mod handshake;
mod json;
mod messagepack;
mod records;
mod transcode;
mod values;

use super::*;

const LIMIT: usize = 32_768;
const BOTH: [Protocol; 2] = [Protocol::Json, Protocol::MessagePack];

/// A message as text, with its arguments as JSON.
fn told(message: &Message<'_>) -> String {
    let json = |argument: &Argument<'_>| String::from_utf8(argument.json().unwrap().into()).unwrap();
    match message {
        Message::Invocation(invocation) => format!(
            "{} {:?} {}({}) {:?}",
            if invocation.streaming { "stream" } else { "invoke" },
            invocation.id.as_deref().unwrap_or_default(),
            invocation.target,
            invocation.arguments.iter().map(json).collect::<Vec<_>>().join(", "),
            invocation.stream_ids,
        ),
        Message::StreamItem { id, item } => format!("item {id:?} {}", json(item)),
        Message::Completion { id, outcome } => match outcome {
            Outcome::Void => format!("completion {id:?} void"),
            Outcome::Value(value) => format!("completion {id:?} value {}", json(value)),
            Outcome::Error(error) => format!("completion {id:?} error {error:?}"),
        },
        Message::Cancel { id } => format!("cancel {id:?}"),
        Message::Ping => "ping".into(),
        Message::Close { error } => format!("close {error:?}"),
        Message::Ack(sequence_id) => format!("ack {sequence_id}"),
        Message::Sequence(sequence_id) => format!("sequence {sequence_id}"),
        Message::Unknown => "unknown".into(),
    }
}

fn split(framing: Framing, limit: usize, chunks: &[&[u8]]) -> Result<Vec<Bytes>, Malformed> {
    let mut records = Records::new(limit);
    let mut all = Vec::new();
    for chunk in chunks {
        records.push(Bytes::copy_from_slice(chunk));
        while let Some(record) = records.next(framing)? {
            all.push(record);
        }
    }
    Ok(all)
}

fn only_record(protocol: Protocol, bytes: &[u8]) -> Bytes {
    let [record] = split(protocol.into(), LIMIT, &[bytes]).unwrap().try_into().unwrap();
    record
}

fn read_whole(protocol: Protocol, bytes: &[u8]) -> String {
    told(&protocol.read(&only_record(protocol, bytes)).unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn payload(protocol: Protocol, value: impl Serialize) -> Payload {
    protocol.payload(&value).unwrap()
}

fn packed(json: &str) -> Vec<u8> {
    crate::protocol::from_json::to_messagepack(json.as_bytes()).unwrap()
}

fn unpacked(value: &[u8]) -> Result<String, ArgumentError> {
    super::transcode::to_json(value).map(|json| String::from_utf8(json).unwrap())
}
