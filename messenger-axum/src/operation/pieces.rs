//! JSON in pieces, so that a long answer needs no long buffer, and the memory of what has been sent is released.

use std::{collections::VecDeque, io};

use bytes::Bytes;

/// The size of a piece in bytes. A server polls for the next one when it has about as much left to send.
const PIECE: usize = 32 * 1024;

/// The pieces written so far.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
}

impl Pieces {
    pub(super) fn finish(mut self) -> VecDeque<Bytes> {
        if !self.last.is_empty() {
            self.full.push_back(self.last.into());
        }
        self.full
    }

    fn begin(&mut self) {
        let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE));
        self.full.push_back(full.into());
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while bytes.len() > PIECE - self.last.len() {
            let (fits, rest) = bytes.split_at(PIECE - self.last.len());
            self.last.extend_from_slice(fits);
            self.begin();
            bytes = rest;
        }
        self.last.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pieces_are_what_was_written() {
        for lengths in [vec![], vec![1], vec![PIECE], vec![PIECE + 1], vec![10, 3 * PIECE, PIECE - 10, 7]] {
            let mut pieces = Pieces::default();
            let whole: Vec<u8> = (0..lengths.iter().sum()).map(|at: usize| (at % 251) as u8).collect();
            let mut rest = &whole[..];
            for length in &lengths {
                let (now, later) = rest.split_at(*length);
                pieces.write_all(now).unwrap();
                rest = later;
            }
            let pieces = pieces.finish();
            assert_eq!(Vec::from(pieces.clone()).concat(), whole, "{lengths:?}");
            assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
        }
    }
}
