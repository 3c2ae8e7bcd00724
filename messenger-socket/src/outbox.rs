//! Frames to be sent to a client (RFC 6455, section 5): short ones are gathered in a buffer, long ones are not copied.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

/// From this length on, a payload is written from its own buffer.
const LONG: usize = 4 * 1024;
/// Maximum number of pieces written with one call.
const AT_ONCE: usize = 16;
/// The initial capacity of the gathering buffer.
const FIRST: usize = 512;

pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8A;

/// Frames that have not been written. Uses memory only while there are any.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Comes after the pieces.
    gathered: Vec<u8>,
    bytes: usize,
    /// The memory of gathered pieces.
    copied: usize,
}

#[derive(Debug)]
struct Piece {
    rest: Bytes,
    /// Its memory, if it was gathered.
    copied: usize,
}

impl Outbox {
    /// Appends a frame.
    pub(super) fn push(&mut self, first: u8, payload: Bytes) {
        let short = if payload.len() < LONG { payload.len() } else { 0 };
        self.gathered.reserve(if self.gathered.is_empty() { FIRST.max(short + 10) } else { short + 10 });
        let before = self.gathered.len();
        write_head(&mut self.gathered, first, payload.len());
        self.bytes += self.gathered.len() - before + payload.len();
        if payload.len() < LONG {
            self.gathered.extend_from_slice(&payload);
        } else {
            self.end_gathering(0);
            self.pieces.push_back(Piece { rest: payload, copied: 0 });
        }
    }

    /// The number of waiting bytes.
    pub(super) const fn len(&self) -> usize {
        self.bytes
    }

    /// The memory of copied payloads, which are neither shared nor counted elsewhere.
    pub(super) fn copied(&self) -> usize {
        self.copied + self.gathered.capacity()
    }

    /// Turns the gathered data into a piece, of which `written` bytes are already written.
    fn end_gathering(&mut self, written: usize) {
        let copied = self.gathered.capacity();
        let mut rest = Bytes::from(std::mem::take(&mut self.gathered));
        rest.advance(written);
        self.copied += copied;
        self.pieces.push_back(Piece { rest, copied });
    }

    /// Writes as much as the system accepts; ready when everything is written.
    pub(super) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        task: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            let count = if self.pieces.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(task, &self.gathered))?
            } else {
                let mut slices = [IoSlice::new(&[]); AT_ONCE];
                let waiting = self.pieces.iter().map(|piece| &piece.rest[..]).chain([&self.gathered[..]]);
                let mut used = 0;
                for (slice, piece) in slices.iter_mut().zip(waiting) {
                    *slice = IoSlice::new(piece);
                    used += 1;
                }
                ready!(Pin::new(&mut *io).poll_write_vectored(task, &slices[..used]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let taken = count.min(piece.rest.len());
            piece.rest.advance(taken);
            count -= taken;
            if !piece.rest.is_empty() {
                return;
            }
            self.copied -= piece.copied;
            self.pieces.pop_front();
        }
        if self.bytes == 0 {
            // Frees the memory, because most connections are idle most of the time.
            *self = Self::default();
        } else if count > 0 {
            // So that the remaining data need not be moved.
            self.end_gathering(count);
        }
    }
}

fn write_head(out: &mut Vec<u8>, first: u8, length: usize) {
    out.push(first);
    if let Ok(length @ 0..126) = u8::try_from(length) {
        out.push(length);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts a few bytes at a time.
    struct Narrow(Vec<u8>, usize);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_is_written_in_order_however_little_is_taken_at_a_time() {
        let lengths = [0, 1, 125, 126, LONG - 1, LONG, 65_535, 65_536, 3, 70_000, 2];
        let mut expected = Vec::new();
        for length in lengths {
            write_head(&mut expected, BINARY, length);
            expected.extend(std::iter::repeat_n(length as u8, length));
        }
        for at_once in [1, 7, 4096, usize::MAX] {
            let mut outbox = Outbox::default();
            for length in lengths {
                outbox.push(BINARY, vec![length as u8; length].into());
            }
            assert_eq!(outbox.len(), expected.len());
            let mut narrow = Narrow(Vec::new(), at_once);
            let mut task = Context::from_waker(std::task::Waker::noop());
            assert!(matches!(outbox.poll_write(&mut narrow, &mut task), Poll::Ready(Ok(()))));
            assert!(narrow.0 == expected, "{at_once}");
            assert_eq!((outbox.len(), outbox.gathered.capacity(), outbox.pieces.capacity()), (0, 0, 0));
        }
    }

    /// Accepts this many bytes once, and then nothing.
    struct Once(usize);

    impl AsyncWrite for Once {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match std::mem::take(&mut self.0) {
                0 => Poll::Pending,
                some => Poll::Ready(Ok(some.min(bytes.len()))),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_was_gathered_counts_for_as_long_as_any_of_it_waits() {
        let mut task = Context::from_waker(std::task::Waker::noop());
        let mut outbox = Outbox::default();
        for _ in 0..20 {
            outbox.push(TEXT, vec![b'x'; 3000].into());
        }
        for at_once in [0, 1, 30_000] {
            assert!(outbox.poll_write(&mut Once(at_once), &mut task).is_pending());
            assert!(outbox.copied() >= 60_000, "{} of {at_once}", outbox.copied());
        }
        outbox.push(TEXT, vec![b'x'; 70_000].into());
        outbox.push(TEXT, vec![b'x'; 3000].into());
        assert!((63_000..200_000).contains(&outbox.copied()), "{}", outbox.copied());
        // All gathered data first, and a part of the piece that was not copied.
        let rest = outbox.len();
        assert!(outbox.poll_write(&mut Once(rest - 73_000), &mut task).is_pending());
        assert!((1..20_000).contains(&outbox.copied()), "{}", outbox.copied());
        let mut all = Narrow(Vec::new(), usize::MAX);
        assert!(outbox.poll_write(&mut all, &mut task).is_ready());
        assert_eq!((outbox.copied(), outbox.len()), (0, 0));
    }

    #[test]
    fn heads_are_as_short_as_they_can_be() {
        let mut head = Vec::new();
        for (length, expected) in [
            (125, &[0x81, 125][..]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            head.clear();
            write_head(&mut head, TEXT, length);
            assert_eq!(head, expected);
        }
    }
}
