//! Sessions over time.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    Actor, Messenger, Password,
    commands::RegisterUser,
    context::{Context, CountingRandom, ManualClock},
    memory::MemoryStore,
    ports::{SessionStore as _, StoreErrorKind},
};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_is_not_used_and_is_removed_later() {
    let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryStore::new()));
    let context = Context::new(clock.clone(), Arc::new(CountingRandom::default()));
    let messenger = Messenger::builder(store.clone()).context(context).build().unwrap();
    let command = RegisterUser {
        username: "ada".into(),
        email: "ada@example.org".into(),
        password: Password::new("correct horse"),
        display_name: None,
        device: None,
    };
    let token = messenger.execute(&Actor::anonymous(), command).await.unwrap().token;

    clock.advance(20 * DAY);
    messenger.authenticate(token.expose()).await.expect("it was used just now");
    clock.advance(20 * DAY);
    messenger.authenticate(token.expose()).await.expect("use has prolonged it");
    clock.advance(31 * DAY);
    assert_eq!(messenger.authenticate(token.expose()).await.unwrap_err().code(), "unauthenticated");

    assert!(store.session_by_token(&token.hash()).await.is_ok());
    tokio::time::sleep(Duration::from_secs(1200)).await;
    let gone = store.session_by_token(&token.hash()).await.unwrap_err();
    assert_eq!(gone.kind(), StoreErrorKind::NotFound);
}
