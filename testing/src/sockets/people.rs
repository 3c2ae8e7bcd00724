//! People and groups, made in a store before a server works on it.

use std::sync::Arc;

use messenger_core::{
    Actor, ChatId, Messenger, Password, PasswordCost, Settings, UserId,
    commands::{CreateGroupChat, RegisterUser},
    ports::Store,
};

use super::Result;

/// Somebody with a session.
#[derive(Debug, Clone)]
pub struct Person {
    /// Of the session.
    pub token: String,
    /// For calls of the service itself.
    pub actor: Actor,
    /// Who it is.
    pub id: UserId,
}

/// The service on this store, in which passwords cost little.
///
/// # Errors
/// If the service can't be made of it.
pub fn open(store: Arc<dyn Store>) -> Result<Messenger> {
    // Nobody logs in with a password here, and registering thousands would take minutes.
    let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let settings = Settings { password_cost: cost, ..Settings::default() };
    Ok(Messenger::builder(store).settings(settings).build()?)
}

/// Registers so many people whose names begin with `kind`.
///
/// # Errors
/// If somebody is refused, as the second of a name is.
pub async fn people(messenger: &Messenger, kind: &str, count: usize) -> Result<Vec<Person>> {
    let mut people = Vec::with_capacity(count);
    for number in 0..count {
        let register = RegisterUser {
            username: format!("{kind}{number}"),
            email: format!("{kind}{number}@example.org"),
            password: Password::new("correct horse battery"),
            display_name: None,
            device: None,
        };
        let registered = messenger.execute(&Actor::anonymous(), register).await?;
        let token = registered.token.expose().to_owned();
        let actor = messenger.authenticate(&token).await?;
        people.push(Person { token, actor, id: actor.user()? });
    }
    Ok(people)
}

/// Makes a group of these people, the first of whom owns it.
///
/// # Errors
/// If it is refused.
pub async fn group(messenger: &Messenger, members: &[Person]) -> Result<ChatId> {
    let member_ids = members.iter().map(|person| person.id).collect();
    let create = CreateGroupChat { title: "Tea".into(), member_ids, client_id: None };
    Ok(messenger.execute(&members[0].actor, create).await?.value.id)
}
