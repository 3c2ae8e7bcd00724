//! What a client without a socket is given at once.

use std::collections::BTreeMap;

use messenger_core::{
    Messenger, Revision,
    commands::{CreateGroupChat, SendMessage},
    doc::register,
    queries::SyncChats,
};

#[tokio::test]
async fn long_messages_of_many_chats_are_not_all_in_one_answer() {
    let messenger = Messenger::in_memory();
    let ada = register(&messenger, "ada").await;
    let mut chats = BTreeMap::new();
    for _ in 0..10 {
        let group = CreateGroupChat { title: "Tea".into(), member_ids: Vec::new(), client_id: None };
        let chat_id = messenger.execute(&ada, group).await.unwrap().value.id;
        chats.insert(chat_id, Revision::new(1));
        for _ in 0..10 {
            let body = "x".repeat(8000);
            let send = SendMessage { chat_id, body, client_id: None, reply_to: None };
            messenger.execute(&ada, send).await.unwrap();
        }
    }
    for named in [chats.clone(), BTreeMap::new()] {
        let mut sync = SyncChats { chats: named, limit: Some(200), ..SyncChats::default() };
        let mut told = Vec::new();
        loop {
            let synced = messenger.query(&ada, sync.clone()).await.unwrap();
            let bytes = serde_json::to_vec(&synced).unwrap().len();
            assert!(bytes < 270_000, "{bytes}");
            assert!(synced.chats.iter().all(|chat| !chat.limited && chat.messages.len() >= 10));
            told.extend(synced.chats.iter().map(|chat| chat.chat.id));
            sync.cursor = synced.next_cursor;
            if sync.cursor.is_none() {
                break;
            }
        }
        assert!(told.iter().eq(chats.keys()), "each chat comes once");
    }
}
