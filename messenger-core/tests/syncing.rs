//! What a client without a socket is given at once.

use std::collections::BTreeMap;

use messenger_core::{
    Messenger, Revision,
    commands::{CreateGroupChat, SendMessage},
    doc::register,
    queries::Sync,
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
        for _ in 0..100 {
            let body = "x".repeat(8000);
            let send = SendMessage { chat_id, body, client_id: None, reply_to: None };
            messenger.execute(&ada, send).await.unwrap();
        }
    }
    for named in [chats.clone(), BTreeMap::new()] {
        let synced = messenger.query(&ada, Sync { chats: named.clone(), limit: Some(200) }).await.unwrap();
        assert_eq!(synced.chats.len(), 10);
        let with_messages = synced.chats.iter().filter(|chat| !chat.messages.is_empty()).count();
        assert_eq!(with_messages, 6);
        assert!(synced.chats.iter().all(|chat| chat.limited || chat.messages.len() >= 100));
        let bytes = serde_json::to_vec(&synced).unwrap().len();
        assert!(bytes < 10_000_000, "{bytes}");
    }
}
