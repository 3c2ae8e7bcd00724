//! Invariants for sealed values that somebody has changed or made up.

use super::{
    data_key::DataKey,
    place::Place,
    seal::{self, BEGINNING, FIRST, NONCE},
};

const KEY: [u8; 32] = [7; 32];

/// Opens arbitrary bytes, whole and as the beginning of a longer value.
pub fn arbitrary(input: &[u8]) {
    let key = DataKey::from_bytes(&KEY);
    let mut value = input.to_vec();
    assert!(
        seal::open(&key, &Place::Bus, &mut value).is_err(),
        "nobody without the key makes a value that opens"
    );
    let was_text = std::str::from_utf8(input).is_ok();
    assert!(was_text || std::str::from_utf8(&value).is_err(), "what does not open is no text");
    let mut beginning = input.to_vec();
    assert!(seal::open_beginning(&key, &Place::Bus, &mut beginning).is_err());
}

/// The input is the length of the plain value in two bytes, that of its padding in two, then places with what to flip
/// there, three bytes each.
pub fn changed(input: &[u8]) {
    let Some(([l0, l1, p0, p1], flips)) = input.split_first_chunk::<4>() else { return };
    let [length, padding] = [[*l0, *l1], [*p0, *p1]].map(|n| usize::from(u16::from_be_bytes(n) % 4096));
    let (key, plain) = (DataKey::from_bytes(&KEY), vec![b'a'; length]);
    let mut count = 0;
    let nonce = || {
        count += 1;
        [count; NONCE]
    };
    let Ok(sealed) = seal::seal(&key, &Place::Bus, &plain, padding, nonce) else { return };
    let mut value = sealed.clone();
    for flip in flips.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([flip[0], flip[1]])) % value.len();
        value[at] ^= flip[2];
    }
    let is_same = value == sealed;
    let is_beginning_same = value[..value.len().min(BEGINNING)] == sealed[..sealed.len().min(BEGINNING)];
    let mut opened = value.clone();
    assert_eq!(seal::open(&key, &Place::Bus, &mut opened).is_ok(), is_same);
    assert!(!is_same || opened == plain);
    let mut opened = value;
    let beginning = seal::open_beginning(&key, &Place::Bus, &mut opened);
    // A short value has one piece, which is all of it.
    let is_long = length + padding > FIRST;
    assert_eq!(beginning.is_ok(), if is_long { is_beginning_same } else { is_same });
    assert!(beginning.is_err() || opened == plain[..length.min(FIRST)]);
}
