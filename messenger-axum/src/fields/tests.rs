use std::collections::BTreeMap;

use messenger_core::{ChatId, Error, MessageKind, Seq};
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sample {
    chat_id: ChatId,
    seq: Option<Seq>,
    limit: Option<u32>,
    kind: Option<MessageKind>,
    on: Option<bool>,
    body: Option<String>,
    names: Option<Vec<String>>,
    chats: Option<BTreeMap<ChatId, u64>>,
}

#[derive(Debug, Deserialize)]
struct Unit;

const ID: &str = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f";
const PATH: &[Pair<'static>] = &[("chatId", ID)];

fn json(text: &str) -> Result<Sample, String> {
    detail(Fields::of_json(PATH, text.as_bytes()).read())
}

fn query(pairs: &[Pair<'_>]) -> Result<Sample, String> {
    detail(Fields::of_query(PATH, pairs).read())
}

fn detail<T>(read: Result<T, Error>) -> Result<T, String> {
    read.map_err(|error| match error {
        Error::Malformed(detail) => detail,
        other => panic!("{other:?}"),
    })
}

#[test]
fn path_and_body_become_one_command() {
    let sample = json(r#"{"seq":7,"body":"hi \ud83d\ude00","kind":"text","on":null}"#).unwrap();
    assert_eq!(sample.chat_id, ID.parse().unwrap());
    assert_eq!(sample.seq, Some(Seq::new(7)));
    assert_eq!(sample.body.as_deref(), Some("hi 😀"));
    assert_eq!(sample.kind, Some(MessageKind::Text));
    assert_eq!(sample.on, None);
}

#[test]
fn text_of_path_and_query_becomes_what_the_field_asks_for() {
    let sample =
        query(&[("seq", "7"), ("limit", "50"), ("kind", "system"), ("on", "true"), ("body", "12")]).unwrap();
    assert_eq!(sample.seq, Some(Seq::new(7)));
    assert_eq!(sample.limit, Some(50));
    assert_eq!(sample.kind, Some(MessageKind::System));
    assert_eq!(sample.on, Some(true));
    assert_eq!(sample.body.as_deref(), Some("12"));
}

#[test]
fn an_empty_body_is_an_empty_object() {
    assert_eq!(json("").unwrap(), json("{}").unwrap());
    Fields::of_json(&[], b"").read::<Unit>().unwrap();
    Fields::of_json(&[], b"{}").read::<Unit>().unwrap();
    assert!(Fields::of_json(&[], br#"{"a":1}"#).read::<Unit>().is_err());
}

#[test]
fn every_fault_names_its_field() {
    let deep = "[".repeat(100_000);
    let faults = [
        r#"{"chatId":"0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f"}"#,
        r#"{"body":"a","body":"b"}"#,
        r#"{"colour":"red"}"#,
        r#"{"body":1}"#,
        r#"{"seq":-1}"#,
        r#"{"seq":9007199254740993}"#,
        r#"{"limit":4294967296}"#,
        r#"{"names":["a",3]}"#,
        r#"{"chats":{"x":1}}"#,
        r#"{"chats":{"0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f":1,"0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f":2}}"#,
        r#"{"kind":"loud"}"#,
        r#"{"body":"\ud800"}"#,
        r#"{"body":"a"} x"#,
        r#"{"body":"a""#,
        r#"["body"]"#,
        "null",
        "\u{feff}{}",
        " ",
        &format!(r#"{{"names":{deep}"#),
        &format!(r#"{{"names":{{"{deep}":1}}}}"#),
    ]
    .map(|body| json(body).unwrap_err());
    insta::assert_json_snapshot!(faults);
}

#[test]
fn braces_in_a_text_are_no_objects() {
    assert!(json(r#"{"body":"{{\"a\":1,\"a\":1}}","names":["{"]}"#).is_ok());
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let bad = b"{\"body\":\"\xff\"}";
    let detail = detail(Fields::of_json(PATH, bad).read::<Sample>()).unwrap_err();
    assert_eq!(detail, "The body is not valid JSON: invalid unicode code point at line 1 column 10");
}

#[test]
fn faults_of_path_and_query_name_their_field_too() {
    let bad_path = Fields::of_json(&[("chatId", "seven")], b"{\"body\":\"a\"}");
    insta::assert_json_snapshot!([
        detail(bad_path.read::<Sample>()).unwrap_err(),
        query(&[("limit", "many")]).unwrap_err(),
        query(&[("limit", "4294967296")]).unwrap_err(),
        query(&[("limit", "")]).unwrap_err(),
        query(&[("seq", "9007199254740993")]).unwrap_err(),
        query(&[("on", "yes")]).unwrap_err(),
        query(&[("kind", "loud")]).unwrap_err(),
        query(&[("names", "a")]).unwrap_err(),
        query(&[("body", "a"), ("body", "b")]).unwrap_err(),
        query(&[("chatId", ID)]).unwrap_err(),
        query(&[("colour", "red")]).unwrap_err(),
        detail(Fields::of_query(&[], &[]).read::<Sample>()).unwrap_err(),
    ]);
}
