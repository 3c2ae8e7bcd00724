use super::{super::ArgumentError, hex, packed, unpacked};

#[test]
fn messagepack_becomes_json() {
    let examples = [
        ("c0", "null"),
        ("c3", "true"),
        ("cf ff ff ff ff ff ff ff ff", "18446744073709551615"),
        ("d3 80 00 00 00 00 00 00 00", "-9223372036854775808"),
        ("d1 00 05", "5"),
        ("e0", "-32"),
        ("ca 3f 8c cc cd", "1.1"),
        ("cb 40 09 21 fb 54 44 2d 18", "3.141592653589793"),
        ("a3 22 0a e2", ""),
        ("a4 22 0a c3 a9", r#""\"\né""#),
        ("c4 03 01 02 ff", r#""AQL/""#),
        ("c4 01 00", r#""AA==""#),
        ("93 90 80 91 c0", "[[],{},[null]]"),
        ("82 a1 61 01 a1 61 92 02 03", r#"{"a":1,"a":[2,3]}"#),
        ("d6 ff 00 00 00 00", r#""1970-01-01T00:00:00.000Z""#),
        ("d7 ff 1d cd 65 00 5f 5e 10 00", r#""2020-09-13T12:26:40.125Z""#),
        ("c7 0c ff 00 0f 42 40 ff ff ff ff ff ff ff ff", r#""1969-12-31T23:59:59.001Z""#),
    ];
    for (bytes, expected) in examples {
        if expected.is_empty() {
            assert_eq!(unpacked(&hex(bytes)), Err(ArgumentError::MessagePack));
        } else {
            assert_eq!(unpacked(&hex(bytes)).as_deref(), Ok(expected), "{bytes}");
        }
    }
}

#[test]
fn messagepack_that_json_cannot_say_is_refused() {
    use ArgumentError::{Extension, Key, MessagePack, NotFinite};
    let faults = [
        ("", MessagePack),
        ("c1", MessagePack),
        ("c0 c0", MessagePack),
        ("92 c0", MessagePack),
        ("81 a1 61", MessagePack),
        ("ca 7f c0 00 00", NotFinite),
        ("cb 7f f0 00 00 00 00 00 00", NotFinite),
        ("cb ff f0 00 00 00 00 00 00", NotFinite),
        ("81 01 02", Key),
        ("81 c0 02", Key),
        ("81 90 02", Key),
        ("82 a1 61 81 a1 62 c0 c4 00 02", Key),
        ("d4 01 00", Extension),
        ("d5 ff 00 00", Extension),
        // A billion nanoseconds, and the year 292277026596.
        ("c7 0c ff 3b 9a ca 00 00 00 00 00 00 00 00 00", Extension),
        ("c7 0c ff 00 00 00 00 7f ff ff ff ff ff ff ff", Extension),
        // The last second before the year 0.
        ("c7 0c ff 00 00 00 00 ff ff ff f1 86 8b 83 ff", Extension),
    ];
    for (bytes, expected) in faults {
        assert_eq!(unpacked(&hex(bytes)), Err(expected), "{bytes}");
    }
    assert_eq!(
        unpacked(&hex("c7 0c ff 00 00 00 00 ff ff ff f1 86 8b 84 00")).as_deref(),
        Ok(r#""0000-01-01T00:00:00.000Z""#)
    );
}

#[test]
fn json_becomes_the_shortest_messagepack() {
    let examples = [
        ("null", "c0"),
        (" false ", "c2"),
        ("0", "00"),
        ("127", "7f"),
        ("128", "cc 80"),
        ("65536", "ce 00 01 00 00"),
        ("18446744073709551615", "cf ff ff ff ff ff ff ff ff"),
        ("-32", "e0"),
        ("-33", "d0 df"),
        ("-9223372036854775808", "d3 80 00 00 00 00 00 00 00"),
        ("1.0", "cb 3f f0 00 00 00 00 00 00"),
        (r#""\u00e9\n""#, "a3 c3 a9 0a"),
        (r#"[ [ ] , { } , "],[" ]"#, "93 90 80 a3 5d 2c 5b"),
        (r#"{ "a" : [1, 2] , "b\"" : { "c" : null } }"#, "82 a1 61 92 01 02 a2 62 22 81 a1 63 c0"),
    ];
    for (json, expected) in examples {
        assert_eq!(packed(json), hex(expected), "{json}");
    }
    assert_eq!(packed(&format!("[{}0]", "0,".repeat(15)))[..3], hex("dc 00 10"));
    for broken in ["", "[", "]", "[1,]", "{1:2}", "1 2", "[1}", "nul", r#""\ud800""#, "1e400"] {
        assert!(crate::protocol::from_json::to_messagepack(broken.as_bytes()).is_err(), "{broken}");
    }
    assert!(crate::protocol::from_json::to_messagepack("[".repeat(100_000).as_bytes()).is_err());
    assert!(crate::protocol::from_json::to_messagepack(b"\"\xFF\"").is_err());
}
