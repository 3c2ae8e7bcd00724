//! Coming back: what was missed follows, then `caughtUp`, then what happens now.

use std::time::Duration;

use messenger_core::hub::HubSettings;
use serde_json::{Value, json};

use crate::support::{ID, Person, Server, Socket, names, shown};

async fn pair() -> (Person, Person) {
    let [ada, bob] = Server::new().await.people(["ada", "bob"]).await;
    (ada, bob)
}

fn change<'e>(event: &'e (String, Value), name: &str) -> &'e Value {
    assert_eq!(event.0, name, "{event:?}");
    &event.1
}

#[tokio::test]
async fn what_was_missed_follows_and_then_what_happens_now() {
    let (ada, bob) = pair().await;
    let known = ada.group(&[&bob]).await;
    let unchanged = ada.group(&[&bob]).await;
    let unnamed = ada.group(&[&bob]).await;
    let left = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    let first = adas.says(&known, "first").await;
    let second = adas.says(&known, "second").await;
    let has = json!({&known: 3, &unchanged: 1, &left: 1, ID: 9});
    let place = |message: &Value| json!({"chatId": known, "messageId": message["id"]});
    adas.says(&known, "third").await;
    let mut edit = place(&first);
    edit["body"] = "first!".into();
    adas.ok("EditMessage", edit).await;
    adas.ok("DeleteMessage", place(&second)).await;
    adas.ok("UpdateChat", json!({"chatId": known, "title": "Coffee"})).await;
    adas.ok("RemoveMember", json!({"chatId": left, "userId": bob.id})).await;

    let (mut bobs, missed) = bob.resume(has).await;
    let mut removed: Vec<_> =
        missed[..2].iter().map(|event| change(event, "chatRemoved")["chatId"].clone()).collect();
    removed.sort_by_key(|chat| *chat == json!(left));
    assert_eq!(removed, [json!(ID), json!(left)]);
    assert_eq!(
        names(&missed[2..]),
        ["messageCreated", "messageEdited", "messageDeleted", "chatUpdated", "chatAdded"]
    );
    let revisions: Vec<_> = missed[2..6].iter().map(|(_, payload)| payload["revision"].clone()).collect();
    assert_eq!(revisions, [4, 5, 6, 7]);
    assert_eq!(missed[6].1["chat"]["id"], json!(unnamed));
    insta::assert_json_snapshot!(shown(&missed[2..]));

    let live = adas.says(&known, "now").await;
    assert_eq!(bobs.expect("messageCreated").await["message"], live);
    let live = adas.says(&unchanged, "here too").await;
    assert_eq!(bobs.expect("messageCreated").await["message"], live);
    let live = adas.says(&unnamed, "and here").await;
    assert_eq!(bobs.expect("messageCreated").await["message"], live);
}

#[tokio::test]
async fn several_changes_of_a_message_are_merged_into_its_last_state() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    let message = adas.says(&chat, "one").await;
    for body in ["two", "three"] {
        let edit = json!({"chatId": chat, "messageId": message["id"], "body": body});
        adas.ok("EditMessage", edit).await;
    }
    let (_, missed) = bob.resume(json!({&chat: 1})).await;
    assert_eq!(names(&missed), ["messageCreated"]);
    assert_eq!((&missed[0].1["revision"], &missed[0].1["message"]["body"]), (&json!(4), &json!("three")));
    let (_, missed) = bob.resume(json!({&chat: 2})).await;
    assert_eq!(names(&missed), ["messageEdited"]);
}

#[tokio::test]
async fn a_client_with_nothing_is_given_its_chats() {
    let (ada, bob) = pair().await;
    let mut chats = vec![ada.group(&[&bob]).await, ada.group(&[&bob]).await];
    let (_, missed) = bob.resume(json!({})).await;
    assert_eq!(names(&missed), ["chatAdded", "chatAdded"]);
    let mut added: Vec<_> =
        missed.iter().map(|(_, payload)| payload["chat"]["id"].as_str().unwrap()).collect();
    added.sort_unstable();
    chats.sort_unstable();
    assert_eq!(added, chats);
}

#[tokio::test]
async fn without_chats_there_is_nothing_to_catch_up_on() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    adas.says(&chat, "missed").await;
    for params in [json!({}), json!({"chats": null}), json!(null)] {
        let mut bobs = bob.connect().await;
        assert_eq!(bobs.ok("Resume", params).await, json!({}));
        assert_eq!(bobs.until_caught_up().await, []);
        let live = adas.says(&chat, "live").await;
        assert_eq!(bobs.expect("messageCreated").await["message"], live);
    }
}

#[tokio::test]
async fn without_a_resume_come_live_events_alone() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    adas.says(&chat, "missed").await;
    // One that says something else first, and one that says nothing at all.
    let (mut asks, mut silent) = (bob.connect().await, bob.connect().await);
    asks.ok("GetMe", json!({})).await;
    let live = adas.says(&chat, "live").await;
    for socket in [&mut asks, &mut silent] {
        assert_eq!(socket.expect("messageCreated").await["message"], live);
    }
}

#[tokio::test]
async fn what_happens_while_a_client_has_yet_to_say_what_it_has_comes_in_its_place() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    for _ in 0..5 {
        adas.says(&chat, "before").await;
    }
    let mut bobs = bob.connect().await;
    for _ in 0..5 {
        adas.says(&chat, "meanwhile").await;
    }
    bobs.ok("Resume", json!({"chats": {&chat: 3}})).await;
    let missed = bobs.until_caught_up().await;
    adas.says(&chat, "after").await;
    let live = bobs.event().await;
    let revisions: Vec<_> = missed
        .iter()
        .chain([&live])
        .map(|event| change(event, "messageCreated")["revision"].as_u64())
        .collect();
    assert_eq!(revisions, (4..=12).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn too_much_or_something_from_the_future_resets_the_chat() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    for n in 0..=bob.server.messenger.limits().catch_up {
        adas.says(&chat, &n.to_string()).await;
    }
    for since in [0, 5000] {
        let (mut bobs, missed) = bob.resume(json!({&chat: since})).await;
        assert_eq!(names(&missed), ["chatReset"]);
        assert_eq!(missed[0].1["chat"], bob.call("GetChat", json!({"chatId": chat})).await);
        let live = adas.says(&chat, "live").await;
        assert_eq!(bobs.expect("messageCreated").await["message"], live);
    }
    let (_, missed) = bob.resume(json!({&chat: 2})).await;
    assert_eq!(names(&missed), ["chatReset"]);
    let (_, missed) = bob.resume(json!({&chat: 10})).await;
    assert_eq!(missed.len(), 995 - 1);
}

#[tokio::test]
async fn a_late_resume_tells_the_client_to_forget_what_can_not_come_in_order() {
    let (ada, bob) = pair().await;
    let (behind, current) = (ada.group(&[&bob]).await, ada.group(&[&bob]).await);
    let mut adas = ada.connect().await;
    adas.says(&behind, "missed").await;
    let mut bobs = bob.connect().await;
    bobs.ok("GetMe", json!({})).await;
    adas.says(&behind, "live").await;
    assert_eq!(bobs.expect("messageCreated").await["revision"], 3);
    bobs.ok("Resume", json!({"chats": {&behind: 1, &current: 1}})).await;
    let events = bobs.until_caught_up().await;
    assert_eq!(names(&events), ["chatReset"]);
    assert_eq!(events[0].1["chat"]["revision"], 3);
    // Who has what went out is up to date.
    bobs.ok("Resume", json!({"chats": {&behind: 3, &current: 1}})).await;
    assert_eq!(bobs.until_caught_up().await, []);
    adas.says(&behind, "live").await;
    assert_eq!(bobs.expect("messageCreated").await["revision"], 4);
}

#[tokio::test]
async fn a_resume_may_come_in_parts() {
    let (ada, bob) = pair().await;
    let chats = [ada.group(&[&bob]).await, ada.group(&[&bob]).await, ada.group(&[&bob]).await];
    let mut adas = ada.connect().await;
    for chat in &chats {
        adas.says(chat, "missed").await;
    }
    let mut bobs = bob.connect().await;
    bobs.ok("Resume", json!({"chats": {&chats[0]: 2}, "more": true})).await;
    bobs.ok("Resume", json!({"chats": {&chats[1]: 1}, "more": true})).await;
    bobs.ok("Resume", json!({"chats": {&chats[2]: 2}, "more": false})).await;
    assert_eq!(names(&bobs.until_caught_up().await), ["messageCreated"]);
    // A part alone brings nothing, and the next request that is none lets out what waits.
    let mut others = bob.connect().await;
    others.ok("Resume", json!({"more": true})).await;
    adas.says(&chats[0], "live").await;
    others.ok("GetMe", json!({})).await;
    assert_eq!(names(&[others.event().await]), ["messageCreated"]);
}

#[tokio::test]
async fn a_resume_after_a_request_but_before_any_event_is_a_whole_one() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    ada.connect().await.says(&chat, "missed").await;
    let mut bobs = bob.connect().await;
    bobs.ok("GetMe", json!({})).await;
    bobs.ok("Resume", json!({"chats": {&chat: 1}})).await;
    assert_eq!(names(&bobs.until_caught_up().await), ["messageCreated"]);
}

#[tokio::test]
async fn a_second_resume_repeats_no_change() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let mut adas = ada.connect().await;
    for _ in 0..3 {
        adas.says(&chat, "missed").await;
    }
    let (mut bobs, missed) = bob.resume(json!({&chat: 1})).await;
    assert_eq!(missed.len(), 3);
    bobs.ok("Resume", json!({"chats": {&chat: 1}})).await;
    assert_eq!(names(&bobs.until_caught_up().await), ["chatReset"]);
    bobs.ok("Resume", json!({"chats": {&chat: 4}})).await;
    assert_eq!(names(&bobs.until_caught_up().await), [""; 0]);
}

#[tokio::test]
async fn a_resume_that_can_not_be_read_changes_nothing() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    ada.connect().await.says(&chat, "missed").await;
    let mut bobs = bob.connect().await;
    for bad in [
        json!({"chats": []}),
        json!({"chats": {"seven": 1}}),
        json!({"chats": {&chat: -1}}),
        json!({"chats": {&chat: "1"}}),
        json!({"chats": {&chat: 9_007_199_254_740_992_u64}}),
        json!({"chats": {&chat: null}}),
        json!({"chat": {}}),
    ] {
        bobs.refused("Resume", bad, "malformed").await;
    }
    let twice = format!(
        r#"{{"jsonrpc":"2.0","id":100,"method":"Resume","params":{{"chats":{{"{chat}":1,"{chat}":2}}}}}}"#
    );
    bobs.send(twice).await;
    crate::support::is_refusal(&bobs.frame().await, "malformed");
    bobs.ok("Resume", json!({"chats": {&chat: 1}})).await;
    assert_eq!(names(&bobs.until_caught_up().await), ["messageCreated"]);
}

#[tokio::test]
async fn a_chat_that_is_new_is_told_of_once() {
    // The chats come before the client has resumed, however slow this machine is.
    let hub = HubSettings { resume_grace: Duration::from_secs(60), ..HubSettings::default() };
    let [ada, bob] = Server::with_hub(hub).await.people(["ada", "bob"]).await;
    let mut bobs = bob.connect().await;
    let group = ada.group(&[&bob]).await;
    let direct = ada.call("OpenDirectChat", json!({"userId": bob.id})).await;
    bobs.ok("Resume", json!({"chats": {}})).await;
    let mut added = bobs.until_caught_up().await;
    added.sort_by_key(|(_, payload)| payload["chat"]["kind"] == "group");
    assert_eq!(names(&added), ["chatAdded", "chatAdded"]);
    assert_eq!((&added[0].1["chat"]["id"], &added[1].1["chat"]["id"]), (&direct["id"], &json!(group)));
    let live = ada.connect().await.says(&group, "live").await;
    assert_eq!(next_but_presence(&mut bobs).await.1["message"], live);
}

async fn next_but_presence(socket: &mut Socket) -> (String, Value) {
    loop {
        let event = socket.event().await;
        if event.0 != "presenceChanged" {
            return event;
        }
    }
}

/// The position that comes with the end of what was missed.
async fn position(socket: &mut Socket) -> Value {
    missed(socket).await.1
}

/// What was missed, and the position that comes with its end.
async fn missed(socket: &mut Socket) -> (Vec<(String, Value)>, Value) {
    let mut missed = Vec::new();
    loop {
        match socket.event().await {
            (name, params) if name == "caughtUp" => return (missed, params["position"].clone()),
            event => missed.push(event),
        }
    }
}

#[tokio::test]
async fn who_resumes_by_a_position_names_what_has_changed_since() {
    let (ada, bob) = pair().await;
    let chats = [ada.group(&[&bob]).await, ada.group(&[&bob]).await, ada.group(&[&bob]).await];
    let mut adas = ada.connect().await;
    let mut bobs = bob.connect().await;
    bobs.ok("Resume", json!({"position": null})).await;
    let since = position(&mut bobs).await;
    adas.says(&chats[0], "told").await;
    assert_eq!(names(&[bobs.event().await]), ["messageCreated"]);
    drop(bobs);

    adas.says(&chats[1], "missed").await;
    let mut bobs = bob.connect().await;
    let told = json!({&chats[0]: 2});
    let asked = bobs.ok("Resume", json!({"position": since, "chats": told})).await;
    assert_eq!(asked, json!({"changed": [&chats[1]]}));
    assert_eq!(bobs.ok("Resume", json!({"chats": {&chats[1]: 1}})).await, json!({}));
    let (told, since) = missed(&mut bobs).await;
    assert_eq!((names(&told), &told[0].1["chatId"]), (vec!["messageCreated"], &json!(chats[1])));
    // Nothing has changed since then, so nothing is asked.
    assert_eq!(bobs.ok("Resume", json!({"position": since})).await, json!({}));
    assert_eq!(missed(&mut bobs).await.0, []);
    // It holds for a sync over HTTP and on a socket as well.
    adas.says(&chats[2], "missed").await;
    let synced = bobs.ok("Sync", json!({"position": since, "chats": {&chats[2]: 1}})).await;
    assert_eq!(synced["chats"].as_array().unwrap().len(), 1);
    assert_eq!(bobs.ok("Sync", json!({"position": synced["position"]})).await["chats"], json!([]));
}

#[tokio::test]
async fn a_position_of_elsewhere_is_said_to_be_unknown() {
    let (ada, bob) = pair().await;
    let chat = ada.group(&[&bob]).await;
    let (stranger, _) = pair().await;
    let mut socket = stranger.connect().await;
    socket.ok("Resume", json!({"position": null})).await;
    let elsewhere = position(&mut socket).await;
    let mut bobs = bob.connect().await;
    for position in [elsewhere, json!("nonsense")] {
        let answer = bobs.ok("Resume", json!({"position": position})).await;
        assert_eq!(answer, json!({"unknownPosition": true}));
    }
    bobs.ok("Resume", json!({"chats": {&chat: 1}})).await;
    assert_eq!(missed(&mut bobs).await.0, []);
    let refused = bobs.call("Resume", json!({"position": "nonsense", "more": true})).await;
    assert_eq!(refused["error"]["message"], "invalid", "{refused}");
}

#[tokio::test]
async fn somebody_in_very_many_chats_resumes_by_what_has_changed() {
    const CHATS: usize = 3_000;
    let (ada, bob) = pair().await;
    let messenger = &ada.server.messenger;
    let actor = messenger.authenticate(&ada.token).await.unwrap();
    let mut chats = Vec::new();
    for _ in 0..CHATS {
        let make = messenger_core::commands::CreateGroupChat {
            title: "Tea".into(),
            member_ids: vec![bob.id.parse().unwrap()],
            client_id: None,
        };
        chats.push(messenger.execute(&actor, make).await.unwrap().value.id.to_string());
    }
    let mut bobs = bob.connect().await;
    bobs.ok("Resume", json!({"position": null})).await;
    let since = position(&mut bobs).await;
    drop(bobs);
    ada.connect().await.says(&chats[7], "missed").await;
    let mut bobs = bob.connect().await;
    let asked = bobs.ok("Resume", json!({"position": since})).await;
    assert_eq!(asked, json!({"changed": [&chats[7]]}));
    bobs.ok("Resume", json!({"chats": {&chats[7]: 1}})).await;
    assert_eq!(names(&missed(&mut bobs).await.0), ["messageCreated"]);
    // What happens now comes from all of them.
    let said = ada.connect().await.says(&chats[CHATS - 1], "now").await;
    assert_eq!(bobs.expect("messageCreated").await["message"], said);
}
