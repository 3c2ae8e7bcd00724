//! What has to be compared with the store, and which topics the bus has to be told of.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use tokio::sync::Notify;

use super::lock::lock;
use crate::{
    domain::{ChatId, UserId},
    ports::Topic,
};

/// Work to do as soon as possible. While it is being done, new requests are collected, so that a burst of new
/// connections costs few reads.
#[derive(Debug, Default)]
pub(super) struct Checks {
    wanted: Mutex<Wanted>,
    pub(super) is_wanted: Notify,
    /// Changes of subscriptions to pass to the bus: whether a topic is wanted from now on.
    topics: Mutex<BTreeMap<Topic, bool>>,
    pub(super) topics_changed: Notify,
    pub(super) presence_wanted: Notify,
    pub(super) poll_wanted: Notify,
}

/// What has to be compared with the store.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    chats: HashSet<ChatId>,
    users: HashSet<UserId>,
}

impl Checks {
    pub(super) fn want(&self, chats: &[ChatId], users: &[UserId]) {
        let mut wanted = lock(&self.wanted);
        wanted.chats.extend(chats);
        wanted.users.extend(users);
        drop(wanted);
        self.is_wanted.notify_one();
    }

    /// Takes what has to be compared, ordered by id.
    pub(super) fn take(&self) -> (Vec<ChatId>, Vec<UserId>) {
        let Wanted { chats, users } = std::mem::take(&mut *lock(&self.wanted));
        let (mut chats, mut users): (Vec<_>, Vec<_>) =
            (chats.into_iter().collect(), users.into_iter().collect());
        chats.sort_unstable();
        users.sort_unstable();
        (chats, users)
    }

    pub(super) fn subscribe(&self, topic: Topic, wanted: bool) {
        lock(&self.topics).insert(topic, wanted);
        self.topics_changed.notify_one();
    }

    /// Unsubscribes a topic, unless it is needed after all.
    pub(super) fn subscribe_if(&self, topic: Topic, is_needed: impl FnOnce() -> bool) {
        let mut topics = lock(&self.topics);
        if !is_needed() {
            topics.insert(topic, false);
            drop(topics);
            self.topics_changed.notify_one();
        }
    }

    /// Takes the topics not yet passed to the bus: those to subscribe and those to unsubscribe.
    pub(super) fn take_topics(&self) -> (Vec<Topic>, Vec<Topic>) {
        let topics = std::mem::take(&mut *lock(&self.topics));
        let (wanted, unwanted): (Vec<_>, Vec<_>) = topics.into_iter().partition(|(_, wanted)| *wanted);
        let names = |topics: Vec<(Topic, bool)>| topics.into_iter().map(|(topic, _)| topic).collect();
        (names(wanted), names(unwanted))
    }

    /// Puts back topics that could not be passed to the bus; later changes of the same topics take precedence.
    pub(super) fn put_back_topics(&self, topics: &[Topic], wanted: bool) {
        let mut waiting = lock(&self.topics);
        for topic in topics {
            waiting.entry(*topic).or_insert(wanted);
        }
    }
}
