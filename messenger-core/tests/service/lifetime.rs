//! The end of a service.

use std::{sync::Arc, time::Duration};

use messenger_core::{Messenger, commands::CreateGroupChat, doc::register, memory::MemoryStore};

#[tokio::test]
async fn a_service_that_nobody_has_closed_ends_with_its_last_clone() {
    let store = Arc::new(MemoryStore::new());
    let messenger = Messenger::builder(store.clone()).build().unwrap();
    let ada = register(&messenger, "ada").await;
    let group = CreateGroupChat { title: "Tea".into(), member_ids: Vec::new(), client_id: None };
    messenger.clone().execute(&ada, group).await.unwrap();
    let connection = messenger.connect(&ada).await.unwrap();
    drop((messenger, connection));
    let let_go = async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), let_go).await.is_ok(), "its tasks go on");
}
