//! The SignalR hub protocol in bytes: input is read without copying, output is encoded once.
//!
//! The format is that of `docs/specs/HubProtocol.md` in dotnet/aspnetcore.

mod argument;
mod argument_error;
#[cfg(any(test, fuzzing))]
mod from_json;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod handshake;
mod json;
mod kind;
mod malformed;
mod message;
mod messagepack;
mod payload;
mod records;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod transcode;

use bytes::Bytes;
use serde::Serialize;

pub use argument::{Argument, OwnedArgument};
pub use argument_error::ArgumentError;
pub use kind::Protocol;
pub(crate) use malformed::Malformed;
pub(crate) use message::{Invocation, Message, Outcome};
pub use payload::{EncodeError, Payload};
pub(crate) use records::{Framing, Records};

impl Protocol {
    /// Encodes a result, argument or item.
    ///
    /// # Errors
    ///
    /// If the value can't be represented, such as a map whose keys are not text in JSON.
    pub fn payload<T: Serialize + ?Sized>(self, value: &T) -> Result<Payload, EncodeError> {
        let mut out = Vec::new();
        self.encode(value, &mut out)?;
        Payload::checked(out.into())
    }

    /// Encodes an invocation without an answer, with one argument: the bytes may be shared by any number of
    /// connections.
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

    /// Encodes an invocation; with an id, which must not be empty, it requests an answer.
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

    /// Encodes the answer to an invocation, or the end of a stream.
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
                // Ids and times are text in both protocols, and objects keep the names of their fields.
                let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
                value.serialize(&mut serializer).map_err(EncodeError::new)
            }
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Payload {
    /// Converts JSON text to the encoding of the protocol.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_json(protocol: Protocol, json: Bytes) -> Result<Self, EncodeError> {
        match protocol {
            Protocol::Json => Self::checked(json),
            Protocol::MessagePack => Self::checked(from_json::to_messagepack(&json)?.into()),
        }
    }
}
