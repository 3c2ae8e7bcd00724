use std::borrow::Cow;

use bytes::Bytes;
use rmp::encode;

use super::{
    argument::Argument,
    malformed::Malformed,
    message::{self, Invocation, Message, Outcome},
    payload::{EncodeError, Payload},
    records::Binary,
    tokens::{Broken, Token, Tokens},
};

const NIL: &[u8] = &[0xC0];
const NO_HEADERS: u8 = 0x80;

const IS_ERROR: u64 = 1;
const IS_VOID: u64 = 2;
const IS_VALUE: u64 = 3;

impl From<Broken> for Malformed {
    fn from(Broken: Broken) -> Self {
        Self::MessagePack
    }
}

pub(super) fn read(record: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut items = Items::of(record)?;
    let message = match items.next("type")? {
        Token::Unsigned(kind) => items.message(kind)?,
        Token::Negative(_) => Message::Unknown,
        _ => return Err(Malformed::WrongType("type")),
    };
    items.finish()?;
    Ok(message)
}

/// The items of the array that forms a message.
struct Items<'r> {
    tokens: Tokens<'r>,
    left: u32,
}

impl<'r> Items<'r> {
    fn of(record: &'r [u8]) -> Result<Self, Malformed> {
        let mut tokens = Tokens::new(record);
        match tokens.next()? {
            Token::Array(left) => Ok(Self { tokens, left }),
            _ => Err(Malformed::MessagePack),
        }
    }

    fn message(&mut self, kind: u64) -> Result<Message<'r>, Malformed> {
        Ok(match kind {
            message::INVOCATION => Message::Invocation(self.invocation(false)?),
            message::STREAM_INVOCATION => Message::Invocation(self.invocation(true)?),
            message::STREAM_ITEM => Message::StreamItem { id: self.id()?, item: self.value("item")? },
            message::COMPLETION => Message::Completion { id: self.id()?, outcome: self.outcome()? },
            message::CANCEL_INVOCATION => Message::Cancel { id: self.id()? },
            message::PING => Message::Ping,
            message::CLOSE if self.left == 0 => Message::Close { error: None },
            message::CLOSE => Message::Close { error: self.text_or_nil("error")? },
            message::ACK => Message::Ack(self.unsigned("sequenceId")?),
            message::SEQUENCE => Message::Sequence(self.unsigned("sequenceId")?),
            _ => Message::Unknown,
        })
    }

    fn invocation(&mut self, streaming: bool) -> Result<Invocation<'r>, Malformed> {
        self.headers()?;
        let id = self.text_or_nil("invocationId")?.filter(|id| !id.is_empty());
        if streaming && id.is_none() {
            return Err(Malformed::Missing("invocationId"));
        }
        let target = self.text("target")?;
        let arguments = self.arguments()?;
        // Clients leave them out if there are none.
        let stream_ids = if self.left == 0 { Vec::new() } else { self.stream_ids()? };
        Ok(Invocation { id, target, arguments, stream_ids, streaming })
    }

    fn outcome(&mut self) -> Result<Outcome<'r>, Malformed> {
        match self.unsigned("resultKind")? {
            IS_ERROR => Ok(Outcome::Error(self.text("error")?)),
            IS_VOID => Ok(Outcome::Void),
            IS_VALUE => Ok(Outcome::Value(self.value("result")?)),
            _ => Err(Malformed::WrongType("resultKind")),
        }
    }

    /// The id, after the headers, of a message that must have one.
    fn id(&mut self) -> Result<Cow<'r, str>, Malformed> {
        self.headers()?;
        self.text("invocationId")
    }

    fn headers(&mut self) -> Result<(), Malformed> {
        let before = self.tokens.clone();
        match self.next("headers")? {
            Token::Nil => Ok(()),
            Token::Map(_) => {
                self.tokens = before;
                self.tokens.skip(1).map(drop)
            }
            _ => Err(Malformed::WrongType("headers")),
        }
    }

    /// Allocates for the arguments present, and not by the length that the array declares.
    fn arguments(&mut self) -> Result<Vec<Argument<'r>>, Malformed> {
        let Token::Array(len) = self.next("arguments")? else {
            return Err(Malformed::WrongType("arguments"));
        };
        let mut arguments = Vec::new();
        for _ in 0..len {
            arguments.push(Argument::of_messagepack(self.tokens.skip(2)?));
        }
        Ok(arguments)
    }

    fn stream_ids(&mut self) -> Result<Vec<Cow<'r, str>>, Malformed> {
        let len = match self.next("streamIds")? {
            Token::Nil => 0,
            Token::Array(len) => len,
            _ => return Err(Malformed::WrongType("streamIds")),
        };
        let mut ids = Vec::new();
        for _ in 0..len {
            let Token::Text(id) = self.tokens.next()? else { return Err(Malformed::WrongType("streamIds")) };
            ids.push(Cow::Borrowed(id));
        }
        Ok(ids)
    }

    fn value(&mut self, name: &'static str) -> Result<Argument<'r>, Malformed> {
        self.count(name)?;
        self.tokens.skip(1).map(Argument::of_messagepack)
    }

    fn text(&mut self, name: &'static str) -> Result<Cow<'r, str>, Malformed> {
        self.text_or_nil(name)?.ok_or(Malformed::WrongType(name))
    }

    fn text_or_nil(&mut self, name: &'static str) -> Result<Option<Cow<'r, str>>, Malformed> {
        match self.next(name)? {
            Token::Nil => Ok(None),
            Token::Text(text) => Ok(Some(Cow::Borrowed(text))),
            _ => Err(Malformed::WrongType(name)),
        }
    }

    fn unsigned(&mut self, name: &'static str) -> Result<u64, Malformed> {
        match self.next(name)? {
            Token::Unsigned(number) => Ok(number),
            _ => Err(Malformed::WrongType(name)),
        }
    }

    fn next(&mut self, name: &'static str) -> Result<Token<'r>, Malformed> {
        self.count(name)?;
        Ok(self.tokens.next()?)
    }

    fn count(&mut self, name: &'static str) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed::Missing(name))?;
        Ok(())
    }

    /// Skips items that a later version of the protocol added; nothing may follow them.
    fn finish(mut self) -> Result<(), Malformed> {
        for _ in 0..self.left {
            self.tokens.skip(1)?;
        }
        if self.tokens.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

pub(super) fn invocation(
    target: &str,
    argument: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Bytes, EncodeError> {
    let mut record = Binary::with_capacity(640);
    begin_invocation(&mut record.out, None, target, 1);
    argument(&mut record.out)?;
    write_array(&mut record.out, 0);
    Ok(record.into_bytes())
}

pub(super) fn request(id: Option<&str>, target: &str, arguments: &[Payload]) -> Bytes {
    let room = 24 + id.map_or(0, str::len) + target.len();
    let mut record = Binary::with_capacity(room + arguments.iter().map(Payload::len).sum::<usize>());
    begin_invocation(&mut record.out, id, target, arguments.len());
    for argument in arguments {
        record.out.extend_from_slice(argument.or(NIL));
    }
    write_array(&mut record.out, 0);
    record.into_bytes()
}

pub(super) fn stream_item(id: &str, item: &Payload) -> Bytes {
    let mut record = Binary::with_capacity(16 + id.len() + item.len());
    begin(&mut record.out, 4, message::STREAM_ITEM, Some(id));
    record.out.extend_from_slice(item.or(NIL));
    record.into_bytes()
}

pub(super) fn completion(id: &str, outcome: Result<&Payload, &str>) -> Bytes {
    let room = outcome.map_or_else(str::len, Payload::len);
    let mut record = Binary::with_capacity(16 + id.len() + room);
    let out = &mut record.out;
    let (items, kind) = match outcome {
        Err(_) => (5, IS_ERROR),
        Ok(Payload(None)) => (4, IS_VOID),
        Ok(Payload(Some(_))) => (5, IS_VALUE),
    };
    begin(out, items, message::COMPLETION, Some(id));
    write_number(out, kind);
    match outcome {
        Err(error) => write_text(out, error),
        Ok(Payload(None)) => {}
        Ok(Payload(Some(result))) => out.extend_from_slice(result),
    }
    record.into_bytes()
}

/// All three items, as ASP.NET Core sends them: clients may rely on it.
pub(super) fn close(error: Option<&str>, allow_reconnect: bool) -> Bytes {
    let mut record = Binary::with_capacity(8 + error.map_or(0, str::len));
    let out = &mut record.out;
    write_array(out, 3);
    write_number(out, message::CLOSE);
    write_text_or_nil(out, error);
    out.push(if allow_reconnect { 0xC3 } else { 0xC2 });
    record.into_bytes()
}

pub(super) fn numbered(kind: u64, sequence_id: u64) -> Bytes {
    let mut record = Binary::with_capacity(16);
    write_array(&mut record.out, 2);
    write_number(&mut record.out, kind);
    write_number(&mut record.out, sequence_id);
    record.into_bytes()
}

/// Always includes the item for stream ids, without which some clients fail.
fn begin_invocation(out: &mut Vec<u8>, id: Option<&str>, target: &str, arguments: usize) {
    begin(out, 6, message::INVOCATION, id);
    write_text(out, target);
    write_array(out, arguments);
}

fn begin(out: &mut Vec<u8>, items: usize, kind: u64, id: Option<&str>) {
    write_array(out, items);
    write_number(out, kind);
    out.push(NO_HEADERS);
    write_text_or_nil(out, id);
}

// Writing to memory never fails.

fn write_array(out: &mut Vec<u8>, len: usize) {
    let _ = encode::write_array_len(out, u32::try_from(len).unwrap_or(u32::MAX));
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    let _ = encode::write_uint(out, number);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let _ = encode::write_str(out, text);
}

fn write_text_or_nil(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_text(out, text),
        None => out.extend_from_slice(NIL),
    }
}
