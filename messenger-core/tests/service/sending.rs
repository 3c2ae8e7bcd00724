//! Sending a message again.

use messenger_core::{
    ChatId, Messenger,
    commands::{CreateGroupChat, DeleteMessage, SendMessage},
    doc::register,
};

fn send(chat_id: ChatId, body: &str) -> SendMessage {
    SendMessage { chat_id, body: body.into(), client_id: Some("c-1".into()), reply_to: None }
}

#[tokio::test]
async fn a_client_id_is_used_for_one_message_also_after_that_is_deleted() {
    let messenger = Messenger::in_memory();
    let ada = register(&messenger, "ada").await;
    let mut chats = Vec::new();
    for title in ["Here", "There"] {
        let group = CreateGroupChat { title: title.into(), member_ids: Vec::new(), client_id: None };
        chats.push(messenger.execute(&ada, group).await.unwrap().value.id);
    }
    let sent = messenger.execute(&ada, send(chats[0], "hello")).await.unwrap();
    for (chat, body) in [(chats[0], "something else"), (chats[1], "hello")] {
        assert_eq!(messenger.execute(&ada, send(chat, body)).await.unwrap_err().code(), "clientIdReused");
    }
    let delete = DeleteMessage { chat_id: chats[0], message_id: sent.value.id };
    let deleted = messenger.execute(&ada, delete).await.unwrap();
    // A late repetition finds what is left of it, and nothing of it in another chat.
    let again = messenger.execute(&ada, send(chats[0], "hello")).await.unwrap();
    assert_eq!((again.created, again.value), (false, deleted));
    assert_eq!(messenger.execute(&ada, send(chats[1], "hello")).await.unwrap_err().code(), "clientIdReused");
}
