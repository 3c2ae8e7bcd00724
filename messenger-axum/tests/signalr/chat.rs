//! The chat's hub.

use std::{sync::Arc, time::Duration};

use axum::Router;
use messenger_axum::{Options, router};
use messenger_core::{
    Actor, Messenger, Password, PasswordCost, Settings, Timestamp,
    commands::RegisterUser,
    context::{Clock, Context, SystemRandom},
    memory::MemoryStore,
};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Service, Socket, ping, seconds};

/// The clock of the test.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000).after(self.0.elapsed())
    }
}

fn messenger() -> Messenger {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let context = Context::new(Arc::new(TestClock(Instant::now())), Arc::new(SystemRandom));
    let settings = Settings { password_cost, ..Settings::default() };
    Messenger::builder(Arc::new(MemoryStore::new())).settings(settings).context(context).build().unwrap()
}

/// Somebody who has registered: their id, and the query with which they connect.
async fn register(messenger: &Messenger, name: &str) -> (String, String) {
    let command = RegisterUser {
        username: name.into(),
        email: format!("{name}@example.org"),
        password: Password::new("correct horse"),
        display_name: None,
        device: None,
    };
    let registered = messenger.execute(&Actor::anonymous(), command).await.unwrap();
    (registered.user.user.id.to_string(), format!("?access_token={}", registered.token.expose()))
}

#[tokio::test(start_paused = true)]
async fn who_is_lost_before_the_first_ping_goes_offline() {
    let messenger = messenger();
    let [(_, ada), (bob, bobs)] = [register(&messenger, "ada").await, register(&messenger, "bob").await];
    let app = Router::new().nest("/api/v1", router(messenger.clone(), Options::new()));
    let service = Service::of(app, "/api/v1/hub");

    let mut watching = Socket::open(&service, &ada).await.unwrap();
    watching.shake_hands(1).await;
    let watched = watching.call("WatchPresence", json!([{"userIds": [bob]}])).await;
    assert_eq!(watched["result"]["items"][0]["online"], false);

    let mut lost = Socket::open(&service, &bobs).await.unwrap();
    lost.shake_hands(1).await;
    let online = watching.hear_more().await.unwrap();
    assert_eq!(
        (&online["target"], &online["arguments"][0]["online"]),
        (&json!("presenceChanged"), &json!(true))
    );
    let began = Instant::now();
    let offline = loop {
        match watching.hear().await.unwrap() {
            record if record == ping() => watching.say(ping()).await,
            other => break other,
        }
    };
    assert_eq!(offline["arguments"][0]["online"], false, "{offline}");
    // Until it is missed, then a grace of 5 s, each seen within a second.
    let gone = began.elapsed();
    assert!(
        (seconds(20 + 30 + 5)..=seconds(20 + 30 + 5) + 2 * Duration::from_secs(1)).contains(&gone),
        "{gone:?}"
    );
}
