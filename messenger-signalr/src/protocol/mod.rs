//! The SignalR hub protocol, as bytes: what comes in is read without copying it, what goes out is encoded once.
//!
//! The format is that of `docs/specs/HubProtocol.md` in dotnet/aspnetcore.

mod argument;
#[cfg(any(test, fuzzing))]
mod from_json;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod handshake;
mod json;
mod message;
mod messagepack;
mod records;
#[cfg(test)]
mod tests;
mod tokens;
mod transcode;

use bytes::Bytes;
use serde::Serialize;

pub use argument::{Argument, ArgumentError, OwnedArgument};
pub(crate) use message::{Invocation, Message, Outcome};
pub(crate) use records::{Framing, Records};

/// How deep a record may be nested, itself included; as in ASP.NET Core.
const MAX_DEPTH: usize = 64;
/// The longest body of a binary record that a client takes.
const MAX_LENGTH: usize = 0x7FFF_FFFF;

/// The encodings a client may choose in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Text records, each ended by the byte 0x1E.
    Json,
    /// Binary records, each after its length.
    MessagePack,
}

impl Protocol {
    /// The name by which a client asks for it: `json` or `messagepack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "messagepack",
        }
    }

    /// The protocol of this name, in whatever case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// Whether its records need a transport for bytes that are no text.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::MessagePack)
    }

    /// A result, argument or item in this encoding.
    ///
    /// # Errors
    ///
    /// If the value has no form in it, such as a map whose keys are no text in JSON.
    pub fn payload<T: Serialize + ?Sized>(self, value: &T) -> Result<Payload, EncodeError> {
        let mut out = Vec::new();
        self.encode(value, &mut out)?;
        Payload::checked(out.into())
    }

    /// An invocation that wants no answer, as it goes over the wire, with one argument: the bytes may be
    /// shared by any number of connections.
    ///
    /// # Errors
    ///
    /// As for [`Self::payload`].
    pub fn invocation<T: Serialize + ?Sized>(self, target: &str, argument: &T) -> Result<Bytes, EncodeError> {
        match self {
            Self::Json => json::invocation(target, |out| self.encode(argument, out)),
            Self::MessagePack => messagepack::invocation(target, |out| self.encode(argument, out)),
        }
    }

    /// An invocation; with an id, which an empty one is not, it wants an answer.
    pub(crate) fn request(self, id: Option<&str>, target: &str, arguments: &[Payload]) -> Bytes {
        let id = id.filter(|id| !id.is_empty());
        match self {
            Self::Json => json::request(id, target, arguments),
            Self::MessagePack => messagepack::request(id, target, arguments),
        }
    }

    pub(crate) fn stream_item(self, id: &str, item: &Payload) -> Bytes {
        match self {
            Self::Json => json::stream_item(id, item),
            Self::MessagePack => messagepack::stream_item(id, item),
        }
    }

    /// The answer to an invocation, or the end of a stream.
    pub(crate) fn completion(self, id: &str, outcome: Result<&Payload, &str>) -> Bytes {
        match self {
            Self::Json => json::completion(id, outcome),
            Self::MessagePack => messagepack::completion(id, outcome),
        }
    }

    pub(crate) const fn ping(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Json => b"{\"type\":6}\x1E",
            Self::MessagePack => b"\x02\x91\x06",
        })
    }

    pub(crate) fn close(self, error: Option<&str>, allow_reconnect: bool) -> Bytes {
        let error = error.filter(|error| !error.is_empty());
        match self {
            Self::Json => json::close(error, allow_reconnect),
            Self::MessagePack => messagepack::close(error, allow_reconnect),
        }
    }

    pub(crate) fn ack(self, sequence_id: u64) -> Bytes {
        match self {
            Self::Json => json::numbered(message::ACK, sequence_id),
            Self::MessagePack => messagepack::numbered(message::ACK, sequence_id),
        }
    }

    pub(crate) fn sequence(self, sequence_id: u64) -> Bytes {
        match self {
            Self::Json => json::numbered(message::SEQUENCE, sequence_id),
            Self::MessagePack => messagepack::numbered(message::SEQUENCE, sequence_id),
        }
    }

    /// Reads a record, without its delimiter or length.
    pub(crate) fn read(self, record: &[u8]) -> Result<Message<'_>, Malformed> {
        match self {
            Self::Json => json::read(record),
            Self::MessagePack => messagepack::read(record),
        }
    }

    fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Json => serde_json::to_writer(out, value).map_err(EncodeError::new),
            Self::MessagePack => {
                // Ids and times are text in both protocols, and objects have their names.
                let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
                value.serialize(&mut serializer).map_err(EncodeError::new)
            }
        }
    }
}

/// A value encoded in one protocol; void is none at all.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Payload(Option<Bytes>);

impl Payload {
    /// What a method without a result answers with.
    pub const fn void() -> Self {
        Self(None)
    }

    /// The value of this JSON text in the encoding of the protocol.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_json(protocol: Protocol, json: Bytes) -> Result<Self, EncodeError> {
        match protocol {
            Protocol::Json => Self::checked(json),
            Protocol::MessagePack => Self::checked(from_json::to_messagepack(&json)?.into()),
        }
    }

    /// Takes a value that is encoded already, in the protocol of the client that it is for.
    ///
    /// # Errors
    /// [`EncodeError`] if it is longer than the protocols can say, 2 GiB.
    pub fn encoded(bytes: Bytes) -> Result<Self, EncodeError> {
        Self::checked(bytes)
    }

    fn checked(bytes: Bytes) -> Result<Self, EncodeError> {
        if bytes.len() > MAX_LENGTH { Err(EncodeError::new("too long")) } else { Ok(Self(Some(bytes))) }
    }

    /// The value as it is encoded; `None` for void.
    pub const fn bytes(&self) -> Option<&Bytes> {
        self.0.as_ref()
    }

    /// Where there must be a value, void stands for null.
    fn or<'p>(&'p self, null: &'p [u8]) -> &'p [u8] {
        self.0.as_deref().unwrap_or(null)
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(4, Bytes::len)
    }
}

impl std::fmt::Debug for Payload {
    /// Without the content, which is not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(bytes) => write!(f, "Payload({} bytes)", bytes.len()),
            None => f.write_str("Payload(void)"),
        }
    }
}

/// A value has no form in the encoding.
#[derive(Debug, thiserror::Error)]
#[error("the value could not be encoded")]
pub struct EncodeError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl EncodeError {
    fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// What is wrong with a record; ends the connection.
///
/// The text names no content of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the record is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the length of the record is not valid")]
    Length,
    #[error("the record is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("the record is not UTF-8")]
    Utf8,
    #[error("the record is not a JSON object")]
    Json,
    #[error("the record is not a MessagePack array")]
    MessagePack,
    #[error("the record has bytes after its end")]
    Trailing,
    #[error("a property is there twice")]
    Duplicate,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is of the wrong type")]
    WrongType(&'static str),
    #[error("`error` and `result` exclude each other")]
    ErrorAndResult,
}
