use serde_json::json;

use super::{
    super::{Malformed, Payload, Protocol},
    payload, told,
};

fn read_json(record: &str) -> Result<String, Malformed> {
    Protocol::Json.read(record.as_bytes()).map(|message| told(&message))
}

#[test]
fn json_of_clients_is_read() {
    let examples = [
        (
            r#"{"target":"Echo","arguments":[{"a":1}],"invocationId":"0","type":1}"#,
            r#"invoke "0" Echo({"a":1}) []"#,
        ),
        (r#"{"invocationId":"s1","result":"answer","type":3}"#, r#"completion "s1" value "answer""#),
        (
            r#"{"target":"Upload","arguments":[],"invocationId":"12","streamIds":["11"],"type":1}"#,
            r#"invoke "12" Upload() ["11"]"#,
        ),
        (r#"{"invocationId":"11","item":1,"type":2}"#, r#"item "11" 1"#),
        (r#"{"invocationId":"11","type":3}"#, r#"completion "11" void"#),
        (
            r#"{"error":"client gave up","invocationId":"11","type":3}"#,
            r#"completion "11" error "client gave up""#,
        ),
        (r#"{"invocationId":"10","type":5}"#, r#"cancel "10""#),
        (r#"{"type":6}"#, "ping"),
        (r#"{"type":7,"error":"x","allowReconnect":true}"#, r#"close Some("x")"#),
        (r#"{"type":7}"#, "close None"),
        (r#"{"type":8,"sequenceId":5}"#, "ack 5"),
        (r#"{"type":9,"sequenceId":1}"#, "sequence 1"),
        (
            r#"{"type":4,"target":"s","invocationId":"8","arguments":[ 1 , "a" ],"headers":{"a":"b"}}"#,
            r#"stream "8" s(1, "a") []"#,
        ),
        (r#"{"type":1,"target":"a\"b","arguments":[],"streamIds":null}"#, r#"invoke "" a"b() []"#),
        (r#"{"type":1,"target":"t","arguments":[],"invocationId":null}"#, r#"invoke "" t() []"#),
        (r#"{"type":1,"target":"t","arguments":[],"invocationId":"","x":null}"#, r#"invoke "" t() []"#),
        (r#"{"type":2,"invocationId":"8","item":null}"#, r#"item "8" null"#),
        (r#"{"type":3,"invocationId":"8","result":null}"#, r#"completion "8" value null"#),
        (r#"{"type":3,"invocationId":"8","error":null}"#, r#"completion "8" void"#),
        (r#"{"type":99,"error":{},"target":1}"#, "unknown"),
        (r#"{"type":-1}"#, "unknown"),
        (r#"{"type":0}"#, "unknown"),
        ("\r\n\t {\"type\":6} ", "ping"),
    ];
    for (record, expected) in examples {
        assert_eq!(read_json(record).as_deref(), Ok(expected), "{record}");
    }
}

#[test]
fn json_with_a_fault_is_refused() {
    use Malformed::{Duplicate, ErrorAndResult, Json, Missing, WrongType};
    let faults = [
        ("", Json),
        ("{}{}", Json),
        ("[1]", Json),
        (r#"[1,"0","t",[]]"#, Json),
        ("null", Json),
        (r#"{"type":6"#, Json),
        (r#"{"type":6,}"#, Json),
        ("{\"type\":6,\"a\":\"\n\"}", Json),
        ("{}", Missing("type")),
        (r#"{"type":null}"#, Missing("type")),
        (r#"{"type":"6"}"#, WrongType("type")),
        (r#"{"type":6.0}"#, WrongType("type")),
        (r#"{"type":18446744073709551616}"#, WrongType("type")),
        (r#"{"type":6,"type":6}"#, Duplicate),
        (r#"{"type":6,"item":1,"item":1}"#, Duplicate),
        (r#"{"type":6,"error":null,"error":null}"#, Duplicate),
        (r#"{"type":1,"target":"t","arguments":[],"invocationId":1}"#, WrongType("invocationId")),
        (r#"{"type":1,"target":"t"}"#, Missing("arguments")),
        (r#"{"type":1,"target":"t","arguments":null}"#, Missing("arguments")),
        (r#"{"type":1,"target":"t","arguments":{}}"#, WrongType("arguments")),
        (r#"{"type":1,"arguments":[]}"#, Missing("target")),
        (r#"{"type":1,"target":1,"arguments":[]}"#, WrongType("target")),
        (r#"{"type":1,"target":"\ud800","arguments":[]}"#, WrongType("target")),
        (r#"{"type":1,"target":"t","arguments":[],"streamIds":[1]}"#, WrongType("streamIds")),
        (r#"{"type":1,"target":"t","arguments":[],"streamIds":"1"}"#, WrongType("streamIds")),
        (r#"{"type":4,"target":"t","arguments":[]}"#, Missing("invocationId")),
        (r#"{"type":4,"target":"t","arguments":[],"invocationId":""}"#, Missing("invocationId")),
        (r#"{"type":2,"invocationId":"1"}"#, Missing("item")),
        (r#"{"type":2,"item":1}"#, Missing("invocationId")),
        (r#"{"type":3}"#, Missing("invocationId")),
        (r#"{"type":3,"invocationId":"1","error":"a","result":1}"#, ErrorAndResult),
        (r#"{"type":3,"invocationId":"1","error":"a","result":null}"#, ErrorAndResult),
        (r#"{"type":3,"invocationId":"1","error":1}"#, WrongType("error")),
        (r#"{"type":5}"#, Missing("invocationId")),
        (r#"{"type":8}"#, Missing("sequenceId")),
        (r#"{"type":8,"sequenceId":-1}"#, WrongType("sequenceId")),
        (r#"{"type":9,"sequenceId":"1"}"#, WrongType("sequenceId")),
    ];
    for (record, expected) in faults {
        assert_eq!(read_json(record), Err(expected), "{record}");
    }
    assert_eq!(Protocol::Json.read(b"{\"type\":6,\"a\":\"\xFF\"}").unwrap_err(), Malformed::Utf8);
}

#[test]
fn json_is_as_deep_as_dotnet_allows() {
    let nested = |levels: usize| {
        let (begin, end) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"type":2,"invocationId":"[[[[\"{{","item":{begin}{end}}}"#)
    };
    assert!(read_json(&nested(63)).is_ok());
    assert_eq!(read_json(&nested(64)), Err(Malformed::TooDeep));
    assert_eq!(read_json(&nested(100_000)), Err(Malformed::TooDeep));
    let unknown = format!(r#"{{"type":6,"more":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(read_json(&unknown), Err(Malformed::TooDeep));
    let brackets = format!(r#"{{"type":2,"invocationId":"1","item":"{}"}}"#, "[{\\\"".repeat(1_000));
    assert!(read_json(&brackets).is_ok());
}

#[test]
fn json_for_clients_is_written() {
    let protocol = Protocol::Json;
    let why = payload(protocol, "why");
    let object = payload(protocol, json!({"a": 1}));
    let void = Payload::void();
    let examples = [
        (protocol.completion("0", Ok(&object)), r#"{"type":3,"invocationId":"0","result":{"a":1}}"#),
        (protocol.completion("3", Err("…")), r#"{"type":3,"invocationId":"3","error":"…"}"#),
        (protocol.completion("8", Ok(&void)), r#"{"type":3,"invocationId":"8"}"#),
        (protocol.stream_item("8", &payload(protocol, 0)), r#"{"type":2,"invocationId":"8","item":0}"#),
        (protocol.stream_item("8", &void), r#"{"type":2,"invocationId":"8","item":null}"#),
        (
            protocol.invocation("message", "hi").unwrap(),
            r#"{"type":1,"target":"message","arguments":["hi"]}"#,
        ),
        (
            protocol.request(Some("s1"), "ask", std::slice::from_ref(&why)),
            r#"{"type":1,"invocationId":"s1","target":"ask","arguments":["why"]}"#,
        ),
        (
            protocol.request(Some(""), "a\"b", &[why, void, object]),
            r#"{"type":1,"target":"a\"b","arguments":["why",null,{"a":1}]}"#,
        ),
        (protocol.request(None, "t", &[]), r#"{"type":1,"target":"t","arguments":[]}"#),
        (protocol.ping(), r#"{"type":6}"#),
        (protocol.close(None, false), r#"{"type":7}"#),
        (protocol.close(Some(""), true), r#"{"type":7,"allowReconnect":true}"#),
        (protocol.close(Some("x"), true), r#"{"type":7,"error":"x","allowReconnect":true}"#),
        (protocol.ack(5), r#"{"type":8,"sequenceId":5}"#),
        (protocol.sequence(1), r#"{"type":9,"sequenceId":1}"#),
    ];
    for (record, expected) in examples {
        assert_eq!(String::from_utf8(record.into()).unwrap(), format!("{expected}\x1E"));
    }
}
