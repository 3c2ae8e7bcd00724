use proptest::{collection::vec, prelude::*};
use rmp::encode;
use serde_json::Value;

use super::{
    super::{Message, Protocol, fuzzing, handshake, transcode},
    BOTH, hex, packed, unpacked,
};

/// Any JSON; floating-point numbers are chosen so that reading them is exact.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 256.0)),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            vec((".{0,6}", inner), 0..20).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// MessagePack in any encoding, and its meaning in JSON.
#[derive(Debug, Clone)]
struct Tree {
    bytes: Vec<u8>,
    json: Value,
}

impl Tree {
    fn of(json: impl Into<Value>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::new();
        write(&mut bytes);
        Self { bytes, json: json.into() }
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let leaf = prop_oneof![
        Just(Tree::of((), |out| encode::write_nil(out).unwrap())),
        any::<bool>().prop_map(|value| Tree::of(value, |out| encode::write_bool(out, value).unwrap())),
        any::<i64>().prop_map(|value| Tree::of(value, |out| encode::write_i64(out, value).unwrap())),
        any::<u64>().prop_map(|value| Tree::of(value, |out| encode::write_u64(out, value).unwrap())),
        any::<i8>().prop_map(|value| Tree::of(value, |out| {
            encode::write_sint(out, value.into()).unwrap();
        })),
        any::<i32>().prop_map(|value| {
            let value = f64::from(value) / 256.0;
            Tree::of(value, |out| encode::write_f64(out, value).unwrap())
        }),
        ".{0,40}".prop_map(|text| Tree::of(text.as_str(), |out| encode::write_str(out, &text).unwrap())),
        vec(any::<u8>(), 0..300).prop_map(|bytes| Tree::of(STANDARD.encode(&bytes), |out| {
            encode::write_bin(out, &bytes).unwrap();
        })),
        any::<u32>().prop_map(|seconds| {
            let time = time::OffsetDateTime::from_unix_timestamp(seconds.into()).unwrap();
            let text = time.format(&time::format_description::well_known::Rfc3339).unwrap();
            Tree::of(text.replace('Z', ".000Z"), |out| {
                encode::write_ext_meta(out, 4, -1).unwrap();
                out.extend_from_slice(&seconds.to_be_bytes());
            })
        }),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(|items| {
                let json: Value = items.iter().map(|item| item.json.clone()).collect();
                Tree::of(json, |out| {
                    encode::write_array_len(out, items.len() as u32).unwrap();
                    items.iter().for_each(|item| out.extend_from_slice(&item.bytes));
                })
            }),
            vec((".{0,6}", inner), 0..20).prop_map(|members| {
                let json: Value =
                    members.iter().map(|(key, item)| (key.clone(), item.json.clone())).collect();
                Tree::of(json, |out| {
                    encode::write_map_len(out, members.len() as u32).unwrap();
                    for (key, item) in &members {
                        encode::write_str(out, key).unwrap();
                        out.extend_from_slice(&item.bytes);
                    }
                })
            }),
        ]
    })
}

/// Input that resembles records more than random bytes do.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            &b"{\"type\":1,\"target\":\"t\",\"arguments\":[1,\"a\",{}]}\x1E"[..],
            b"{\"type\":3,\"invocationId\":\"1\",\"result\":1.5}\x1E",
            b"{\"protocol\":\"json\",\"version\":1}\x1E",
            b"\x0b\x95\x01\x80\xa1\x31\xa4\x56\x6f\x69\x64\x90",
            b"\x07\x95\x03\x80\xa1\x32\x03\xc0",
            b"\x02\x91\x06",
            b"[[{\"a\":",
            b"\x1E",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_break_it(input in any_input()) {
        fuzzing::json(&input);
        fuzzing::messagepack(&input);
        fuzzing::handshake(&input);
        for protocol in BOTH {
            let _ = protocol.read(&input);
        }
        let _ = handshake::read(&input);
        let _ = transcode::to_json(&input);
        let _ = crate::protocol::from_json::to_messagepack(&input);
    }

    #[test]
    fn json_survives_messagepack(value in any_json()) {
        let text = value.to_string();
        let packed = packed(&text);
        prop_assert_eq!(&rmp_serde::from_slice::<Value>(&packed).unwrap(), &value);
        prop_assert_eq!(unpacked(&packed).unwrap(), text);
        let payload = Protocol::MessagePack.payload(&value).unwrap();
        prop_assert_eq!(payload.or(b""), &packed[..]);
    }

    #[test]
    fn messagepack_reads_back(tree in any_tree()) {
        let mut record = hex("95 01 80 c0 a1 74 91");
        record.extend_from_slice(&tree.bytes);
        let Message::Invocation(invocation) = Protocol::MessagePack.read(&record).unwrap() else { panic!() };
        prop_assert_eq!(invocation.arguments[0].read::<Value>().unwrap(), tree.json);
        for end in 0..record.len() {
            prop_assert!(Protocol::MessagePack.read(&record[..end]).is_err());
        }
    }

    #[test]
    fn floats_survive_to_the_bit(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        let packed = rmp_serde::to_vec(&number).unwrap();
        let text = unpacked(&packed).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }
}
