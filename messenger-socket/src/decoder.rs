//! Decodes frames from a client (RFC 6455, section 5).

use bytes::{Buf as _, Bytes, BytesMut};

use crate::message::{Message, SocketError};

/// The longest payload of a control frame.
const LONGEST_CONTROL: usize = 125;
/// The length of the code in the payload of a closing frame.
const CLOSE_CODE: usize = 2;

/// Frame types, from the first byte of a frame.
mod opcode {
    pub(super) const CONTINUATION: u8 = 0x0;
    pub(super) const BINARY: u8 = 0x2;
    pub(super) const CLOSE: u8 = 0x8;
    pub(super) const PING: u8 = 0x9;
    pub(super) const PONG: u8 = 0xA;
}

/// Decodes bytes into messages. Uses memory only for incomplete data.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The maximum number of bytes of a message.
    limit: usize,
    received: BytesMut,
    /// The head of a frame whose payload is incomplete.
    head: Option<Head>,
    /// A message whose last frame has not been received.
    begun: Option<Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    opcode: u8,
    is_last: bool,
    mask: [u8; 4],
    length: usize,
}

#[derive(Debug)]
struct Begun {
    opcode: u8,
    payload: BytesMut,
}

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, received: BytesMut::new(), head: None, begun: None }
    }

    /// Appends received bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The buffer into which the rest of a long frame can be read directly, and how many bytes of it are missing.
    /// `None` before the head of the frame is known.
    pub(super) fn missing(&mut self) -> Option<(&mut BytesMut, usize)> {
        let missing = self.head?.length.saturating_sub(self.received.len());
        (missing > 0).then_some((&mut self.received, missing))
    }

    /// Counts the memory that an incomplete message takes, in bytes.
    pub(super) fn held(&self) -> usize {
        self.received.capacity() + self.begun.as_ref().map_or(0, |begun| begun.payload.capacity())
    }

    /// Takes the next complete message.
    pub(super) fn next(&mut self) -> Result<Option<Message>, SocketError> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => match self.read_head()? {
                    Some(head) => *self.head.insert(head),
                    None => return Ok(None),
                },
            };
            if self.received.len() < head.length {
                return Ok(None);
            }
            self.head = None;
            let mut payload = self.received.split_to(head.length);
            if self.received.is_empty() {
                // Otherwise it would keep the memory of the longest frame.
                self.received = BytesMut::new();
            }
            unmask(&mut payload, head.mask);
            if let Some(message) = self.take(head, payload)? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads the head of a frame, once it is complete.
    fn read_head(&mut self) -> Result<Option<Head>, SocketError> {
        let [first, second, ..] = self.received[..] else { return Ok(None) };
        let (opcode, is_last) = (first & 0x0F, first & 0x80 != 0);
        let (is_control, is_masked) = (opcode & 0x8 != 0, second & 0x80 != 0);
        // No extension was negotiated, and clients must mask.
        if first & 0x70 != 0 || !is_masked || !matches!(opcode, 0x0..=0x2 | 0x8..=0xA) {
            return Err(SocketError::Protocol);
        }
        let (length, size) = match second & 0x7F {
            126 => match self.received.get(2..4) {
                Some(bytes) => (bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)), 4),
                None => return Ok(None),
            },
            127 => match self.received.get(2..10) {
                Some(bytes) => (bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        // The length must be in the shortest form, and less than 2^63 (section 5.2).
        if length >> 63 != 0 || (size == 4 && length < 126) || (size == 10 && length <= u64::from(u16::MAX)) {
            return Err(SocketError::Protocol);
        }
        let length = usize::try_from(length).map_err(|_| SocketError::TooBig)?;
        if is_control {
            if length > LONGEST_CONTROL || !is_last {
                return Err(SocketError::Protocol);
            }
        } else {
            if (opcode == opcode::CONTINUATION) != self.begun.is_some() {
                return Err(SocketError::Protocol);
            }
            let before = self.begun.as_ref().map_or(0, |begun| begun.payload.len());
            if length > self.limit.saturating_sub(before) {
                return Err(SocketError::TooBig);
            }
        }
        let Some(mask) = self.received.get(size..).and_then(|rest| rest.first_chunk::<4>()).copied() else {
            return Ok(None);
        };
        self.received.advance(size + mask.len());
        Ok(Some(Head { opcode, is_last, mask, length }))
    }

    /// Completes a message with this frame, if it is the last of the message.
    fn take(&mut self, head: Head, payload: BytesMut) -> Result<Option<Message>, SocketError> {
        let message = match head.opcode {
            opcode::PING => Message::Ping(payload.freeze()),
            opcode::PONG => Message::Pong,
            opcode::CLOSE if is_closing(&payload) => Message::Close(payload.freeze()),
            opcode::CLOSE => return Err(SocketError::Protocol),
            first if head.is_last && self.begun.is_none() => data(first, payload.freeze()),
            first => {
                let begun =
                    self.begun.get_or_insert_with(|| Begun { opcode: first, payload: BytesMut::new() });
                begun.payload.extend_from_slice(&payload);
                if !head.is_last {
                    return Ok(None);
                }
                let Some(Begun { opcode, payload }) = self.begun.take() else { return Ok(None) };
                data(opcode, payload.freeze())
            }
        };
        Ok(Some(message))
    }
}

fn data(opcode: u8, payload: Bytes) -> Message {
    if opcode == opcode::BINARY { Message::Binary(payload) } else { Message::Text(payload) }
}

/// Checks the payload of a closing frame: a code and a reason, or nothing.
fn is_closing(payload: &[u8]) -> bool {
    match payload.split_first_chunk::<CLOSE_CODE>() {
        None => payload.is_empty(),
        Some((code, words)) => {
            // Section 7.4: excludes codes that are never sent, and codes that nobody may use.
            let is_sent = matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999);
            is_sent && str::from_utf8(words).is_ok()
        }
    }
}

/// Removes the mask (section 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let twice = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a short payload, as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![first, 0x80 | payload.len() as u8];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, SocketError> {
        let mut decoder = Decoder::new(100);
        decoder.push(bytes);
        std::iter::from_fn(|| decoder.next().transpose()).collect()
    }

    fn text(text: &'static str) -> Message {
        Message::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_has_come_of_a_message_is_held_until_it_is_whole() {
        let mut decoder = Decoder::new(10_000);
        decoder.push(&frame(0x01, &[b'x'; 100]));
        let begun = (0..40).map(|_| frame(0x00, &[b'x'; 100]));
        begun.for_each(|more| {
            decoder.push(&more);
            assert_eq!(decoder.next().unwrap(), None);
        });
        assert!((4100..20_000).contains(&decoder.held()), "{} of parts", decoder.held());
        let of_parts = decoder.held();
        // And half of the next part.
        let mut half = vec![0x80, 0xfe, 0x10, 0x00, 1, 2, 3, 4];
        half.resize(2000, b'x');
        decoder.push(&half);
        assert_eq!(decoder.next().unwrap(), None);
        assert!(decoder.held() >= of_parts + 1900, "{} after {of_parts}", decoder.held());
    }

    #[test]
    fn messages_come_whole_wherever_their_bytes_are_torn() {
        let long = "0123456789".repeat(9);
        let bytes = [
            frame(0x81, b"one"),
            frame(0x01, b"in "),
            frame(0x89, b"are you there?"),
            frame(0x00, b""),
            frame(0x80, b"pieces"),
            frame(0x82, long.as_bytes()),
            frame(0x8A, b""),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let expected = [
            text("one"),
            Message::Ping(Bytes::from_static(b"are you there?")),
            text("in pieces"),
            Message::Binary(long.into()),
            Message::Pong,
            Message::close(1000, "bye"),
        ];
        for size in 1..bytes.len() {
            let mut decoder = Decoder::new(100);
            let mut messages = Vec::new();
            for bytes in bytes.chunks(size) {
                decoder.push(bytes);
                messages.extend(std::iter::from_fn(|| decoder.next().unwrap()));
            }
            assert_eq!(messages, expected, "{size}");
            assert_eq!(decoder.received.capacity(), 0);
        }
    }

    #[test]
    fn what_is_no_frame_of_a_client_is_told_from_what_is_too_big() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] = 1;
        let long = |length: &[u8]| {
            [&[0x82, 0x80 | if length.len() == 2 { 126 } else { 127 }], length, &[0; 4]].concat()
        };
        for (bytes, fault) in [
            (unmasked, SocketError::Protocol),
            (frame(0xC1, b"x"), SocketError::Protocol),
            (frame(0x83, b"x"), SocketError::Protocol),
            (frame(0x8B, b""), SocketError::Protocol),
            (frame(0x09, b""), SocketError::Protocol),
            (frame(0x80, b"goes on with nothing"), SocketError::Protocol),
            ([frame(0x01, b"x"), frame(0x81, b"begins in between")].concat(), SocketError::Protocol),
            (frame(0x88, b"\x03"), SocketError::Protocol),
            (frame(0x88, b"\x03\xed"), SocketError::Protocol),
            (frame(0x88, b"\x03\xe8\xff"), SocketError::Protocol),
            (frame(0x82, &[0; 101]), SocketError::TooBig),
            ([frame(0x02, &[0; 60]), frame(0x80, &[0; 41])].concat(), SocketError::TooBig),
            (long(&[0, 126]), SocketError::TooBig),
            (long(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), SocketError::TooBig),
            // Longer than allowed, and not in the shortest form.
            (long(&[0xff; 8]), SocketError::Protocol),
            (long(&[0, 125]), SocketError::Protocol),
            (long(&[0, 0, 0, 0, 0, 0, 0xff, 0xff]), SocketError::Protocol),
            ([&[0x89, 0x80 | 126, 0, 126][..], &[0; 130]].concat(), SocketError::Protocol),
        ] {
            assert_eq!(read(&bytes), Err(fault), "{bytes:?}");
        }
        assert_eq!(read(&frame(0x88, b"")), Ok(vec![Message::Close(Bytes::new())]));
        assert_eq!(read(&frame(0x82, &[7; 100])), Ok(vec![Message::Binary(vec![7; 100].into())]));
    }
}
