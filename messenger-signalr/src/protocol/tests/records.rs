use bytes::Bytes;

use super::{
    super::{Framing, Malformed, Records, handshake},
    BOTH, LIMIT, hex, split,
};

/// A record of this many bytes, including its delimiter or length of three bytes.
fn of_size(framing: Framing, size: usize) -> Vec<u8> {
    match framing {
        Framing::Text => [&vec![b' '; size - 1][..], &[0x1E]].concat(),
        Framing::Binary => {
            let body = size - 3;
            let prefix = [body as u8 | 0x80, (body >> 7) as u8 | 0x80, (body >> 14) as u8];
            [&prefix[..], &vec![0; body]].concat()
        }
    }
}

#[test]
fn the_limit_counts_the_delimiter_and_the_length() {
    for framing in [Framing::Text, Framing::Binary] {
        for (size, fits) in [(LIMIT, true), (LIMIT + 1, false), (LIMIT - 1, true)] {
            let bytes = of_size(framing, size);
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            for chunks in [&[&bytes[..]][..], &each, &[&bytes[..7], &bytes[7..]]] {
                let records = split(framing, LIMIT, chunks);
                if fits {
                    let around = if framing == Framing::Text { 1 } else { 3 };
                    assert_eq!(records.unwrap()[0].len(), size - around);
                } else {
                    assert_eq!(records, Err(Malformed::TooLarge { limit: LIMIT }));
                }
            }
        }
    }
}

#[test]
fn what_is_too_long_is_known_early() {
    let error = Err(Malformed::TooLarge { limit: LIMIT });
    let text = of_size(Framing::Text, LIMIT + 1);
    assert_eq!(split(Framing::Text, LIMIT, &[&text[..LIMIT - 1]]), Ok(vec![]));
    assert_eq!(split(Framing::Text, LIMIT, &[&text[..LIMIT]]), error);
    assert_eq!(split(Framing::Text, LIMIT, &[&text[..LIMIT - 1], &text[..1]]), error);
    let binary = of_size(Framing::Binary, LIMIT + 1);
    assert_eq!(split(Framing::Binary, LIMIT, &[&binary[..3]]), error);
    assert_eq!(split(Framing::Binary, LIMIT, &[&binary[..2]]), Ok(vec![]));
    assert_eq!(split(Framing::Binary, 1, &[&hex("80 80 00")]), Err(Malformed::TooLarge { limit: 1 }));
    let mut records = Records::new(LIMIT);
    records.push(text.into());
    for _ in 0..2 {
        assert_eq!(records.next(Framing::Text), Err(Malformed::TooLarge { limit: LIMIT }));
    }
    records.clear();
    assert_eq!(records.next(Framing::Text), Ok(None));
}

#[test]
fn lengths_that_are_none_are_refused() {
    let binary = |bytes: &str| split(Framing::Binary, usize::MAX, &[&hex(bytes)]);
    assert_eq!(binary("80 80 80 80 80 01"), Err(Malformed::Length));
    assert_eq!(binary("ff ff ff ff 80"), Err(Malformed::Length));
    assert_eq!(binary("80 80 80 80 08"), Err(Malformed::Length));
    assert_eq!(binary("ff ff ff ff 0f"), Err(Malformed::Length));
    assert_eq!(binary("ff ff ff ff 07"), Ok(vec![]));
    assert_eq!(binary("80 80 80 80"), Ok(vec![]));
    assert_eq!(binary("80 80 80 80 00 00"), Ok(vec![Bytes::new(), Bytes::new()]));
    assert_eq!(
        split(Framing::Binary, LIMIT, &[&hex("ff ff ff ff 07")]),
        Err(Malformed::TooLarge { limit: LIMIT })
    );
}

#[test]
fn records_are_the_same_wherever_the_chunks_end() {
    for protocol in BOTH {
        let long = "x".repeat(200);
        let written = [
            protocol.ping(),
            protocol.invocation("event", &long).unwrap(),
            protocol.ack(7),
            protocol.completion("1", Err(&long)),
            protocol.ping(),
        ];
        let stream = written.concat();
        let whole = split(protocol.into(), LIMIT, &[&stream]).unwrap();
        assert_eq!(whole.len(), written.len());
        for at in 0..=stream.len() {
            let (one, other) = stream.split_at(at);
            assert_eq!(split(protocol.into(), LIMIT, &[one, other]).unwrap(), whole);
            assert_eq!(split(protocol.into(), LIMIT, &[one, b"", other, b""]).unwrap(), whole);
            let mut records = Records::new(LIMIT);
            records.push(Bytes::copy_from_slice(one));
            records.push(Bytes::copy_from_slice(other));
            for record in &whole {
                assert_eq!(records.next(protocol.into()), Ok(Some(record.clone())));
            }
            assert_eq!(records.next(protocol.into()), Ok(None));
        }
    }
}

#[test]
fn whole_records_are_not_copied_and_nothing_is_kept() {
    for protocol in BOTH {
        let mut records = Records::new(LIMIT);
        let chunk: Bytes = [protocol.ping(), protocol.ack(1)].concat().into();
        let range = chunk.as_ptr_range();
        records.push(chunk);
        while let Some(record) = records.next(protocol.into()).unwrap() {
            assert!(range.contains(&record.as_ptr()));
        }
        assert_eq!(records.held(), 0);
        records.push(protocol.ping().slice(..1));
        records.push(protocol.ping().slice(1..2));
        records.push(protocol.ping().slice(2..));
        assert!(records.next(protocol.into()).unwrap().is_some());
        assert_eq!(records.held(), 0);
    }
}

#[test]
fn no_room_is_made_for_what_is_only_announced() {
    let mut records = Records::new(usize::MAX);
    records.push(hex("ff ff ff ff 07").into());
    assert_eq!(records.next(Framing::Binary), Ok(None));
    assert!(records.held() < 64);
}

#[test]
fn the_framing_may_change_between_records_and_within_one() {
    let mut records = Records::new(LIMIT);
    records.push([&handshake::accepted()[..], &hex("02 91 06 02")].concat().into());
    assert_eq!(records.next(Framing::Text), Ok(Some("{}".into())));
    assert_eq!(records.next(Framing::Binary), Ok(Some(hex("91 06").into())));
    assert_eq!(records.next(Framing::Binary), Ok(None));
    records.push(hex("1e 1e").into());
    assert_eq!(records.next(Framing::Text), Ok(Some(hex("02").into())));
    assert_eq!(records.next(Framing::Text), Ok(Some(Bytes::new())));
    assert_eq!(records.next(Framing::Text), Ok(None));
    records.push("ab".into());
    assert_eq!(records.next(Framing::Text), Ok(None));
    records.push("c".into());
    assert_eq!(records.next(Framing::Binary), Ok(None));
    records.push("d\x1E".into());
    assert_eq!(records.next(Framing::Text), Ok(Some("abcd".into())));
}
