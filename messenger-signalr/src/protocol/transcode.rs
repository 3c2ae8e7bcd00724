//! Converts MessagePack to JSON, without building a tree of the value.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::{
    argument_error::ArgumentError,
    malformed::MAX_DEPTH,
    text::write_text,
    tokens::{Token, Tokens},
};

/// The extension type of timestamps.
const TIMESTAMP: i8 = -1;

/// The JSON text of one MessagePack value.
pub(super) fn to_json(value: &[u8]) -> Result<Vec<u8>, ArgumentError> {
    let mut tokens = Tokens::new(value);
    let mut out = Vec::with_capacity(value.len() + value.len() / 2);
    let mut open: Vec<Open> = Vec::new();
    let mut is_key = false;
    loop {
        let token = tokens.next()?;
        if is_key && !matches!(token, Token::Text(_)) {
            return Err(ArgumentError::Key);
        }
        if let Some(inner) = Open::by(token) {
            if open.len() == MAX_DEPTH {
                return Err(ArgumentError::MessagePack);
            }
            out.push(if inner.is_map { b'{' } else { b'[' });
            open.push(inner);
        } else {
            write_scalar(&mut out, token)?;
        }
        while let Some(done) = open.pop_if(|open| open.left == 0) {
            out.push(if done.is_map { b'}' } else { b']' });
        }
        match open.last_mut() {
            Some(open) => is_key = open.go_on(&mut out),
            None if tokens.is_empty() => return Ok(out),
            None => return Err(ArgumentError::MessagePack),
        }
    }
}

/// An array or map whose end was not reached.
struct Open {
    is_map: bool,
    is_empty: bool,
    /// The number of remaining values; a key counts as one.
    left: u64,
}

impl Open {
    fn by(token: Token<'_>) -> Option<Self> {
        match token {
            Token::Array(len) => Some(Self { is_map: false, is_empty: true, left: len.into() }),
            Token::Map(len) => Some(Self { is_map: true, is_empty: true, left: 2 * u64::from(len) }),
            _ => None,
        }
    }

    /// Writes the separator before the next value; returns whether that is a key.
    fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        let is_value_of_map = self.is_map && self.left % 2 == 1;
        if is_value_of_map {
            out.push(b':');
        } else if !self.is_empty {
            out.push(b',');
        }
        self.is_empty = false;
        self.left -= 1;
        self.is_map && !is_value_of_map
    }
}

fn write_scalar(out: &mut Vec<u8>, token: Token<'_>) -> Result<(), ArgumentError> {
    match token {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(true) => out.extend_from_slice(b"true"),
        Token::Bool(false) => out.extend_from_slice(b"false"),
        Token::Unsigned(number) => write_number(out, number),
        Token::Negative(number) => write_number(out, number),
        Token::F32(number) if number.is_finite() => write_number(out, number),
        Token::F64(number) if number.is_finite() => write_number(out, number),
        Token::F32(_) | Token::F64(_) => return Err(ArgumentError::NotFinite),
        Token::Text(text) => write_text(out, text),
        // Base64 needs no escaping.
        Token::Binary(bytes) => write_text(out, &STANDARD.encode(bytes)),
        Token::Extension(TIMESTAMP, bytes) => {
            write_text(out, &timestamp(bytes).ok_or(ArgumentError::Extension)?);
        }
        Token::Extension(..) | Token::Array(_) | Token::Map(_) => return Err(ArgumentError::Extension),
    }
    Ok(())
}

fn write_number(out: &mut Vec<u8>, number: impl serde::Serialize) {
    // Finite numbers always serialise, and writing to memory never fails.
    let _ = serde_json::to_writer(out, &number);
}

/// The three forms of github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type.
fn timestamp(bytes: &[u8]) -> Option<String> {
    let (seconds, nanoseconds) = if let Ok(seconds) = <[u8; 4]>::try_from(bytes) {
        (u32::from_be_bytes(seconds).into(), 0)
    } else if let Ok(both) = <[u8; 8]>::try_from(bytes) {
        let both = u64::from_be_bytes(both);
        (i64::try_from(both & 0x3_FFFF_FFFF).ok()?, u32::try_from(both >> 34).ok()?)
    } else {
        let (nanoseconds, seconds) = bytes.split_first_chunk::<4>()?;
        (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
    };
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?.replace_nanosecond(nanoseconds).ok()?;
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    if !(0..=9999).contains(&time.year()) {
        return None;
    }
    time.to_offset(UtcOffset::UTC).format(&format).ok()
}
