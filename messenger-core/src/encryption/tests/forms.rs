use proptest::prelude::*;

use crate::{
    context::Context,
    encryption::{
        DataKey, fuzzing,
        place::Place,
        seal::{self, BEGINNING, FIRST, NONCE},
    },
};

fn key() -> DataKey {
    DataKey::from_bytes(&[7; 32])
}

fn places(context: &Context) -> Vec<Place> {
    let (chat, message, author) = (context.id(), context.id(), context.id());
    let (job, session) = (context.id(), context.id());
    vec![
        Place::Text { chat, message, author },
        Place::Text { chat: context.id(), message, author },
        Place::Text { chat, message: context.id(), author },
        Place::Text { chat, message, author: context.id() },
        Place::Note { chat, message, actor: author },
        Place::Title { chat },
        Place::Address { user: author },
        Place::DisplayName { user: author },
        Place::Device { session, user: author },
        Place::Device { session: context.id(), user: author },
        Place::Payload { job },
        Place::Reason { job },
        Place::Bus,
    ]
}

fn sealed(place: &Place, plain: &[u8], padding: usize) -> Vec<u8> {
    let context = Context::fixed();
    seal::seal(&key(), place, plain, padding, || context.random::<NONCE>()).unwrap()
}

fn opened(place: &Place, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut value = sealed.to_vec();
    match seal::open(&key(), place, &mut value) {
        Ok(()) => Some(value),
        Err(_) => {
            assert!(std::str::from_utf8(&value).is_err(), "what does not open is no text");
            None
        }
    }
}

#[test]
fn a_value_opens_at_its_place_alone() {
    let context = Context::fixed();
    let places = places(&context);
    for (sealed_at, place) in places.iter().enumerate() {
        let value = sealed(place, b"hello", 0);
        for (opened_at, other) in places.iter().enumerate() {
            assert_eq!(opened(other, &value).is_some(), sealed_at == opened_at, "{place:?} at {other:?}");
        }
        let mut other = value;
        let stranger = DataKey::from_bytes(&[8; 32]);
        assert!(seal::open(&stranger, place, &mut other).is_err());
    }
}

#[test]
fn all_lengths_come_back_with_and_without_padding() {
    let place = places(&Context::fixed())[0];
    for length in [0, 1, 15, 16, 17, FIRST - 1, FIRST, FIRST + 1, 2 * FIRST, 40_000] {
        let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8 + 1).collect();
        for padding in [0, 1, 31, 1500] {
            let value = sealed(&place, &plain, padding);
            assert_eq!(opened(&place, &value).as_ref(), Some(&plain), "{length} and {padding}");
            // A beginning opens from the first piece alone, however much of the rest is there.
            if length + padding > FIRST {
                for cut in [BEGINNING, value.len() - 1, value.len()] {
                    let mut beginning = value[..cut].to_vec();
                    let is_more = seal::open_beginning(&key(), &place, &mut beginning).unwrap();
                    assert_eq!(beginning, plain[..length.min(FIRST)], "{length} and {padding}");
                    assert_eq!(is_more, length >= FIRST, "{length} and {padding}");
                }
                let mut short = value[..BEGINNING - 1].to_vec();
                assert!(seal::open_beginning(&key(), &place, &mut short).is_err());
            }
        }
    }
    let bytes_of_all_kinds: Vec<u8> = (0..=255).chain([0]).collect();
    assert_eq!(opened(&place, &sealed(&place, &bytes_of_all_kinds, 0)), Some(bytes_of_all_kinds));
}

#[test]
fn nonces_of_one_value_differ_and_so_do_those_of_equal_values() {
    let context = Context::system();
    let place = places(&context)[0];
    let seal = || seal::seal(&key(), &place, &[b'x'; 2000], 0, || context.random::<NONCE>()).unwrap();
    let (first, second) = (seal(), seal());
    let nonces = |value: &[u8]| [value[10..34].to_vec(), value[BEGINNING..BEGINNING + NONCE].to_vec()];
    let mut all: Vec<_> = nonces(&first).into_iter().chain(nonces(&second)).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
}

proptest! {
    #[test]
    fn no_bytes_break_it(input in proptest::collection::vec(any::<u8>(), 0..3000)) {
        fuzzing::open(&input);
        fuzzing::changed(&input);
        fuzzing::keys(&input);
    }

    #[test]
    fn a_value_with_any_byte_changed_does_not_open(
        length in 0usize..3000,
        padding in prop_oneof![Just(0usize), 1usize..2000],
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
    ) {
        let place = places(&Context::fixed())[0];
        let mut value = sealed(&place, &vec![b'a'; length], padding);
        let at = at.index(value.len());
        value[at] ^= flip;
        // Without the first byte it is no sealed value, but any text or none.
        prop_assert!(at == 0 && !seal::is_sealed(&value) || opened(&place, &value).is_none(), "byte {}", at);
    }

    #[test]
    fn a_value_that_is_longer_or_shorter_does_not_open(length in 0usize..3000, cut in 1usize..100) {
        let place = places(&Context::fixed())[0];
        let value = sealed(&place, &vec![b'a'; length], 0);
        prop_assert_eq!(opened(&place, &value[..value.len() - cut.min(value.len() - 1)]), None);
        prop_assert_eq!(opened(&place, &[value, vec![b'a'; cut]].concat()), None);
    }

    #[test]
    fn bytes_that_nobody_sealed_do_not_open(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let place = places(&Context::fixed())[0];
        let before = bytes.clone();
        prop_assert!(seal::open(&key(), &place, &mut bytes).is_err());
        let mut forged = [&[0xff, 1, 0, 0, 0, 1][..], &before].concat();
        prop_assert!(seal::open(&key(), &place, &mut forged).is_err());
        prop_assert!(seal::open_beginning(&key(), &place, &mut forged).is_err());
    }
}
