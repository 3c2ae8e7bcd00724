use serde::Serialize;
use serde_json::json;

use super::{
    super::{ArgumentError, Invocation, Message, OwnedArgument, Payload, Protocol},
    BOTH, only_record, payload, read_whole,
};

#[test]
fn protocols_have_names() {
    for protocol in BOTH {
        assert_eq!(Protocol::named(protocol.name()), Some(protocol));
        assert_eq!(Protocol::named(&protocol.name().to_uppercase()), Some(protocol));
    }
    assert_eq!(Protocol::named("xml"), None);
    assert!(Protocol::MessagePack.is_binary() && !Protocol::Json.is_binary());
}

#[test]
fn values_have_the_same_names_in_both_protocols() {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        chat_id: std::net::Ipv4Addr,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u32>,
        kind: Kind,
        other: Kind,
        #[serde(flatten)]
        more: Vec2,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        Plain,
        WithText { text: &'static str },
    }
    #[derive(Serialize)]
    struct Vec2 {
        list: Vec<Option<u8>>,
    }
    let sample = Sample {
        chat_id: [127, 0, 0, 1].into(),
        left_out: None,
        kind: Kind::Plain,
        other: Kind::WithText { text: "a" },
        more: Vec2 { list: vec![Some(1), None] },
    };
    for protocol in BOTH {
        let record = protocol.invocation("event", &sample).unwrap();
        assert_eq!(
            read_whole(protocol, &record),
            concat!(
                r#"invoke "" event({"chatId":"127.0.0.1","kind":"plain","#,
                r#""other":{"withText":{"text":"a"}},"list":[1,null]}) []"#
            ),
        );
        assert_eq!(protocol.request(None, "event", &[payload(protocol, &sample)]), record);
    }
    let no_json = std::collections::BTreeMap::from([([1, 2], 3)]);
    assert!(Protocol::Json.payload(&no_json).is_err());
    assert!(Protocol::Json.invocation("event", &no_json).is_err());
}

#[test]
fn tracked_messages_are_those_of_types_one_to_five() {
    for kind in 1..=9 {
        let record = format!(
            r#"{{"type":{kind},"invocationId":"1","target":"t","arguments":[],"item":0,"sequenceId":1}}"#
        );
        let message = Protocol::Json.read(record.as_bytes()).unwrap();
        assert_eq!(message.is_tracked(), kind <= 5, "{message:?}");
    }
    assert!(!Message::Unknown.is_tracked());
}

#[test]
fn arguments_are_read_as_types_and_faults_quote_nothing() {
    let text = r#"{"type":1,"target":"t","arguments":[7,"secret",[1,2]]}"#;
    let Message::Invocation(json) = Protocol::Json.read(text.as_bytes()).unwrap() else { panic!() };
    let arguments: Vec<_> = [json!(7), json!("secret"), json!([1, 2])]
        .iter()
        .map(|value| payload(Protocol::MessagePack, value))
        .collect();
    let record = Protocol::MessagePack.request(None, "t", &arguments);
    let record = only_record(Protocol::MessagePack, &record);
    let Message::Invocation(packed) = Protocol::MessagePack.read(&record).unwrap() else { panic!() };
    for invocation in [json, packed] {
        let [number, secret, list] = invocation.arguments.try_into().unwrap();
        assert_eq!(number.read::<u32>(), Ok(7));
        assert_eq!(list.read::<(u8, u8)>(), Ok((1, 2)));
        let error = secret.read::<u32>().unwrap_err();
        assert_eq!(error, ArgumentError::WrongType);
        assert!(!format!("{error} {error:?} {secret:?}").contains("secret"));
        let owned = secret.into_owned();
        assert_eq!(owned.json().unwrap().as_ref(), br#""secret""#);
        assert_eq!(owned.read::<String>().as_deref(), Ok("secret"));
        assert!(!format!("{owned:?}").contains("secret"));
    }
    assert_eq!(OwnedArgument::null().read::<Option<u32>>(), Ok(None));
    let borrowed = Protocol::Json.read(text.as_bytes()).unwrap();
    let Message::Invocation(Invocation { target, arguments, .. }) = &borrowed else { panic!() };
    assert!(matches!(target, std::borrow::Cow::Borrowed(_)));
    assert!(matches!(arguments[0].json(), Ok(std::borrow::Cow::Borrowed(_))));
    assert_eq!(
        format!("{:?} {:?}", arguments[1], Payload::of_json(Protocol::Json, "12".into()).unwrap()),
        "Argument(json, 8 bytes) Payload(2 bytes)"
    );
}
