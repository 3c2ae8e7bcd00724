use super::{
    super::{ArgumentError, Malformed, Payload, Protocol, records},
    hex, payload, read_whole, told, unpacked,
};

fn read_messagepack(record: &[u8]) -> Result<String, Malformed> {
    Protocol::MessagePack.read(record).map(|message| told(&message))
}

#[test]
fn messagepack_of_clients_is_read() {
    let examples = [
        ("02 91 06", "ping"),
        ("0b 95 01 80 a1 31 a4 56 6f 69 64 90", r#"invoke "1" Void() []"#),
        (
            "16 95 01 80 c0 a9 42 72 6f 61 64 63 61 73 74 91 a6 68 69 20 61 6c 6c",
            r#"invoke "" Broadcast("hi all") []"#,
        ),
        ("12 96 01 80 a2 31 32 a6 55 70 6c 6f 61 64 90 91 a2 31 31", r#"invoke "12" Upload() ["11"]"#),
        (
            "15 96 01 80 c0 a7 6d 65 73 73 61 67 65 91 a6 68 69 20 61 6c 6c 90",
            r#"invoke "" message("hi all") []"#,
        ),
        ("07 95 03 80 a1 32 03 c0", r#"completion "2" value null"#),
        ("06 94 03 80 a1 31 02", r#"completion "1" void"#),
        ("0a 95 03 80 a1 33 01 a3 62 61 64", r#"completion "3" error "bad""#),
        ("06 94 02 80 a1 38 00", r#"item "8" 0"#),
        ("06 93 05 80 a2 31 30", r#"cancel "10""#),
        ("03 92 07 c0", "close None"),
        ("02 91 07", "close None"),
        ("05 93 07 a1 78 c3", r#"close Some("x")"#),
        ("03 92 08 09", "ack 9"),
        ("03 92 09 01", "sequence 1"),
        // An empty id, other headers, a nil instead of stream ids, items of later versions, wide integers.
        ("08 96 01 c0 a0 a1 74 90 c0", r#"invoke "" t() []"#),
        ("0b 95 01 81 a1 61 a1 62 c0 a1 74 90", r#"invoke "" t() []"#),
        ("0b 98 01 80 c0 a1 74 90 90 91 80 c2", r#"invoke "" t() []"#),
        ("0a 96 d0 04 80 a1 31 a1 74 90 90", r#"stream "1" t() []"#),
        ("02 91 63", "unknown"),
        ("04 92 63 91 c0", "unknown"),
        ("02 91 ff", "unknown"),
        ("0a 91 cf ff ff ff ff ff ff ff ff", "unknown"),
    ];
    for (bytes, expected) in examples {
        assert_eq!(read_whole(Protocol::MessagePack, &hex(bytes)), expected, "{bytes}");
    }
}

#[test]
fn messagepack_with_a_fault_is_refused() {
    use Malformed::{MessagePack, Missing, Trailing, WrongType};
    let faults = [
        ("", MessagePack),
        ("c1", MessagePack),
        ("06", MessagePack),
        ("81 01 02", MessagePack),
        ("90", Missing("type")),
        ("91", MessagePack),
        ("91 a1 36", WrongType("type")),
        ("91 c0", WrongType("type")),
        ("91 06 00", Trailing),
        ("91 06 91 06", Trailing),
        ("92 06 c1", MessagePack),
        ("95 01 90 c0 a1 74 90", WrongType("headers")),
        ("95 01 80 01 a1 74 90", WrongType("invocationId")),
        ("95 01 80 c0 01 90", WrongType("target")),
        ("95 01 80 c0 c0 90", WrongType("target")),
        ("95 01 80 c0 a1 ff 90", MessagePack),
        ("95 01 80 c0 a1 74 80", WrongType("arguments")),
        ("94 01 80 c0 a1 74", Missing("arguments")),
        ("95 01 80 c0 a1 74 91 c1", MessagePack),
        ("95 01 80 c0 a1 74 91 92 01", MessagePack),
        ("96 01 80 c0 a1 74 90 91 01", WrongType("streamIds")),
        ("96 01 80 c0 a1 74 90 a1 31", WrongType("streamIds")),
        ("96 04 80 c0 a1 74 90 90", Missing("invocationId")),
        ("96 04 80 a0 a1 74 90 90", Missing("invocationId")),
        ("94 02 80 c0 00", WrongType("invocationId")),
        ("93 02 80 a1 38", Missing("item")),
        ("93 03 80 a1 31", Missing("resultKind")),
        ("94 03 80 a1 31 04", WrongType("resultKind")),
        ("94 03 80 a1 31 03", Missing("result")),
        ("95 03 80 a1 31 01 c0", WrongType("error")),
        ("93 05 80 0a", WrongType("invocationId")),
        ("92 07 01", WrongType("error")),
        ("91 08", Missing("sequenceId")),
        ("92 08 ff", WrongType("sequenceId")),
        ("92 09 a1 31", WrongType("sequenceId")),
        // Four billion items, keys, arguments and ids; text, bytes and extensions beyond the end.
        ("dd ff ff ff ff 06", MessagePack),
        ("92 63 dd ff ff ff ff", MessagePack),
        ("92 63 df ff ff ff ff 01", MessagePack),
        ("95 01 80 c0 a1 74 dd ff ff ff ff", MessagePack),
        ("96 01 80 c0 a1 74 90 dd ff ff ff ff", MessagePack),
        ("95 01 80 c0 db ff ff ff ff 74 90", MessagePack),
        ("92 63 c6 ff ff ff ff 00", MessagePack),
        ("92 63 c9 ff ff ff ff 00", MessagePack),
        ("92 63 d8 01 00", MessagePack),
    ];
    for (bytes, expected) in faults {
        assert_eq!(read_messagepack(&hex(bytes)), Err(expected), "{bytes}");
    }
}

#[test]
fn messagepack_is_as_deep_as_json() {
    let nested = |levels: usize, marker: u8| {
        let mut record = hex("94 02 80 a1 38");
        record.extend(std::iter::repeat_n(marker, levels - 1));
        record.push(0x90);
        record
    };
    assert!(read_messagepack(&nested(63, 0x91)).is_ok());
    assert_eq!(read_messagepack(&nested(64, 0x91)), Err(Malformed::TooDeep));
    assert_eq!(read_messagepack(&nested(100_000, 0x91)), Err(Malformed::TooDeep));
    assert_eq!(read_messagepack(&nested(100_000, 0x81)), Err(Malformed::TooDeep));
    assert_eq!(unpacked(&nested(100_000, 0x91)[5..]), Err(ArgumentError::MessagePack));
    let argument = |levels: usize| {
        let mut record = hex("95 01 80 c0 a1 74 91");
        record.extend(std::iter::repeat_n(0x91, levels - 1));
        record.push(0x90);
        record
    };
    assert!(read_messagepack(&argument(62)).is_ok());
    assert_eq!(read_messagepack(&argument(63)), Err(Malformed::TooDeep));
}

#[test]
fn messagepack_for_clients_is_written() {
    let protocol = Protocol::MessagePack;
    let void = Payload::void();
    let hi = payload(protocol, "hi all");
    let examples = [
        (protocol.ping(), "02 91 06"),
        (
            protocol.invocation("message", "hi all").unwrap(),
            "15 96 01 80 c0 a7 6d 65 73 73 61 67 65 91 a6 68 69 20 61 6c 6c 90",
        ),
        (
            protocol.request(None, "message", &[hi]),
            "15 96 01 80 c0 a7 6d 65 73 73 61 67 65 91 a6 68 69 20 61 6c 6c 90",
        ),
        (
            protocol.request(Some("s1"), "ask", std::slice::from_ref(&void)),
            "0d 96 01 80 a2 73 31 a3 61 73 6b 91 c0 90",
        ),
        (protocol.request(Some(""), "t", &[]), "08 96 01 80 c0 a1 74 90 90"),
        (protocol.completion("2", Ok(&payload(protocol, ()))), "07 95 03 80 a1 32 03 c0"),
        (protocol.completion("1", Ok(&void)), "06 94 03 80 a1 31 02"),
        (protocol.completion("3", Err("bad")), "0a 95 03 80 a1 33 01 a3 62 61 64"),
        (protocol.stream_item("8", &payload(protocol, 0)), "06 94 02 80 a1 38 00"),
        (protocol.stream_item("8", &void), "06 94 02 80 a1 38 c0"),
        (protocol.close(None, false), "04 93 07 c0 c2"),
        (protocol.close(Some("x"), true), "05 93 07 a1 78 c3"),
        (protocol.ack(9), "03 92 08 09"),
        (protocol.sequence(1), "03 92 09 01"),
        (protocol.ack(u64::MAX), "0b 92 08 cf ff ff ff ff ff ff ff ff"),
    ];
    for (record, expected) in examples {
        assert_eq!(record, hex(expected), "{expected}");
    }
}

#[test]
fn lengths_are_written_in_as_few_bytes_as_they_need() {
    for (body, prefix) in [(53, "35"), (127, "7f"), (128, "80 01"), (5_248, "80 29"), (16_384, "80 80 01")] {
        let mut record = records::Binary::with_capacity(0);
        record.out.resize(record.out.len() + body, 7);
        let record = record.into_bytes();
        assert_eq!(record[..record.len() - body], hex(prefix));
        assert!(record[record.len() - body..].iter().all(|byte| *byte == 7));
    }
}
