use std::collections::VecDeque;

use bytes::Bytes;

use super::{kind::Protocol, malformed::Malformed, payload::MAX_LENGTH};

/// The delimiter of text records; JSON itself can't contain it.
pub(super) const DELIMITER: u8 = 0x1E;
/// A length prefix has at most five bytes, with seven bits in each.
const MAX_PREFIX: usize = 5;

/// Splits a stream of bytes, whose chunk boundaries have no meaning, into records.
#[derive(Debug)]
pub(crate) struct Records {
    /// The maximum length of a record together with its delimiter or length prefix.
    limit: usize,
    /// The framing with which `partial` was scanned.
    framing: Framing,
    /// The beginning of an incomplete record.
    partial: Vec<u8>,
    /// The chunk not yet scanned. Separate from later chunks, because there usually are none.
    current: Bytes,
    later: VecDeque<Bytes>,
}

/// How records are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By the byte 0x1E after each record.
    Text,
    /// By a length before each record.
    Binary,
}

impl From<Protocol> for Framing {
    fn from(protocol: Protocol) -> Self {
        if protocol.is_binary() { Self::Binary } else { Self::Text }
    }
}

impl Records {
    /// A record may have up to `limit` bytes, together with its delimiter or length prefix.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            framing: Framing::Text,
            partial: Vec::new(),
            current: Bytes::new(),
            later: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.current.is_empty() {
            self.current = chunk;
        } else if !chunk.is_empty() {
            self.later.push_back(chunk);
        }
    }

    /// The next complete record, without its delimiter or length; `None` if there is none yet.
    ///
    /// After an error, the same error is returned until [`Self::clear`].
    pub(crate) fn next(&mut self, framing: Framing) -> Result<Option<Bytes>, Malformed> {
        self.look_again_if_changed(framing);
        while !self.current.is_empty() {
            let end = match framing {
                Framing::Text => self.text_end()?,
                Framing::Binary => self.binary_end()?,
            };
            match end {
                Some(end) => return Ok(Some(self.take(end))),
                None => self.gather(),
            }
        }
        Ok(None)
    }

    /// Discards everything that was pushed, such as a partial record of a transport that was lost.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The number of bytes that were received and are no complete record yet.
    pub(crate) fn len(&self) -> usize {
        self.partial.len() + self.current.len() + self.later.iter().map(Bytes::len).sum::<usize>()
    }

    /// The capacity in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.capacity() + self.current.len() + self.later.capacity()
    }

    fn look_again_if_changed(&mut self, framing: Framing) {
        if self.framing != framing && !self.partial.is_empty() {
            let rest = std::mem::replace(&mut self.current, std::mem::take(&mut self.partial).into());
            if !rest.is_empty() {
                self.later.push_front(rest);
            }
        }
        self.framing = framing;
    }

    fn text_end(&self) -> Result<Option<End>, Malformed> {
        let room = self.limit.saturating_sub(self.partial.len());
        let window = &self.current[..room.min(self.current.len())];
        match window.iter().position(|byte| *byte == DELIMITER) {
            Some(at) => Ok(Some(End { in_current: at + 1, before: 0, after: 1 })),
            None if window.len() == room => Err(Malformed::TooLarge { limit: self.limit }),
            None => Ok(None),
        }
    }

    fn binary_end(&self) -> Result<Option<End>, Malformed> {
        let Some((prefix, body)) = read_length(self.partial.iter().chain(&self.current).copied())? else {
            return Ok(None);
        };
        if prefix + body > self.limit {
            return Err(Malformed::TooLarge { limit: self.limit });
        }
        let in_current = (prefix + body).saturating_sub(self.partial.len());
        let is_here = in_current <= self.current.len();
        Ok(is_here.then_some(End { in_current, before: prefix, after: 0 }))
    }

    fn take(&mut self, end: End) -> Bytes {
        let mut record = self.current.split_to(end.in_current);
        if !self.partial.is_empty() {
            let mut gathered = std::mem::take(&mut self.partial);
            gathered.extend_from_slice(&record);
            record = gathered.into();
        }
        self.advance_if_done();
        record.slice(end.before..record.len() - end.after)
    }

    /// Copies the chunk, because many small chunks would each keep a large buffer alive.
    fn gather(&mut self) {
        self.partial.extend_from_slice(&self.current);
        self.current.clear();
        self.advance_if_done();
    }

    fn advance_if_done(&mut self) {
        if self.current.is_empty() {
            self.current = self.later.pop_front().unwrap_or_default();
            if self.later.is_empty() {
                self.later = VecDeque::new();
            }
        }
    }
}

/// The end of a record that begins with the gathered bytes.
#[derive(Clone, Copy)]
struct End {
    /// How much of the current chunk belongs to it.
    in_current: usize,
    /// How many of its bytes come before and after the content.
    before: usize,
    after: usize,
}

/// Reads the length prefix: its own size, and the length.
fn read_length(bytes: impl Iterator<Item = u8>) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (index, byte) in bytes.take(MAX_PREFIX).enumerate() {
        length |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let length = usize::try_from(length).map_err(|_| Malformed::Length)?;
            return if length > MAX_LENGTH { Err(Malformed::Length) } else { Ok(Some((index + 1, length))) };
        }
        if index + 1 == MAX_PREFIX {
            return Err(Malformed::Length);
        }
    }
    Ok(None)
}

/// A binary record that is written in one go: space for the length, then the body.
pub(super) struct Binary {
    pub(super) out: Vec<u8>,
}

impl Binary {
    pub(super) fn with_capacity(body: usize) -> Self {
        let mut out = Vec::with_capacity(MAX_PREFIX + body);
        out.resize(MAX_PREFIX, 0);
        Self { out }
    }

    pub(super) fn into_bytes(mut self) -> Bytes {
        let mut length = self.out.len() - MAX_PREFIX;
        let mut prefix = [0; MAX_PREFIX];
        let mut len = 0;
        loop {
            // Five groups of seven bits exceed the memory of any record.
            prefix[len] = (length & 0x7F) as u8;
            length >>= 7;
            if length == 0 || len + 1 == MAX_PREFIX {
                break;
            }
            prefix[len] |= 0x80;
            len += 1;
        }
        let start = MAX_PREFIX - 1 - len;
        self.out[start..MAX_PREFIX].copy_from_slice(&prefix[..=len]);
        Bytes::from(self.out).slice(start..)
    }
}
