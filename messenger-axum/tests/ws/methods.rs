//! Every command and query by its name.

use std::collections::BTreeSet;

use messenger_axum::Options;
use serde_json::{Value, json};

use crate::support::{ID, PASSWORD, Person, Server, Socket};

/// Of these a session is made, or they are pages or downloads, or for those who operate the service.
const WITHOUT_METHOD: [&str; 7] =
    ["RegisterUser", "LogIn", "Live", "Ready", "AskToUnsubscribe", "Unsubscribe", "ExportMe"];

/// The names of the operations that are methods of sockets, as the API's description lists them.
pub(crate) fn operations() -> Vec<String> {
    let document: Value =
        serde_json::from_slice(&messenger_axum::openapi(&messenger_core::Limits::default())).unwrap();
    let routes = document["paths"].as_object().unwrap().values();
    let operations = routes.flat_map(|route| route.as_object().unwrap().values());
    let names = operations.filter_map(|operation| Some(operation["operationId"].as_str()?.to_owned()));
    let names: Vec<String> = names.filter(|name| !WITHOUT_METHOD.contains(&name.as_str())).collect();
    assert!(names.len() >= 30, "{names:?}");
    names
}

/// What only sockets have.
pub(crate) const OWN: [&str; 4] = ["Resume", "WatchPresence", "UnwatchPresence", "Ping"];

/// Calls methods in all kinds of spelling, and remembers which.
struct Caller {
    socket: Socket,
    called: BTreeSet<String>,
}

impl Caller {
    async fn call(&mut self, method: &str, params: Value) -> Value {
        let spelling = match self.called.len() % 3 {
            0 => method.to_owned(),
            1 => method.to_lowercase(),
            _ => method.to_uppercase(),
        };
        self.called.insert(method.to_owned());
        self.socket.ok(&spelling, params).await
    }
}

async fn people() -> (Caller, Person, Person) {
    let (messenger, _) = messenger_core::doc::mailing();
    let server = Server::serving(messenger, Options::new().rate_limits(None)).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    (Caller { socket: ada.connect().await, called: BTreeSet::new() }, ada, bob)
}

#[tokio::test]
async fn every_operation_is_a_method() {
    let (mut ada, person, bob) = people().await;
    mails(&mut ada).await;
    chats(&mut ada, &bob).await;
    messages(&mut ada, &bob).await;
    presence(&mut ada, &bob).await;
    account(&mut ada, &person).await;
    let all: BTreeSet<String> = operations().into_iter().chain(OWN.map(String::from)).collect();
    assert_eq!(ada.called, all);
}

async fn chats(ada: &mut Caller, bob: &Person) {
    let direct = ada.call("OpenDirectChat", json!({"userId": bob.id})).await;
    assert_eq!((&direct["kind"], &direct["peer"]["id"]), (&json!("direct"), &json!(bob.id)));
    assert_eq!(ada.call("OpenDirectChat", json!({"userId": bob.id})).await["id"], direct["id"]);
    let group = ada.call("CreateGroupChat", json!({"title": "Tea", "memberIds": []})).await;
    let chat = &group["id"];
    assert_eq!(ada.call("ListChats", json!({"limit": 1})).await["items"][0]["id"], *chat);
    assert_eq!(ada.call("UpdateChat", json!({"chatId": chat, "title": "Coffee"})).await["title"], "Coffee");
    assert_eq!(ada.call("GetChat", json!({"chatId": chat})).await["revision"], 2);
    let added = ada.call("AddMembers", json!({"chatId": chat, "userIds": [bob.id]})).await;
    assert_eq!(added, json!({"added": [bob.id]}));
    let member = ada.call("SetRole", json!({"chatId": chat, "userId": bob.id, "role": "admin"})).await;
    assert_eq!((&member["user"]["id"], &member["role"]), (&json!(bob.id), &json!("admin")));
    let members = ada.call("ListMembers", json!({"chatId": chat})).await;
    assert_eq!(members["items"].as_array().unwrap().len(), 2);
    let muted = ada.call("SetMute", json!({"chatId": chat, "until": "2030-01-01T00:00:00.000Z"})).await;
    assert_eq!(muted["me"]["mutedUntil"], "2030-01-01T00:00:00.000Z");
    let quiet = ada.call("SetNotifications", json!({"chatId": chat, "level": "mentions"})).await;
    assert_eq!(quiet["me"]["notifications"], "mentions");
    let kept = ada.call("SetRetention", json!({"chatId": chat, "seconds": 86_400})).await;
    assert_eq!(kept["retention"], 86_400);
    assert_eq!(ada.call("RemoveMember", json!({"chatId": chat, "userId": bob.id})).await, Value::Null);
    assert_eq!(ada.call("LeaveChat", json!({"chatId": chat})).await, Value::Null);
}

async fn messages(ada: &mut Caller, bob: &Person) {
    let chat = &ada.call("OpenDirectChat", json!({"userId": bob.id})).await["id"];
    let sent = ada.call("SendMessage", json!({"chatId": chat, "body": "hi", "clientId": "1"})).await;
    let again = ada.call("SendMessage", json!({"chatId": chat, "body": "hi", "clientId": "1"})).await;
    assert_eq!(again, sent);
    let place = json!({"chatId": chat, "messageId": sent["id"]});
    assert_eq!(ada.call("GetMessage", place.clone()).await, sent);
    let answered =
        ada.call("SendMessage", json!({"chatId": chat, "body": "ho", "replyTo": sent["id"]})).await;
    assert_eq!(answered["replyTo"], sent["id"]);
    let edit = json!({"chatId": chat, "messageId": sent["id"], "body": "hey"});
    assert_eq!(ada.call("EditMessage", edit).await["body"], "hey");
    assert!(ada.call("DeleteMessage", place).await["deletedAt"].is_string());
    let history = ada.call("GetHistory", json!({"chatId": chat, "around": 1, "limit": 10})).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    let marks = json!({"readSeq": 2, "unread": 0});
    assert_eq!(ada.call("MarkDelivered", json!({"chatId": chat, "seq": 1})).await, marks);
    assert_eq!(ada.call("MarkRead", json!({"chatId": chat, "seq": 2})).await, marks);
    assert_eq!(ada.call("SetTyping", json!({"chatId": chat, "typing": true})).await, Value::Null);
    let synced = ada.call("Sync", json!({"chats": {chat.as_str().unwrap(): 1}, "limit": 5})).await;
    assert_eq!(synced["chats"][0]["messages"].as_array().unwrap().len(), 2);
}

async fn mails(ada: &mut Caller) {
    assert_eq!(ada.call("GetMe", json!({})).await["emailConfirmed"], false);
    assert_eq!(ada.call("RequestEmailConfirmation", json!({})).await, Value::Null);
    assert_eq!(ada.call("RequestPasswordReset", json!({"email": "nobody@example.org"})).await, Value::Null);
    for (method, params) in [
        ("ConfirmEmail", json!({"token": "AQEB"})),
        ("ResetPassword", json!({"token": "AQEB", "new": "battery staple"})),
    ] {
        ada.called.insert(method.to_owned());
        let refused = ada.socket.refused(method, params, "invalid").await;
        assert_eq!(refused["errors"][0]["pointer"], "/token", "{refused}");
    }
}

async fn presence(ada: &mut Caller, bob: &Person) {
    let asked = json!({"userIds": [bob.id, ID]});
    let nobody = json!({"items": [{"userId": bob.id, "online": false}, {"userId": ID, "online": false}], "nextCursor": null});
    for method in ["GetPresence", "WatchPresence", "UnwatchPresence"] {
        let mut page = ada.call(method, asked.clone()).await;
        page.as_object_mut().unwrap().entry("nextCursor").or_insert(Value::Null);
        assert_eq!(page, nobody, "{method}");
    }
    assert_eq!(ada.call("Ping", json!({})).await, json!({}));
    assert_eq!(ada.call("Resume", json!({})).await, json!({}));
}

async fn account(ada: &mut Caller, person: &Person) {
    assert_eq!(ada.call("FindUsers", json!({"query": "AD"})).await["items"][0]["id"], person.id);
    assert_eq!(ada.call("GetUser", json!({"userId": person.id})).await["username"], "ada");
    let me =
        ada.call("UpdateProfile", json!({"displayName": "Ada L.", "notifications": {"email": false}})).await;
    assert_eq!(me, ada.call("GetMe", json!({})).await);
    assert_eq!((&me["displayName"], &me["notifications"]["email"]), (&json!("Ada L."), &json!(false)));

    let other = person.server.log_in("ada", PASSWORD).await;
    let sessions = ada.call("ListSessions", json!({})).await["items"].clone();
    let (current, ended) = (&sessions[1], &sessions[0]);
    assert_eq!((&current["current"], &ended["current"]), (&json!(true), &json!(false)));
    assert_eq!(ada.call("RevokeSession", json!({"sessionId": ended["id"]})).await, Value::Null);
    assert_eq!(person.server.messenger.authenticate(&other).await.unwrap_err().code(), "unauthenticated");

    let change = json!({"current": PASSWORD, "new": "battery staple"});
    assert_eq!(ada.call("ChangePassword", change).await, Value::Null);
    assert_eq!(ada.call("LogOut", json!({})).await, Value::Null);
    assert_eq!(ada.socket.close_code().await, 4001);

    let token = person.server.log_in("ada", "battery staple").await;
    ada.socket = Person { token, ..person.clone() }.connect().await;
    assert_eq!(ada.call("EraseMe", json!({"password": "battery staple"})).await, Value::Null);
    assert_eq!(ada.socket.close_code().await, 4001);
}
