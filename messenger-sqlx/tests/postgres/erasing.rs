//! What an erasure sees of others who are at work.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use messenger_core::{ChatId, UserId, ports::MessageStore as _, testkit::World};
use messenger_testing::{Database, connect, execute};
use sqlx::{PgConnection, Row as _};

use crate::support::postgres::fresh;

/// How many sessions wait for a lock of another one.
async fn waiting(conn: &mut PgConnection) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query(waiting).fetch_one(conn).await.unwrap().get(0)
}

/// Begins to store a message, as a session does whose message was let in before the account was erased.
async fn begin_append(database: &Database, world: &World, chat: ChatId, ada: UserId) -> PgConnection {
    let mut writer = connect(&database.url()).await;
    let message = world.text(chat, ada, "secret");
    execute(&mut writer, "BEGIN").await;
    let append = format!(
        "SELECT messenger.messenger_append_message('{}', '{chat}', '{ada}', 'secret', NULL, NULL, NULL, {})",
        message.id,
        message.created_at.as_micros()
    );
    execute(&mut writer, append).await;
    writer
}

#[tokio::test]
async fn a_message_that_is_being_stored_is_waited_for_and_erased() {
    let (store, database) = fresh().await;
    let world = World::new(Arc::clone(&store) as _);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let mut writer = begin_append(&database, &world, chat, ada).await;
    let at = world.erase(ada).await;

    let erasing = tokio::spawn(async move { store.erase_messages(chat, ada, at, 10).await });
    let mut observer = connect(&database.url()).await;
    while waiting(&mut observer).await == 0 && !erasing.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    execute(&mut writer, "COMMIT").await;
    let erased = erasing.await.unwrap().unwrap();
    assert_eq!(erased.len(), 1, "it is found although it was not there when the search began");
    assert_eq!(world.store.erase_messages(chat, ada, at, 10).await.unwrap(), []);
}
