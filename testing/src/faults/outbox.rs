//! What a client wants done, until it is answered for good.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::record::Id;

/// Before a request that could not be done is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Something that a client wants done. It may be asked for any number of times.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Send { chat: Id, client_id: Id, body: String },
    Edit { chat: Id, message: Id, body: String },
    Group { client_id: String, with: Vec<Id> },
    Add { chat: Id, user: Id },
    Remove { chat: Id, user: Id },
}

impl Wish {
    /// The method and its parameters.
    pub(super) fn request(&self) -> (&'static str, Value) {
        match self {
            Self::Send { chat, client_id, body } => {
                ("SendMessage", json!({"chatId": &**chat, "clientId": &**client_id, "body": body}))
            }
            Self::Edit { chat, message, body } => {
                ("EditMessage", json!({"chatId": &**chat, "messageId": &**message, "body": body}))
            }
            Self::Group { client_id, with } => {
                let with: Vec<&str> = with.iter().map(|user| &**user).collect();
                ("CreateGroupChat", json!({"title": client_id, "clientId": client_id, "memberIds": with}))
            }
            Self::Add { chat, user } => ("AddMembers", json!({"chatId": &**chat, "userIds": [&**user]})),
            Self::Remove { chat, user } => ("RemoveMember", json!({"chatId": &**chat, "userId": &**user})),
        }
    }
}

/// The wishes of a client that are not answered, in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    wishes: BTreeMap<u64, Wish>,
    /// When those that could not be done are asked for again.
    later: BTreeMap<u64, Instant>,
    /// When the oldest of those that were asked for was asked for.
    asked: BTreeMap<u64, Instant>,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.wishes.len()
    }

    pub(super) fn add(&mut self, id: u64, wish: Wish) {
        self.wishes.insert(id, wish);
        self.later.insert(id, Instant::now());
    }

    /// A new socket is open: everything is to be asked for again.
    pub(super) fn begin_anew(&mut self) {
        let now = Instant::now();
        self.asked.clear();
        self.later = self.wishes.keys().map(|id| (*id, now)).collect();
    }

    /// What is to be asked for now, and is taken to have been.
    pub(super) fn due(&mut self) -> Vec<(u64, Wish)> {
        let now = Instant::now();
        let due: Vec<u64> = self.later.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        let due = due.into_iter().filter_map(|id| {
            self.later.remove(&id);
            self.asked.insert(id, now);
            Some((id, self.wishes.get(&id)?.clone()))
        });
        due.collect()
    }

    /// How long something has been asked for and not answered.
    pub(super) fn waits_for(&self) -> Duration {
        self.asked.values().min().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// What was answered. It is done with, unless it was only put off.
    pub(super) fn answered(&mut self, id: u64, result: &Result<Value, String>) -> Option<Wish> {
        self.asked.remove(&id);
        match result.as_ref().map_err(String::as_str) {
            Err("unavailable" | "rateLimited" | "conflict" | "internal") => {
                if self.wishes.contains_key(&id) {
                    self.later.insert(id, Instant::now() + RETRY);
                }
                None
            }
            _ => self.wishes.remove(&id),
        }
    }
}
