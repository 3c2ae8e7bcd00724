//! Setup for the examples in the documentation.

use std::{sync::Arc, time::Duration};

use crate::{
    Actor, ChatId, LinkKeys, LinkToken, Message, Messenger, Password, PasswordCost, PublicUrl, Settings,
    commands::{CreateGroupChat, OpenDirectChat, RegisterUser, SendMessage},
    memory::{MemoryNotifier, MemoryStore},
    notify::NotifySettings,
    ports::{Notice, Notification},
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

/// A service in memory that tells people by this notifier.
///
/// # Panics
/// Outside a tokio runtime.
#[expect(clippy::expect_used, reason = "building fails for an impossible password cost only")]
pub fn mailing() -> (Messenger, Arc<MemoryNotifier>) {
    let notifier = Arc::new(MemoryNotifier::new());
    let url = PublicUrl::parse("https://chat.example.org").expect("it is an address");
    let settings = NotifySettings::new(LinkKeys::new(&[7; 32]).expect("it is long enough"), url);
    let password_cost = PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() };
    let messenger = Messenger::builder(Arc::new(MemoryStore::new()))
        .settings(Settings { password_cost, ..Settings::default() })
        .notifier(Arc::clone(&notifier) as _, settings)
        .build()
        .expect("the cost is possible");
    (messenger, notifier)
}

/// The first notification of a kind, once it was delivered.
///
/// # Panics
/// If it is not within 20 seconds.
#[expect(clippy::expect_used, reason = "examples wait for what comes")]
pub async fn mail(notifier: &MemoryNotifier, kind: &str) -> Notification {
    let found = async {
        loop {
            let found = notifier.delivered().into_iter().find(|mail| mail.notice.kind() == kind);
            match found {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("it is delivered")
}

/// The token in the link of a notification.
///
/// # Panics
/// If there is none.
#[expect(clippy::expect_used, reason = "examples ask those that have one")]
pub fn token(notification: &Notification) -> LinkToken {
    let link = match &notification.notice {
        Notice::ResetPassword(reset) => Some(reset.link.as_str()),
        Notice::ConfirmAddress(confirmation) => Some(confirmation.link.as_str()),
        Notice::Unread(_) | Notice::AddressChanged(_) => None,
    };
    link.and_then(|link| link.split_once("?token=")).expect("it has a link").1.into()
}
