//! Events of every kind, as they go over the wire.

use serde_json::{Value, json};

use crate::support::{Person, Server, Socket, names, shown};

/// A group, with a socket of each of its two members to which live events come.
struct Scene {
    ada: Person,
    bob: Person,
    chat: String,
    adas: Socket,
    bobs: Socket,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::new().await;
        let [ada, bob] = server.people(["ada", "bob"]).await;
        let chat = ada.group(&[&bob]).await;
        let (adas, bobs) = (ada.online().await, bob.online().await);
        Self { ada, bob, chat, adas, bobs }
    }

    /// The next `count` events of both, which must be the same.
    async fn both(&mut self, count: usize) -> Vec<(String, Value)> {
        let (adas, bobs) = (take(&mut self.adas, count).await, take(&mut self.bobs, count).await);
        assert_eq!(adas, bobs);
        adas
    }
}

async fn take(socket: &mut Socket, count: usize) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(socket.event().await);
    }
    events
}

#[tokio::test]
async fn messages_are_created_edited_and_deleted() {
    let mut scene = Scene::new().await;
    let chat = scene.chat.clone();
    let first = scene.adas.says(&chat, "hello").await;
    let answer =
        json!({"chatId": chat, "body": "hi \u{1F980}\n\"\\", "clientId": "c-1", "replyTo": first["id"]});
    let second = scene.bobs.ok("SendMessage", answer).await;
    let place = |message: &Value| json!({"chatId": chat, "messageId": message["id"]});
    let mut edit = place(&first);
    edit["body"] = "hello!".into();
    let edited = scene.adas.ok("EditMessage", edit).await;
    let deleted = scene.bobs.ok("DeleteMessage", place(&second)).await;
    let events = scene.both(4).await;
    // The answer to the one who did it and the event to all say the same.
    for ((_, payload), answer) in events.iter().zip([first, second, edited, deleted]) {
        assert_eq!(payload["message"], answer);
        assert_eq!(payload["revision"], answer["revision"]);
    }
    insta::assert_json_snapshot!(shown(&events));
}

#[tokio::test]
async fn changes_of_members_roles_and_title_are_told_with_their_system_message() {
    let mut scene = Scene::new().await;
    let eve = scene.ada.server.register("eve").await;
    let mut eves = eve.online().await;
    let chat = scene.chat.clone();
    scene.adas.ok("UpdateChat", json!({"chatId": chat, "title": "Coffee"})).await;
    scene.adas.ok("AddMembers", json!({"chatId": chat, "userIds": [eve.id]})).await;
    scene.adas.ok("SetRole", json!({"chatId": chat, "userId": scene.bob.id, "role": "admin"})).await;
    scene.bobs.ok("RemoveMember", json!({"chatId": chat, "userId": eve.id})).await;
    scene.bobs.says(&chat, "about eve").await;
    let events = scene.both(5).await;
    assert_eq!(
        names(&events),
        ["chatUpdated", "chatUpdated", "chatUpdated", "chatUpdated", "messageCreated"]
    );
    let revisions: Vec<_> = events.iter().map(|(_, payload)| payload["revision"].clone()).collect();
    assert_eq!(revisions, [2, 3, 4, 5, 6]);
    insta::assert_json_snapshot!(shown(&events[..4]));

    // She is told of the chat, then of what happens in it, and of nothing from her removal on.
    scene.adas.ok("OpenDirectChat", json!({"userId": eve.id})).await;
    let mut seen = Vec::new();
    loop {
        match eves.event().await {
            (name, payload) if name == "chatAdded" && payload["chat"]["kind"] == "direct" => break,
            event => seen.push(event),
        }
    }
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert_eq!((first.0.as_str(), &first.1["chat"]["id"]), ("chatAdded", &json!(chat)));
    assert_eq!(*last, ("chatRemoved".to_owned(), json!({"chatId": chat})));
    assert!(seen.len() <= 3, "{seen:?}");
}

#[tokio::test]
async fn someone_who_leaves_is_told_and_so_are_the_others() {
    let mut scene = Scene::new().await;
    let chat = scene.chat.clone();
    scene.adas.ok("LeaveChat", json!({"chatId": chat})).await;
    // The owner hands over first.
    let first = scene.adas.event().await;
    assert_eq!(scene.adas.event().await, ("chatRemoved".into(), json!({"chatId": chat})));
    let events = take(&mut scene.bobs, 2).await;
    assert_eq!(events[0], first);
    insta::assert_json_snapshot!(shown(&events));
}

#[tokio::test]
async fn a_new_chat_is_added_for_each_of_its_members() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let (mut adas, mut bobs, mut tablet) = (ada.online().await, bob.online().await, bob.online().await);
    let group = adas.ok("CreateGroupChat", json!({"title": "Tea", "memberIds": [bob.id]})).await;
    let direct = bobs.ok("OpenDirectChat", json!({"userId": ada.id})).await;
    for socket in [&mut adas, &mut bobs, &mut tablet] {
        let events = take(socket, 2).await;
        assert_eq!(names(&events), ["chatAdded", "chatAdded"]);
        assert_eq!((&events[0].1["chat"]["id"], &events[1].1["chat"]["id"]), (&group["id"], &direct["id"]));
        // As the one who is told sees it.
        let mine = socket.ok("GetChat", json!({"chatId": direct["id"]})).await;
        assert_eq!(events[1].1, json!({ "chat": mine }));
    }
    assert_eq!(direct["peer"]["id"], ada.id);
    let sent = adas.says(group["id"].as_str().unwrap(), "hello").await;
    for socket in [&mut adas, &mut bobs, &mut tablet] {
        assert_eq!(socket.expect("messageCreated").await["message"], sent);
    }
    let mut watch = bob.connect().await;
    watch.ok("Resume", json!({"chats": {}})).await;
    let mut chats = watch.until_caught_up().await;
    chats.sort_by_key(|(_, payload)| payload["chat"]["kind"].to_string());
    insta::assert_json_snapshot!(shown(&chats));
}

#[tokio::test]
async fn marks_and_typing_are_told_to_the_others() {
    let mut scene = Scene::new().await;
    let chat = scene.chat.clone();
    scene.adas.says(&chat, "hello").await;
    scene.both(1).await;
    scene.bobs.ok("MarkDelivered", json!({"chatId": chat, "seq": 2})).await;
    scene.bobs.ok("MarkRead", json!({"chatId": chat, "seq": 2})).await;
    // Nothing moves, nothing is told.
    scene.bobs.ok("MarkRead", json!({"chatId": chat, "seq": 1})).await;
    let marks = scene.both(2).await;
    insta::assert_json_snapshot!(shown(&marks));

    scene.bobs.ok("SetTyping", json!({"chatId": chat, "typing": true})).await;
    scene.bobs.ok("SetTyping", json!({"chatId": chat, "typing": false})).await;
    let typing = take(&mut scene.adas, 2).await;
    insta::assert_json_snapshot!(shown(&typing));
    // Not to the one who writes.
    scene.bobs.says(&chat, "done").await;
    scene.bobs.expect("messageCreated").await;
}

#[tokio::test]
async fn all_connections_of_the_sender_are_told() {
    let mut scene = Scene::new().await;
    let mut tablet = scene.ada.online().await;
    let chat = scene.chat.clone();
    for n in 0..20 {
        let sent = scene.adas.says(&chat, &n.to_string()).await;
        for socket in [&mut scene.adas, &mut tablet, &mut scene.bobs] {
            assert_eq!(socket.expect("messageCreated").await["message"], sent);
        }
    }
    tablet.ok("MarkRead", json!({"chatId": chat, "seq": 21})).await;
    scene.bobs.ok("MarkRead", json!({"chatId": chat, "seq": 21})).await;
    // A sender has read what they sent, so only Bob's mark moves.
    for socket in [&mut scene.adas, &mut tablet, &mut scene.bobs] {
        assert_eq!(socket.expect("readMoved").await["userId"], scene.bob.id);
    }
}

#[tokio::test]
async fn presence_is_told_to_the_other_side_of_a_direct_chat_and_to_who_watches() {
    let server = Server::with_hub(messenger_core::hub::HubSettings {
        offline_grace: std::time::Duration::from_millis(10),
        ..Default::default()
    })
    .await;
    let [ada, bob, eve] = server.people(["ada", "bob", "eve"]).await;
    ada.call("OpenDirectChat", json!({"userId": bob.id})).await;
    ada.group(&[&bob, &eve]).await;
    server.has_connections(0).await;
    let (mut adas, mut eves) = (ada.online().await, eve.online().await);
    let phone = bob.connect().await;
    let tablet = bob.connect().await;
    let online = ("presenceChanged".to_owned(), json!({"userId": bob.id, "online": true}));
    assert_eq!(adas.event().await, online);
    let watched = eves.ok("WatchPresence", json!({"userIds": [bob.id]})).await;
    assert_eq!(watched["items"], json!([{"userId": bob.id, "online": true}]));
    // Only the last one to go, and only the first to come, is worth a word.
    drop(phone);
    server.has_connections(3).await;
    drop(tablet);
    let gone = eves.expect("presenceChanged").await;
    assert_eq!((&gone["userId"], &gone["online"]), (&json!(bob.id), &json!(false)));
    assert_eq!(gone["lastSeenAt"].as_str().unwrap().len(), 24);
    assert_eq!(adas.expect("presenceChanged").await, gone);

    eves.ok("UnwatchPresence", json!({"userIds": [bob.id]})).await;
    let _phone = bob.connect().await;
    assert_eq!(adas.event().await, online);
    eves.ok("WatchPresence", json!({"userIds": [ada.id]})).await;
    let chat = eves.ok("CreateGroupChat", json!({"title": "Mine", "memberIds": []})).await;
    assert_eq!(eves.expect("chatAdded").await["chat"], chat);
}

#[tokio::test]
async fn the_other_side_of_a_direct_chat_is_watched_all_the_same() {
    let server = Server::new().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    ada.call("OpenDirectChat", json!({"userId": bob.id})).await;
    let mut adas = ada.online().await;
    adas.ok("UnwatchPresence", json!({"userIds": [bob.id]})).await;
    let _phone = bob.connect().await;
    assert_eq!(adas.expect("presenceChanged").await, json!({"userId": bob.id, "online": true}));
}

#[tokio::test]
async fn nobody_is_told_of_chats_that_are_not_theirs() {
    let server = Server::new().await;
    let [ada, bob, eve] = server.people(["ada", "bob", "eve"]).await;
    let chat = ada.group(&[&bob]).await;
    let mut eves = eve.online().await;
    let mut adas = ada.online().await;
    let sent = adas.says(&chat, "between us").await;
    adas.ok("MarkRead", json!({"chatId": chat, "seq": 2})).await;
    adas.ok("SetTyping", json!({"chatId": chat, "typing": true})).await;
    adas.ok("EditMessage", json!({"chatId": chat, "messageId": sent["id"], "body": "still"})).await;
    adas.ok("UpdateChat", json!({"chatId": chat, "title": "Secret"})).await;
    let own = adas.ok("CreateGroupChat", json!({"title": "Open", "memberIds": [eve.id]})).await;
    let first = eves.expect("chatAdded").await;
    assert_eq!(first["chat"]["id"], own["id"]);
}

#[tokio::test]
async fn large_chats_are_quiet() {
    let server = Server::quiet_above(2).await;
    let [ada, bob, eve] = server.people(["ada", "bob", "eve"]).await;
    let chat = ada.group(&[&bob, &eve]).await;
    let (mut adas, mut bobs, mut tablet) = (ada.online().await, bob.online().await, bob.online().await);
    adas.says(&chat, "hello").await;
    for socket in [&mut adas, &mut bobs, &mut tablet] {
        socket.expect("messageCreated").await;
    }
    bobs.ok("SetTyping", json!({"chatId": chat, "typing": true})).await;
    bobs.ok("MarkRead", json!({"chatId": chat, "seq": 2})).await;
    // One's own marks are told to one's own connections.
    for socket in [&mut bobs, &mut tablet] {
        assert_eq!(socket.expect("readMoved").await, json!({"chatId": chat, "userId": bob.id, "seq": 2}));
    }
    adas.says(&chat, "again").await;
    adas.expect("messageCreated").await;
}
