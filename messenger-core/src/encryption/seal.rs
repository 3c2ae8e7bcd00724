//! The form of a sealed value. All numbers are big-endian.
//!
//! ```text
//! 0      1   0xFF, which no UTF-8 text contains
//! 1      1   the form: 1, or 2 where the plain value has zero bytes behind it as padding
//! 2      4   the number of the key among its owner's keys
//! 6      4   the length of the plain value in bytes, padding included
//! 10     24  the nonce of the first piece
//! 34     n   the first piece: at most 1,024 bytes of the plain value, sealed
//! 34+n   16  the tag of the first piece
//! ```
//!
//! A value of more than 1,024 bytes has a second piece with the rest, behind the first one: nonce, sealed bytes, tag. So
//! the beginning of a long value can be opened without the rest.
//!
//! A piece is sealed by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). The associated data is the
//! [place](super::place::Place), the bytes 1 to 9 of the value, and one byte with the number of the piece, 1 or 2.
//!
//! Nonces are 192 random bits: among 10 million of them two are equal with a probability of less than 2^-145.

use chacha20poly1305::{AeadInOut as _, XNonce, aead::inout::InOutBuf};

use super::{data_key::DataKey, place::Place};

/// No UTF-8 text contains this byte.
pub(super) const SEALED: u8 = 0xFF;
const PLAIN: u8 = 1;
const PADDED: u8 = 2;
const HEADER: usize = 10;
pub(super) const NONCE: usize = 24;
const TAG: usize = 16;
/// How much of a value is in its first piece.
pub(super) const FIRST: usize = 1024;

/// The bytes of a sealed value whose first piece is full, without a second one.
pub(super) const BEGINNING: usize = HEADER + NONCE + FIRST + TAG;

/// Stands for a value that does not open, in a column of text.
pub(super) const UNREADABLE: [u8; 1] = [SEALED];

/// The value was changed, is not at the place where it was sealed, or was sealed with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open")]
pub(super) struct Damaged;

/// Whether this is a sealed value, and not a plain text.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SEALED)
}

/// Seals `plain` for this place, with so many zero bytes behind it as padding; `nonce` returns other random bytes each time.
///
/// # Errors
/// [`Damaged`] for 4 GiB and more.
pub(super) fn seal(
    key: &DataKey,
    place: &Place,
    plain: &[u8],
    padding: usize,
    mut nonce: impl FnMut() -> [u8; NONCE],
) -> Result<Vec<u8>, Damaged> {
    let length = plain.len() + padding;
    let pieces = if length > FIRST { 2 } else { 1 };
    let mut sealed = Vec::with_capacity(HEADER + length + pieces * (NONCE + TAG));
    sealed.extend_from_slice(&[SEALED, if padding == 0 { PLAIN } else { PADDED }]);
    sealed.extend_from_slice(&place.key().number.to_be_bytes());
    sealed.extend_from_slice(&u32::try_from(length).map_err(|_| Damaged)?.to_be_bytes());
    let padded = |range: std::ops::Range<usize>, into: &mut Vec<u8>| {
        let end = into.len() + range.len();
        into.extend_from_slice(&plain[range.start.min(plain.len())..range.end.min(plain.len())]);
        into.resize(end, 0);
    };
    let cipher = key.cipher();
    for (piece, range) in [(1, 0..length.min(FIRST)), (2, FIRST..length)].into_iter().take(pieces) {
        let nonce = nonce();
        sealed.extend_from_slice(&nonce);
        let begin = sealed.len();
        padded(range, &mut sealed);
        let (before, inside) = sealed.split_at_mut(begin);
        let tag = associated(place, &before[..HEADER], piece, |data| {
            cipher.encrypt_inout_detached(&XNonce::from(nonce), data, InOutBuf::from(inside))
        });
        sealed.extend_from_slice(&tag.map_err(|_| Damaged)?);
    }
    Ok(sealed)
}

/// How long a sealed value is.
#[cfg(feature = "testkit")]
pub(super) const fn sealed_length(plain: usize) -> usize {
    let pieces = if plain > FIRST { 2 } else { 1 };
    HEADER + plain + pieces * (NONCE + TAG)
}

/// Opens a value in place, without its padding. If this fails, `sealed` still is no UTF-8 text.
pub(super) fn open(key: &DataKey, place: &Place, sealed: &mut Vec<u8>) -> Result<(), Damaged> {
    let (length, is_padded) = header(place, sealed)?;
    let pieces = if length > FIRST { 2 } else { 1 };
    if sealed.len() != HEADER + length + pieces * (NONCE + TAG) {
        return Err(Damaged);
    }
    if pieces == 2 {
        open_piece(key, place, sealed, (2, BEGINNING, length - FIRST))?;
    }
    open_piece(key, place, sealed, (1, HEADER, length.min(FIRST)))?;
    let first = HEADER + NONCE;
    sealed.copy_within(first..first + length.min(FIRST), 0);
    if pieces == 2 {
        let second = BEGINNING + NONCE;
        sealed.copy_within(second..second + length - FIRST, FIRST);
    }
    sealed.truncate(length);
    if is_padded {
        strip(sealed);
    }
    Ok(())
}

/// Opens the first piece of a value, of which at least the first [`BEGINNING`] bytes are there, or all; tells whether
/// there is more behind it.
pub(super) fn open_beginning(key: &DataKey, place: &Place, sealed: &mut Vec<u8>) -> Result<bool, Damaged> {
    let (length, is_padded) = header(place, sealed)?;
    if length <= FIRST {
        open(key, place, sealed)?;
        return Ok(false);
    }
    if sealed.len() < BEGINNING {
        return Err(Damaged);
    }
    open_piece(key, place, sealed, (1, HEADER, FIRST))?;
    sealed.copy_within(HEADER + NONCE..HEADER + NONCE + FIRST, 0);
    sealed.truncate(FIRST);
    if is_padded {
        strip(sealed);
    }
    Ok(sealed.len() == FIRST)
}

/// No value that is padded ends with a zero byte: texts don't have the character NUL.
fn strip(plain: &mut Vec<u8>) {
    let end = plain.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    plain.truncate(end);
}

/// The length of the plain value, and whether padding is part of it.
fn header(place: &Place, sealed: &[u8]) -> Result<(usize, bool), Damaged> {
    let (header, _) = sealed.split_first_chunk::<HEADER>().ok_or(Damaged)?;
    let [SEALED, form @ (PLAIN | PADDED), n0, n1, n2, n3, l0, l1, l2, l3] = *header else {
        return Err(Damaged);
    };
    if u32::from_be_bytes([n0, n1, n2, n3]) != place.key().number {
        return Err(Damaged);
    }
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).map_err(|_| Damaged)?;
    Ok((length, form == PADDED))
}

/// Opens the piece `number` of `length` bytes, whose nonce is at `at`.
fn open_piece(
    key: &DataKey,
    place: &Place,
    sealed: &mut [u8],
    (number, at, length): (u8, usize, usize),
) -> Result<(), Damaged> {
    let (before, piece) = sealed.split_at_mut_checked(at).ok_or(Damaged)?;
    let (nonce, rest) = piece.split_first_chunk_mut::<NONCE>().ok_or(Damaged)?;
    let (inside, rest) = rest.split_at_mut_checked(length).ok_or(Damaged)?;
    let (tag, _) = rest.split_first_chunk::<TAG>().ok_or(Damaged)?;
    let opened = associated(place, &before[..HEADER], number, |data| {
        key.cipher().decrypt_inout_detached(
            &XNonce::from(*nonce),
            data,
            InOutBuf::from(inside),
            &(*tag).into(),
        )
    });
    opened.map_err(|_| Damaged)
}

fn associated<T>(place: &Place, header: &[u8], piece: u8, then: impl FnOnce(&[u8]) -> T) -> T {
    place.with_bytes(|place| {
        let mut data = [0; 96];
        let parts = place.iter().chain(&header[1..]).chain(std::slice::from_ref(&piece));
        let length = place.len() + header.len();
        for (slot, byte) in data.iter_mut().zip(parts) {
            *slot = *byte;
        }
        then(&data[..length])
    })
}
