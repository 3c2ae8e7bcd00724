//! Bad input for every method there is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    methods::OWN,
    support::{ID, PASSWORD, Person, Server, Socket, is_fault, is_refusal, names},
};

/// A method with its fields, and whether each must be there.
struct Method {
    name: String,
    fields: BTreeMap<String, bool>,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// Of any form, for it may be of another release.
    Position,
    Id,
    Ids,
    Number,
    Bool,
    Object,
}

/// Those of the API's description, and those that only sockets have.
fn methods() -> Vec<Method> {
    let document: Value =
        serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap();
    let routes =
        document["paths"].as_object().unwrap().values().flat_map(|route| route.as_object().unwrap().values());
    let mut methods = Vec::new();
    for operation in routes.filter(|operation| operation["security"] != json!([])) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        // A download, which sockets don't have.
        if name == "ExportMe" {
            continue;
        }
        let mut fields = BTreeMap::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let required = parameter["required"] == true;
            fields.insert(parameter["name"].as_str().unwrap().to_owned(), required);
        }
        if operation["requestBody"].is_object() {
            let schema = &document["components"]["schemas"][&name];
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for field in schema["properties"].as_object().into_iter().flat_map(Map::keys) {
                fields.insert(field.clone(), required.contains(&json!(field)));
            }
        }
        methods.push(Method { name, fields });
    }
    for (name, field) in
        OWN.into_iter().zip([Some(("chats", false)), Some(("userIds", true)), Some(("userIds", true)), None])
    {
        let fields = field.into_iter().map(|(name, required)| (name.to_owned(), required)).collect();
        methods.push(Method { name: name.to_owned(), fields });
    }
    assert!(methods.len() >= 34 && methods.iter().map(|method| method.fields.len()).sum::<usize>() > 60);
    methods
}

fn kind(field: &str) -> Kind {
    match field {
        "chatId" | "userId" | "messageId" | "sessionId" | "replyTo" => Kind::Id,
        "userIds" | "memberIds" => Kind::Ids,
        "seq" | "before" | "after" | "around" | "limit" | "seconds" => Kind::Number,
        "typing" => Kind::Bool,
        "position" => Kind::Position,
        "notifications" | "chats" => Kind::Object,
        _ => Kind::Text,
    }
}

/// Somebody with chats, and what fits into the fields of requests.
struct World {
    ada: Person,
    eve: Person,
    socket: Socket,
    fitting: BTreeMap<&'static str, Value>,
}

impl World {
    async fn new() -> Self {
        let server = Server::new().await;
        let [ada, bob, eve] = server.people(["ada", "bob", "eve"]).await;
        let chat = ada.group(&[&bob]).await;
        let mut socket = ada.connect().await;
        let message = socket.says(&chat, "hello").await["id"].clone();
        let session = socket.ok("ListSessions", json!({})).await["items"][0]["id"].clone();
        let fitting = BTreeMap::from([
            ("chatId", json!(chat)),
            ("userId", json!(bob.id)),
            ("messageId", message.clone()),
            ("replyTo", message),
            ("sessionId", session),
            ("userIds", json!([bob.id])),
            ("memberIds", json!([bob.id])),
            ("seq", json!(1)),
            ("before", json!(1)),
            ("after", json!(1)),
            ("around", json!(1)),
            ("limit", json!(10)),
            ("seconds", json!(86_400)),
            ("typing", json!(true)),
            ("notifications", json!({"email": true})),
            ("chats", json!({&chat: 1})),
            ("body", json!("hi")),
            ("title", json!("Coffee")),
            ("clientId", json!("c-1")),
            ("role", json!("member")),
            ("until", json!("2030-01-01T00:00:00Z")),
            ("cursor", json!("eyJ4IjoxfQ")),
            ("position", json!("eyJ4IjoxfQ")),
            ("query", json!("bob")),
            ("displayName", json!("Ada")),
            ("email", json!("ada@example.org")),
            ("language", json!("en")),
            ("timeZone", json!("Europe/Berlin")),
            ("level", json!("none")),
            ("password", json!(PASSWORD)),
            ("current", json!(PASSWORD)),
            ("new", json!("battery staple")),
        ]);
        Self { ada, eve, socket, fitting }
    }

    /// Fields that fit: all that must be there.
    fn fields(&self, method: &Method) -> Map<String, Value> {
        let required = method.fields.iter().filter(|(_, required)| **required);
        required.map(|(field, _)| (field.clone(), self.fitting[field.as_str()].clone())).collect()
    }

    /// The same, but for one field.
    fn with(&self, method: &Method, field: &str, value: Value) -> Value {
        let mut fields = self.fields(method);
        fields.insert(field.to_owned(), value);
        fields.into()
    }

    /// Everything that somebody could have changed.
    async fn state(&self) -> Value {
        let mut socket = self.ada.connect().await;
        json!({
            "me": socket.ok("GetMe", json!({})).await,
            "chats": socket.ok("ListChats", json!({})).await,
            "members": socket.ok("ListMembers", json!({"chatId": self.fitting["chatId"]})).await,
            "history": self.ada.history(self.fitting["chatId"].as_str().unwrap()).await,
            "sessions": socket.ok("ListSessions", json!({})).await["items"].as_array().unwrap().len(),
        })
    }

    /// Sends the text of a request, in which `"@"` stands for the JSON text of a value.
    async fn raw(&mut self, method: &Method, fields: &Value, text: &str) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": "raw", "method": method.name, "params": fields});
        self.socket.send(request.to_string().replace(r#""@""#, text)).await;
        self.frame().await
    }

    /// The next answer, whatever events come before it.
    async fn frame(&mut self) -> Value {
        loop {
            let frame = self.socket.frame().await;
            if frame.get("method").is_none() {
                return frame;
            }
        }
    }
}

#[track_caller]
fn is_refused(answer: &Value, codes: &[&str], what: &str) {
    let code = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{what}: {answer:.200}"));
    assert!(codes.contains(&code), "{what}: {answer:.300}");
    is_refusal(answer, code);
}

#[tokio::test]
async fn fields_that_are_missing_or_too_many_are_named() {
    let mut world = World::new().await;
    let before = world.state().await;
    for method in methods() {
        for (field, _) in method.fields.iter().filter(|(_, required)| **required) {
            let mut fields = world.fields(&method);
            fields.remove(field);
            let problem = world.socket.refused(&method.name, fields.into(), "malformed").await;
            assert_eq!(problem["detail"], format!("missing field `{field}`"), "{}", method.name);
        }
        for unknown in ["nosuchfield", "ChatId", "actor", "senderId", "", "\0"] {
            let fields = world.with(&method, unknown, json!(1));
            let problem = world.socket.refused(&method.name, fields, "malformed").await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("unknown field `{unknown}`")), "{}: {detail}", method.name);
        }
        for field in method.fields.keys() {
            let mut request = json!({"jsonrpc": "2.0", "id": 7, "method": method.name}).to_string();
            let value = world.fitting[field.as_str()].to_string();
            request.pop();
            world
                .socket
                .send(format!(r#"{request},"params":{{"{field}":{value},"{field}":{value}}}}}"#))
                .await;
            is_refused(&world.frame().await, &["malformed"], &format!("{} with {field} twice", method.name));
        }
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn fields_of_the_wrong_type() {
    let mut world = World::new().await;
    let before = world.state().await;
    let values = [
        (Kind::Text, json!("text")),
        (Kind::Number, json!(7)),
        (Kind::Bool, json!(true)),
        (Kind::Object, json!({})),
        (Kind::Ids, json!([])),
    ];
    for method in methods() {
        for (field, required) in &method.fields {
            let of = kind(field);
            let of = if of == Kind::Position { Kind::Text } else { of };
            for (_, value) in values.iter().filter(|(kind, _)| *kind != of) {
                let what = format!("{} with {field} {value}", method.name);
                let answer = world.socket.call(&method.name, world.with(&method, field, value.clone())).await;
                is_refused(&answer, &["malformed"], &what);
            }
            if *required {
                let answer = world.socket.call(&method.name, world.with(&method, field, Value::Null)).await;
                is_refused(&answer, &["malformed"], &format!("{} with {field} null", method.name));
            }
            let deep = json!(format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)));
            let fields = world.with(&method, field, json!("@"));
            let answer = world.raw(&method, &fields, deep.as_str().unwrap()).await;
            is_refused(&answer, &["malformed"], &format!("{} with {field} too deep", method.name));
        }
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn values_that_do_not_fit() {
    let mut world = World::new().await;
    let before = world.state().await;
    let long = "x".repeat(200_000);
    let bare = ID.replace('-', "");
    for method in methods() {
        for field in method.fields.keys() {
            let bad: Vec<Value> = match kind(field) {
                // An empty one is none.
                Kind::Text if matches!(field.as_str(), "language" | "timeZone") => {
                    vec![json!(" "), json!("\0"), json!("a\0b"), json!(long)]
                }
                Kind::Text => vec![json!(""), json!(" "), json!("\0"), json!("a\0b"), json!(long)],
                Kind::Id => vec![
                    json!(""),
                    json!("seven"),
                    json!("\0"),
                    json!(long),
                    json!(bare),
                    json!(format!("{{{ID}}}")),
                ],
                Kind::Ids => vec![json!(["seven"]), json!([null]), json!([7]), json!([[ID]]), json!([""])],
                Kind::Number => {
                    vec![json!(-1), json!(1.5), json!(9_007_199_254_740_992_u64), json!(u64::MAX)]
                }
                Kind::Bool | Kind::Position => vec![],
                Kind::Object => {
                    vec![json!({"seven": 1}), json!({"email": "yes"}), json!({ID: null}), json!({"": {}})]
                }
            };
            for value in bad {
                let what = format!("{} with {field} {:.30}", method.name, value.to_string());
                let answer = world.socket.call(&method.name, world.with(&method, field, value)).await;
                is_refused(&answer, &["malformed", "invalid", "invalidCredentials"], &what);
            }
            if matches!(kind(field), Kind::Text | Kind::Id) {
                for text in [r#""\ud83d""#, r#""\udd80""#, r#""a\ud83d\ud83d""#, r#""\u00""#] {
                    let fields = world.with(&method, field, json!("@"));
                    let answer = world.raw(&method, &fields, text).await;
                    let what = format!("{} with {field} {text}", method.name);
                    // What is not even JSON is none of a method.
                    if text == r#""\u00""# {
                        is_fault(&answer, -32700);
                    } else {
                        is_refused(&answer, &["malformed"], &what);
                    }
                }
            }
            if kind(field) == Kind::Number {
                for number in ["1e400", "-0.5", "1e2", "10000000000000000000000"] {
                    let fields = world.with(&method, field, json!("@"));
                    let answer = world.raw(&method, &fields, number).await;
                    is_refused(&answer, &["malformed"], &format!("{} with {field} {number}", method.name));
                }
            }
            if field == "limit" {
                for limit in [0, 201] {
                    let answer =
                        world.socket.call(&method.name, world.with(&method, field, json!(limit))).await;
                    is_refused(&answer, &["invalid"], &format!("{} with limit {limit}", method.name));
                }
            }
        }
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn text_of_all_kinds_comes_back_as_it_was() {
    let mut world = World::new().await;
    let chat = world.fitting["chatId"].clone();
    let longest = "\u{1F980}".repeat(8000);
    for body in [
        "\u{202e}\u{feff}\u{200b}x",
        "\u{1}\u{7f}\u{85}\u{2028}x",
        "\u{FFFF}\u{10FFFF}",
        "e\u{301}\u{301}\u{301}",
        "</script>\"'\\`${}%00{}",
        " \n\tx\n ",
        &longest,
    ] {
        let sent = world.socket.ok("SendMessage", json!({"chatId": chat, "body": body})).await;
        assert_eq!(sent["body"], body);
        let place = json!({"chatId": chat, "messageId": sent["id"]});
        assert_eq!(world.socket.ok("GetMessage", place).await["body"], body);
        let event = loop {
            let (name, payload) = world.socket.event().await;
            if name == "messageCreated" && payload["message"]["id"] == sent["id"] {
                break payload;
            }
        };
        assert_eq!(event["message"]["body"], body);
    }
    let too_long = json!({"chatId": chat, "body": format!("{longest}x")});
    world.socket.refused("SendMessage", too_long, "invalid").await;
}

#[tokio::test]
async fn things_that_do_not_exist() {
    let mut world = World::new().await;
    let before = world.state().await;
    for method in methods() {
        for field in method.fields.keys() {
            let (value, codes): (_, &[&str]) = match (kind(field), method.name.as_str()) {
                (Kind::Id, _) if field == "replyTo" => (json!(ID), &["invalid"]),
                (Kind::Id, _) => (json!(ID), &["notFound"]),
                // Presence of somebody unknown: they are not there.
                (Kind::Ids, "GetPresence" | "WatchPresence" | "UnwatchPresence") => {
                    (json!(vec![ID; 201]), &["invalid"])
                }
                (Kind::Ids, _) => (json!([ID]), &["invalid"]),
                _ => continue,
            };
            let what = format!("{} with an unknown {field}", method.name);
            let answer = world.socket.call(&method.name, world.with(&method, field, value)).await;
            is_refused(&answer, codes, &what);
        }
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn things_of_others() {
    let mut world = World::new().await;
    let mut eves = world.eve.connect().await;
    let own = eves.ok("CreateGroupChat", json!({"title": "Mine", "memberIds": []})).await["id"].clone();
    eves.expect("chatAdded").await;
    let before = world.state().await;
    for method in methods() {
        let fields = world.fields(&method);
        // All of this is somebody else's: there is no such thing.
        if fields.contains_key("chatId") || fields.contains_key("sessionId") {
            let answer = eves.call(&method.name, fields.clone().into()).await;
            is_refused(&answer, &["notFound"], &method.name);
            let unknown = world.with(&method, "chatId", json!(ID));
            if fields.contains_key("chatId") {
                // And it looks as if it were none.
                assert_eq!(
                    eves.call(&method.name, unknown).await["error"],
                    answer["error"],
                    "{}",
                    method.name
                );
            }
        }
        // A message of another chat.
        if fields.contains_key("messageId") {
            let answer = eves.call(&method.name, world.with(&method, "chatId", own.clone())).await;
            is_refused(&answer, &["notFound"], &method.name);
        }
    }
    let answer = json!({"chatId": own, "body": "hi", "replyTo": world.fitting["messageId"]});
    eves.refused("SendMessage", answer, "invalid").await;
    // A chat of somebody else in a resume is one that is not one's own.
    eves.ok("Resume", json!({"chats": {world.fitting["chatId"].as_str().unwrap(): 1}})).await;
    let mut told = eves.until_caught_up().await;
    told.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(names(&told), ["chatAdded", "chatRemoved"]);
    assert_eq!((&told[0].1["chat"]["id"], &told[1].1["chatId"]), (&own, &world.fitting["chatId"]));
    world.socket.ok("Ping", json!({})).await;
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn roles_are_kept() {
    let mut world = World::new().await;
    let bob = Person {
        id: world.fitting["userId"].as_str().unwrap().into(),
        token: world.ada.server.log_in("bob", PASSWORD).await,
        ..world.ada.clone()
    };
    let mut bobs = bob.connect().await;
    let before = world.state().await;
    let field = |name: &str| world.fitting[name].clone();
    let (chat, eve) = (field("chatId"), world.eve.id.clone());
    for (method, params) in [
        ("UpdateChat", json!({"chatId": chat, "title": "Mine"})),
        ("AddMembers", json!({"chatId": chat, "userIds": [eve]})),
        ("RemoveMember", json!({"chatId": chat, "userId": world.ada.id})),
        ("SetRole", json!({"chatId": chat, "userId": bob.id, "role": "owner"})),
        ("EditMessage", json!({"chatId": chat, "messageId": field("messageId"), "body": "never said"})),
        ("DeleteMessage", json!({"chatId": chat, "messageId": field("messageId")})),
    ] {
        bobs.refused(method, params, "forbidden").await;
    }
    assert_eq!(world.state().await, before);
    world.socket.ok("Ping", json!({})).await;
}

#[tokio::test]
async fn a_resume_of_five_thousand_chats() {
    let world = World::new().await;
    let chats: Map<String, Value> =
        (0..5000).map(|n| (format!("0193a5c1-7e2b-7c3d-8e4f-{n:012}"), json!(n))).collect();
    let (mut socket, told) = world.eve.resume(chats.into()).await;
    assert_eq!(told.len(), 5000);
    assert!(told.iter().all(|(name, _)| name == "chatRemoved"));
    socket.ok("Ping", json!({})).await;
}
