use super::super::{Malformed, handshake};

#[test]
fn handshakes_are_read() {
    let read = |text: &'static str| {
        handshake::read(text.as_bytes()).map(|request| (request.protocol.into_owned(), request.version))
    };
    assert_eq!(read(r#"{"protocol":"json","version":1}"#), Ok(("json".into(), 1)));
    assert_eq!(read(r#"{"protocol":"messagepack","version":2}"#), Ok(("messagepack".into(), 2)));
    assert_eq!(read(r#" {"protocol": "json", "version": 0} "#), Ok(("json".into(), 0)));
    assert_eq!(read(r#"{"version":-1,"more":[{}],"protocol":"\u006a"}"#), Ok(("j".into(), -1)));
    assert_eq!(read(r#"{"type":6}"#), Err(Malformed::Missing("protocol")));
    assert_eq!(read(r#"{"protocol":null,"version":1}"#), Err(Malformed::Missing("protocol")));
    assert_eq!(read(r#"{"protocol":"json"}"#), Err(Malformed::Missing("version")));
    assert_eq!(read(r#"{"protocol":"json","version":"1"}"#), Err(Malformed::WrongType("version")));
    assert_eq!(read(r#"{"protocol":"json","version":1.5}"#), Err(Malformed::WrongType("version")));
    assert_eq!(read(r#"{"protocol":"json","version":2147483648}"#), Err(Malformed::WrongType("version")));
    assert_eq!(read(r#"{"protocol":1,"version":1}"#), Err(Malformed::WrongType("protocol")));
    assert_eq!(read(r#"{"protocol":"a","protocol":"a","version":1}"#), Err(Malformed::Duplicate));
    for broken in ["", "{", r#"["json",1]"#, "null", r#"{"protocol":"json","version":1}}"#] {
        assert_eq!(read(broken), Err(Malformed::Json), "{broken}");
    }
}

#[test]
fn handshakes_are_answered() {
    assert_eq!(&handshake::accepted()[..], b"{}\x1E");
    assert_eq!(
        &handshake::refused("The protocol 'x\"' is not supported.")[..],
        b"{\"error\":\"The protocol 'x\\\"' is not supported.\"}\x1E"
    );
}
