//! What holds for any bytes in place of sealed values and keys.

use futures::FutureExt as _;

use super::{
    DataKey, KeyRing, KeyService as _,
    place::Place,
    seal::{self, NONCE},
};
use crate::{
    domain::Id,
    ports::{KeyId, WrappedKey},
};

const KEY: [u8; 32] = [7; 32];

fn place(which: u8) -> Place {
    let id = |last: u8| -> [u8; 16] {
        let mut id = [1; 16];
        id[15] = last;
        id
    };
    match which % 4 {
        0 => Place::Text {
            chat: Id::from_bytes(id(1)),
            message: Id::from_bytes(id(2)),
            author: Id::from_bytes(id(3)),
        },
        1 => Place::Title { chat: Id::from_bytes(id(1)) },
        2 => Place::Address { user: Id::from_bytes(id(3)) },
        _ => Place::Bus,
    }
}

/// Opens the input, at a place that its first byte names: as it is, and with the beginning of a sealed value before it. Nothing
/// that was not sealed opens, and what does not open is no text, so that nobody takes it for one.
pub fn open(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    let (key, place) = (DataKey::from_bytes(&KEY), place(*which));
    let length = u32::try_from(bytes.len().saturating_sub(usize::from(*which))).unwrap_or_default();
    let head = [&[0xFF, 1 + which % 2, 0, 0, 0, 1][..], &length.to_be_bytes()].concat();
    for sealed in [bytes.to_vec(), [&head[..], bytes].concat(), [&[0xFF][..], bytes].concat()] {
        let mut whole = sealed.clone();
        assert!(seal::open(&key, &place, &mut whole).is_err());
        let mut beginning = sealed.clone();
        assert!(seal::open_beginning(&key, &place, &mut beginning).is_err());
        if seal::is_sealed(&sealed) {
            for left in [whole, beginning] {
                assert!(std::str::from_utf8(&left).is_err());
            }
        }
    }
}

/// Seals a value, changes or cuts it as the first bytes of the input say, and opens it.
pub fn changed(input: &[u8]) {
    let Some(([which, padding, high, low, flip], plain)) = input.split_first_chunk::<5>() else { return };
    // Values that are padded have no zeros at the end.
    let padding = if plain.last() == Some(&0) { 0 } else { usize::from(*padding) };
    let (key, place) = (DataKey::from_bytes(&KEY), place(*which));
    let mut nonce = 0;
    let nonces = || {
        nonce += 1;
        [nonce; NONCE]
    };
    let Ok(sealed) = seal::seal(&key, &place, plain, padding, nonces) else { return };
    let mut opened = sealed.clone();
    assert!(seal::open(&key, &place, &mut opened).is_ok());
    assert_eq!(opened, plain);
    let mut beginning = sealed.clone();
    let is_longer = seal::open_beginning(&key, &place, &mut beginning);
    assert!(is_longer.is_ok() && plain.starts_with(&beginning));

    let at = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
    let mut changed = sealed;
    if *flip == 0 {
        changed.truncate(at);
    } else {
        changed[at] ^= flip;
    }
    assert!(seal::open(&key, &place, &mut changed).is_err());
}

/// Reads the input as a file of keys, and unwraps it as a data key.
pub fn keys(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(ring) = KeyRing::parse(text)
    {
        assert!(ring.versions().any(|version| version == ring.current()));
    }
    let ring = KeyRing::new(&KEY);
    for wrapped in [input.to_vec(), [&[1, 0, 0, 0, 1][..], input].concat()] {
        let wrapped = WrappedKey(wrapped);
        let answer = ring.unwrap(KeyId::of_all(1), &wrapped).now_or_never();
        assert!(answer.is_some_and(|answer| answer.is_err()));
    }
}
