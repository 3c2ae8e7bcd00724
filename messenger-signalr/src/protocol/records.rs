use std::collections::VecDeque;

use bytes::Bytes;

use super::{kind::Protocol, malformed::Malformed, payload::MAX_LENGTH};

/// What ends a text record; JSON itself cannot contain it.
pub(super) const DELIMITER: u8 = 0x1E;
/// A length has seven bits in each byte.
const MAX_PREFIX: usize = 5;

/// Splits what comes in into records: a stream of bytes whose chunk borders mean nothing.
#[derive(Debug)]
pub(crate) struct Records {
    /// Of a record together with its delimiter or length.
    limit: usize,
    /// In which framing `partial` was looked at.
    framing: Framing,
    /// The start of a record whose end is not in it.
    partial: Vec<u8>,
    /// Not yet looked at. Apart from those that follow, because mostly none do.
    current: Bytes,
    later: VecDeque<Bytes>,
}

/// How one record is told from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By the byte 0x1E after each.
    Text,
    /// By the length before each.
    Binary,
}

impl From<Protocol> for Framing {
    fn from(protocol: Protocol) -> Self {
        if protocol.is_binary() { Self::Binary } else { Self::Text }
    }
}

impl Records {
    /// A record may have so many bytes, together with its delimiter or length.
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

    /// The next whole record, without its delimiter or length; `None` if there is none yet.
    ///
    /// After an error, it is the same error until [`Self::clear`].
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

    /// Throws away all that was pushed, such as half a record of a transport that was lost.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Bytes that have come and are no record yet.
    pub(crate) fn len(&self) -> usize {
        self.partial.len() + self.current.len() + self.later.iter().map(Bytes::len).sum::<usize>()
    }

    /// For how many bytes it has room.
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

    /// Copied, and not kept as it is: many small chunks would each hold on to a large buffer.
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

/// Where a record ends that begins with what was gathered.
#[derive(Clone, Copy)]
struct End {
    /// How much of the current chunk belongs to it.
    in_current: usize,
    /// How many of its bytes come before the content, and after it.
    before: usize,
    after: usize,
}

/// How long the length is, and what it says.
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

/// A binary record that is written in one go: room for the length, then the body.
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
            // Five times seven bits are more than any memory that one record has.
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
