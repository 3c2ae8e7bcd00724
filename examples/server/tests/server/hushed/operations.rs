use serde_json::{Map, Value, json};

use super::{
    doors::{Answer, Door},
    routes::Operations,
    words::{ACTIVE, WORD},
    world::{Person, World},
};

/// What somebody does.
pub(super) struct Call {
    pub(super) by: Person,
    pub(super) fields: Value,
    /// Whether it can't be done here: what is needed for it comes by mail.
    is_refused: bool,
}

/// Does the operation, and sees that it was done.
pub(super) async fn ran(world: &mut World<'_>, operations: &Operations, door: Door, name: &str) {
    let call = call(world, name);
    let answer = door.call(world.server, operations, Some(&call.by.token), name, &call.fields).await;
    match answer {
        Answer::Done(answer) => {
            assert!(!call.is_refused, "{name} through {door:?}: {answer}");
            if let Some(token) = answer["token"].as_str() {
                world.tokens.push(token.to_owned());
            }
        }
        Answer::Refused(why) => {
            assert!(call.is_refused || door.has_no(name), "{name} through {door:?}: {why}");
        }
    }
}

/// How each operation is called. One that is missing here fails the test.
pub(super) fn call(world: &mut World<'_>, name: &str) -> Call {
    let by = match name {
        // What they do can't be done twice by one person.
        "LogOut" | "ChangePassword" | "EraseMe" => world.person(),
        _ => world.ada.clone(),
    };
    let (fields, is_refused) = match name {
        "ResetPassword" => {
            (json!({"token": format!("{WORD}-token"), "new": format!("{WORD} new one")}), true)
        }
        "ConfirmEmail" | "AskToUnsubscribe" | "Unsubscribe" => {
            (json!({"token": format!("{WORD}-token")}), true)
        }
        _ => (fields(world, &by, name), false),
    };
    Call { by, fields, is_refused }
}

fn fields(world: &mut World<'_>, by: &Person, name: &str) -> Value {
    let number = world.number();
    let (chat, bob) = (world.chat.clone(), world.bob.id.clone());
    match name {
        "Live"
        | "Ready"
        | "LogOut"
        | "GetMe"
        | "ExportMe"
        | "RequestEmailConfirmation"
        | "Ping"
        | "Resume"
        | "Sync" => {
            json!({})
        }
        "ListSessions" | "ListChats" => json!({"limit": 10}),
        "GetUser" | "OpenDirectChat" => json!({"userId": bob}),
        "GetPresence" | "WatchPresence" | "UnwatchPresence" => json!({"userIds": [bob]}),
        "GetChat" | "ListMembers" | "GetHistory" => json!({"chatId": chat}),
        "LeaveChat" => json!({"chatId": world.group()}),
        "MarkRead" | "MarkDelivered" => json!({"chatId": chat, "seq": 1}),
        "SetMute" => json!({"chatId": chat, "until": "2099-01-01T00:00:00Z"}),
        "SetNotifications" => json!({"chatId": chat, "level": "none"}),
        "SetRetention" => json!({"chatId": chat, "seconds": 86_400}),
        "SetTyping" => json!({"chatId": chat, "typing": true}),
        "AddMembers" => json!({"chatId": chat, "userIds": [world.person().id]}),
        "RemoveMember" => json!({"chatId": world.group(), "userId": bob}),
        "SetRole" => json!({"chatId": world.group(), "userId": bob, "role": "admin"}),
        "GetMessage" | "DeleteMessage" => json!({"chatId": chat, "messageId": world.message()}),
        "RevokeSession" => json!({"sessionId": world.session()}),
        "FindUsers" => json!({"query": WORD, "limit": 5}),
        "EraseMe" => json!({"password": by.password}),
        "RequestPasswordReset" => json!({"email": by.email}),
        "ChangePassword" => json!({"current": by.password, "new": format!("{WORD} password new")}),
        "LogIn" => json!({"login": by.email, "password": by.password, "device": format!("{WORD} laptop")}),
        "UpdateProfile" => json!({"displayName": format!("{WORD} anew {number}")}),
        "UpdateChat" => json!({"chatId": chat, "title": format!("{WORD} title {number}")}),
        "CreateGroupChat" => {
            json!({"title": format!("{WORD} club"), "memberIds": [bob], "clientId": format!("{WORD}-{number}")})
        }
        "SendMessage" => {
            json!({"chatId": chat, "body": format!("{WORD} text\n{WORD}"), "clientId": format!("{WORD}-{number}")})
        }
        "EditMessage" => {
            json!({"chatId": chat, "messageId": world.message(), "body": format!("{WORD} other text")})
        }
        "RegisterUser" => json!({
            "username": format!("{WORD}_new_{number}"), "email": format!("{WORD}.new.{number}@example.org"),
            "password": format!("{WORD} password"), "displayName": format!("{WORD} name"), "device": format!("{WORD} watch"),
        }),
        _ => panic!("say here how {name} is called"),
    }
}

/// The fields with another value in place of each, and with one too many.
pub(super) fn spoilt(fields: &Value, with: &[Value]) -> Vec<Value> {
    let fields = fields.as_object().cloned().unwrap_or_default();
    let put = |name: &str, value: &Value| {
        let mut other: Map<_, _> = fields.clone();
        other.insert(name.to_owned(), value.clone());
        Value::Object(other)
    };
    let names = fields.keys().map(String::as_str).chain([ACTIVE]);
    names
        .flat_map(|name| with.iter().map(move |value| (name.to_owned(), value)))
        .map(|(name, value)| put(&name, value))
        .collect()
}
