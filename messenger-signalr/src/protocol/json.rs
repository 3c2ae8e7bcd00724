use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{
    argument::Argument,
    malformed::{MAX_DEPTH, Malformed},
    message::{self, Invocation, Message, Outcome},
    payload::{EncodeError, Payload},
    records::DELIMITER,
    text::write_text,
};

/// The properties of all types of messages. Each is decoded only if the type has it: in an unknown type it may be
/// anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'r> {
    #[serde(borrow, default, rename = "type", deserialize_with = "present")]
    kind: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    invocation_id: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    target: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    arguments: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_ids: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    item: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'r RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    sequence_id: Option<&'r RawValue>,
}

pub(super) fn read(record: &[u8]) -> Result<Message<'_>, Malformed> {
    let properties: Properties<'_> = read_object(record)?;
    let kind: i64 = required("type", properties.kind)?;
    Ok(match u64::try_from(kind).unwrap_or_default() {
        message::INVOCATION => Message::Invocation(properties.invocation(false)?),
        message::STREAM_INVOCATION => Message::Invocation(properties.invocation(true)?),
        message::STREAM_ITEM => Message::StreamItem {
            id: properties.id()?,
            item: properties.item.map(Argument::of_json).ok_or(Malformed::Missing("item"))?,
        },
        message::COMPLETION => Message::Completion { id: properties.id()?, outcome: properties.outcome()? },
        message::CANCEL_INVOCATION => Message::Cancel { id: properties.id()? },
        message::PING => Message::Ping,
        message::CLOSE => Message::Close { error: text("error", properties.error)? },
        message::ACK => Message::Ack(required("sequenceId", properties.sequence_id)?),
        message::SEQUENCE => Message::Sequence(required("sequenceId", properties.sequence_id)?),
        _ => Message::Unknown,
    })
}

impl<'r> Properties<'r> {
    fn id(&self) -> Result<Cow<'r, str>, Malformed> {
        text("invocationId", self.invocation_id)?.ok_or(Malformed::Missing("invocationId"))
    }

    fn invocation(&self, streaming: bool) -> Result<Invocation<'r>, Malformed> {
        let id = text("invocationId", self.invocation_id)?.filter(|id| !id.is_empty());
        if streaming && id.is_none() {
            return Err(Malformed::Missing("invocationId"));
        }
        let arguments: Vec<&RawValue> = required("arguments", self.arguments)?;
        let stream_ids: Vec<Text<'r>> = optional("streamIds", self.stream_ids)?.unwrap_or_default();
        Ok(Invocation {
            id,
            target: text("target", self.target)?.ok_or(Malformed::Missing("target"))?,
            arguments: arguments.into_iter().map(Argument::of_json).collect(),
            stream_ids: stream_ids.into_iter().map(|Text(id)| id).collect(),
            streaming,
        })
    }

    fn outcome(&self) -> Result<Outcome<'r>, Malformed> {
        match (text("error", self.error)?, self.result) {
            (Some(_), Some(_)) => Err(Malformed::ErrorAndResult),
            (Some(error), None) => Ok(Outcome::Error(error)),
            (None, Some(result)) => Ok(Outcome::Value(Argument::of_json(result))),
            (None, None) => Ok(Outcome::Void),
        }
    }
}

/// Reads an object whose known properties are all [`present`] ones.
pub(super) fn read_object<'r, T: Deserialize<'r>>(record: &'r [u8]) -> Result<T, Malformed> {
    let text = str::from_utf8(record).map_err(|_| Malformed::Utf8)?;
    // A derived `Deserialize` would accept an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Malformed::Json);
    }
    if is_too_deep(record) {
        return Err(Malformed::TooDeep);
    }
    // Raw values accept everything, so the only possible data error is a repeated name.
    serde_json::from_str(text)
        .map_err(|error| if error.is_data() { Malformed::Duplicate } else { Malformed::Json })
}

/// A null counts as present; only a missing property does not.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// An optional property for which null means the same as missing.
fn optional<'r, T: Deserialize<'r>>(
    name: &'static str,
    property: Option<&'r RawValue>,
) -> Result<Option<T>, Malformed> {
    let Some(property) = property else { return Ok(None) };
    serde_json::from_str(property.get()).map_err(|_| Malformed::WrongType(name))
}

pub(super) fn required<'r, T: Deserialize<'r>>(
    name: &'static str,
    property: Option<&'r RawValue>,
) -> Result<T, Malformed> {
    optional(name, property)?.ok_or(Malformed::Missing(name))
}

pub(super) fn text<'r>(
    name: &'static str,
    property: Option<&'r RawValue>,
) -> Result<Option<Cow<'r, str>>, Malformed> {
    Ok(optional(name, property)?.map(|Text(text)| text))
}

/// Borrowed unless it contains escapes; a plain `Cow` would never be borrowed.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'r>(#[serde(borrow)] Cow<'r, str>);

fn is_too_deep(json: &[u8]) -> bool {
    let mut depth = 0_usize;
    outside_strings(json).any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

/// The bytes of JSON text outside its strings; of each string only the opening quote.
pub(super) fn outside_strings(json: &[u8]) -> impl Iterator<Item = u8> {
    let mut in_string = false;
    let mut is_escaped = false;
    json.iter().copied().filter(move |byte| {
        if !in_string {
            in_string = *byte == b'"';
            return true;
        }
        if is_escaped {
            is_escaped = false;
        } else if *byte == b'\\' {
            is_escaped = true;
        } else if *byte == b'"' {
            in_string = false;
        }
        false
    })
}

pub(super) fn invocation(
    target: &str,
    argument: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Bytes, EncodeError> {
    let mut out = Vec::with_capacity(640);
    begin(&mut out, message::INVOCATION, None);
    member(&mut out, "target", target);
    out.extend_from_slice(br#","arguments":["#);
    argument(&mut out)?;
    out.push(b']');
    Ok(end(out))
}

pub(super) fn request(id: Option<&str>, target: &str, arguments: &[Payload]) -> Bytes {
    let room = 80 + target.len() + arguments.iter().map(|argument| 1 + argument.len()).sum::<usize>();
    let mut out = Vec::with_capacity(room);
    begin(&mut out, message::INVOCATION, id);
    member(&mut out, "target", target);
    out.extend_from_slice(br#","arguments":["#);
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(argument.or(b"null"));
    }
    out.push(b']');
    end(out)
}

pub(super) fn stream_item(id: &str, item: &Payload) -> Bytes {
    let mut out = Vec::with_capacity(48 + id.len() + item.len());
    begin(&mut out, message::STREAM_ITEM, Some(id));
    out.extend_from_slice(br#","item":"#);
    out.extend_from_slice(item.or(b"null"));
    end(out)
}

pub(super) fn completion(id: &str, outcome: Result<&Payload, &str>) -> Bytes {
    let room = outcome.map_or_else(str::len, Payload::len);
    let mut out = Vec::with_capacity(48 + id.len() + room);
    begin(&mut out, message::COMPLETION, Some(id));
    match outcome {
        Ok(Payload(Some(result))) => {
            out.extend_from_slice(br#","result":"#);
            out.extend_from_slice(result);
        }
        Ok(Payload(None)) => {}
        Err(error) => member(&mut out, "error", error),
    }
    end(out)
}

pub(super) fn close(error: Option<&str>, allow_reconnect: bool) -> Bytes {
    let mut out = Vec::with_capacity(48 + error.map_or(0, str::len));
    begin(&mut out, message::CLOSE, None);
    if let Some(error) = error {
        member(&mut out, "error", error);
    }
    if allow_reconnect {
        out.extend_from_slice(br#","allowReconnect":true"#);
    }
    end(out)
}

pub(super) fn numbered(kind: u64, sequence_id: u64) -> Bytes {
    format!("{{\"type\":{kind},\"sequenceId\":{sequence_id}}}\x1E").into()
}

fn begin(out: &mut Vec<u8>, kind: u64, id: Option<&str>) {
    out.extend_from_slice(br#"{"type":"#);
    out.extend_from_slice(kind.to_string().as_bytes());
    if let Some(id) = id {
        member(out, "invocationId", id);
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_text(out, value);
}

fn end(mut out: Vec<u8>) -> Bytes {
    out.extend_from_slice(&[b'}', DELIMITER]);
    out.into()
}
