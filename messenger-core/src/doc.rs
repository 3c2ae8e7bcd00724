//! What the examples in the documentation begin with.

use crate::{Actor, Messenger, Password, commands::RegisterUser};

/// Registers a person and answers with them as an actor.
///
/// # Panics
/// If the name is taken or no name: this is for examples.
#[expect(clippy::expect_used, reason = "examples begin with people who can be registered")]
pub async fn register(messenger: &Messenger, username: &str) -> Actor {
    let command = RegisterUser {
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        password: Password::new("correct horse"),
        display_name: None,
        device: None,
    };
    let registered = messenger.execute(&Actor::anonymous(), command).await.expect("the name is free");
    messenger.authenticate(registered.token.expose()).await.expect("the session is new")
}
