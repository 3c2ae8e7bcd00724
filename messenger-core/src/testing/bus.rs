use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    domain::{ChatId, Event, Revision, SessionId, UserId},
    ports::{Bus, BusError, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
};

/// A bus without other nodes, which records the messages published to them, and the subscribed topics.
#[derive(Default)]
pub(crate) struct RecordingBus {
    told: Mutex<Vec<BusMessage>>,
    more: Notify,
    topics: Mutex<BTreeSet<Topic>>,
    /// How many further calls about topics fail.
    refuse: AtomicUsize,
}

/// A message to the other nodes, and the topics it concerns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    to: Vec<Topic>,
    what: Hint,
}

impl RecordingBus {
    /// Takes the messages before `last`, which it waits for.
    pub(super) async fn take_until(&self, last: &BusMessage) -> Vec<BusMessage> {
        loop {
            if let Some(taken) = self.take_if_there(last) {
                return taken;
            }
            self.more.notified().await;
        }
    }

    fn take_if_there(&self, last: &BusMessage) -> Option<Vec<BusMessage>> {
        let mut told = self.told();
        let end = told.iter().position(|message| message == last)?;
        let rest = told.split_off(end + 1);
        let mut taken = std::mem::replace(&mut *told, rest);
        taken.pop();
        Some(taken)
    }

    /// The topics that the node is subscribed to.
    pub(crate) fn topics(&self) -> BTreeSet<Topic> {
        self.topics.lock().unwrap().clone()
    }

    pub(crate) fn refuse_topics(&self, times: usize) {
        self.refuse.store(times, Ordering::Relaxed);
    }

    fn take_topics(&self) -> Result<MutexGuard<'_, BTreeSet<Topic>>, BusError> {
        let less = |left: usize| left.checked_sub(1);
        match self.refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Err(BusError("not now".into())),
            Err(_) => Ok(self.topics.lock().unwrap()),
        }
    }

    fn told(&self) -> MutexGuard<'_, Vec<BusMessage>> {
        self.told.lock().unwrap()
    }
}

/// A message without meaning that differs from all others.
pub(super) fn last_word(mark: UserId) -> BusMessage {
    let hint = Hint::SessionsEnded { user: mark, sessions: Vec::new() };
    BusMessage { topics: Vec::new(), hint: Arc::new(hint) }
}

/// The topics that a message asks the others to compare, if it is only such a request.
pub(super) fn in_doubt(message: BusMessage) -> Option<Vec<Topic>> {
    (*message.hint == Hint::Invalidate {}).then_some(message.topics)
}

#[async_trait]
impl Bus for RecordingBus {
    async fn join(&self, _: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        Ok(Box::new(Silence))
    }

    async fn publish(&self, _: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        self.told().extend_from_slice(messages);
        self.more.notify_one();
        Ok(())
    }

    async fn subscribe(&self, _: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.take_topics()?.extend(topics);
        Ok(())
    }

    async fn unsubscribe(&self, _: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.take_topics()?.retain(|topic| !topics.contains(topic));
        Ok(())
    }
}

struct Silence;

#[async_trait]
impl Subscription for Silence {
    async fn next(&mut self) -> Option<BusEvent> {
        std::future::pending().await
    }
}

impl Told {
    /// The content of a message that reports a change; other hints only ask a node to compare.
    pub(super) fn of(message: BusMessage) -> Option<Self> {
        let what = (*message.hint).clone();
        let happened = matches!(what, Hint::Event(_) | Hint::Added { .. } | Hint::SessionsEnded { .. });
        happened.then_some(Self { to: message.topics, what })
    }

    /// An event to the members of the chat.
    pub(crate) fn in_chat(chat: ChatId, event: Event) -> Self {
        Self { to: vec![Topic::Chat(chat)], what: Hint::Event(event) }
    }

    /// An event to one person's own devices.
    pub(crate) fn to_oneself(user: UserId, event: Event) -> Self {
        Self { to: vec![Topic::User(user)], what: Hint::Event(event) }
    }

    /// The message that these people are in a chat since this change, addressed to each of them.
    pub(crate) fn added(chat: ChatId, revision: u64, users: &[UserId]) -> Self {
        let (to, revision) = (users.iter().copied().map(Topic::User).collect(), Revision::new(revision));
        Self { to, what: Hint::Added { chat, revision, users: users.to_vec() } }
    }

    /// The message that sessions have ended, to the nodes of the person, which close their connections.
    pub(crate) fn ended(user: UserId, sessions: &[SessionId]) -> Self {
        let what = Hint::SessionsEnded { user, sessions: sessions.to_vec() };
        Self { to: vec![Topic::User(user)], what }
    }

    /// The topics it concerns.
    pub(crate) fn to(&self) -> &[Topic] {
        &self.to
    }

    /// The event, if it is one.
    pub(crate) fn event(&self) -> Option<&Event> {
        match &self.what {
            Hint::Event(event) => Some(event),
            _ => None,
        }
    }
}
