//! Setup for the examples in the documentation.

use crate::{
    Actor, ChatId, Message, Messenger, Password,
    commands::{CreateGroupChat, OpenDirectChat, RegisterUser, SendMessage},
};

/// Registers a person and returns them as an actor.
///
/// # Panics
/// If the name is taken or invalid: this is for examples.
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

/// The direct chat of two people.
///
/// # Panics
/// If they are the same person.
#[expect(clippy::expect_used, reason = "examples begin with two people")]
pub async fn direct(messenger: &Messenger, one: &Actor, other: &Actor) -> ChatId {
    let user_id = other.user().expect("they are registered");
    messenger.execute(one, OpenDirectChat { user_id }).await.expect("the other one is somebody else").value.id
}

/// A group with its owner and members.
///
/// # Panics
/// If one of them is not registered.
#[expect(clippy::expect_used, reason = "examples begin with people who are registered")]
pub async fn group(messenger: &Messenger, owner: &Actor, members: &[&Actor]) -> ChatId {
    let member_ids = members.iter().map(|member| member.user().expect("they are registered")).collect();
    let command = CreateGroupChat { title: "Engines".to_owned(), member_ids, client_id: None };
    messenger.execute(owner, command).await.expect("all are there").value.id
}

/// Sends a message of a member to a chat.
///
/// # Panics
/// If they are not a member.
#[expect(clippy::expect_used, reason = "examples begin with members who may write")]
pub async fn say(messenger: &Messenger, actor: &Actor, chat_id: ChatId, body: &str) -> Message {
    let command = SendMessage { chat_id, body: body.to_owned(), client_id: None, reply_to: None };
    messenger.execute(actor, command).await.expect("it is a chat of theirs").value
}
