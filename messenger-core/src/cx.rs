use std::{fmt, sync::Arc, time::Instant};

use crate::{
    actor::Actor,
    announcements::{self, SentMessage},
    begun::Placing,
    context::Context,
    domain::{ChatId, Limits},
    error::{Error, Result},
    hub::Hub,
    lanes::Lanes,
    passwords::Passwords,
    policy::PolicyGate,
    ports::{
        BusMessage, ChatRecord, MarkerMoved, MessageRecord, MoveMarker, NewMessage, Store, StoreResult, Topic,
    },
    service::Service,
    settings::Settings,
};

/// What a command or query works with: who asks, the service, and what the others are to be told afterwards.
pub struct Cx {
    actor: Actor,
    service: Arc<Service>,
    unpublished: Vec<(Option<ChatId>, BusMessage)>,
    /// What the write that is under way would change.
    writing: Vec<Topic>,
    placing: Option<Placing>,
}

impl Cx {
    pub(crate) const fn new(actor: Actor, service: Arc<Service>) -> Self {
        Self { actor, service, unpublished: Vec::new(), writing: Vec::new(), placing: None }
    }

    /// With a way to say that the command is placed.
    pub(crate) fn with_placing(self, placing: Placing) -> Self {
        Self { placing: Some(placing), ..self }
    }

    /// Lets all nodes compare with the store what the write that was begun last would change: perhaps it is stored, and only
    /// the answer was lost.
    pub(crate) fn invalidate_write(&mut self) {
        let topics = std::mem::take(&mut self.writing);
        self.invalidate(topics);
    }

    /// Records how long an operation took that began at `begun`, and what it came to.
    pub(crate) fn measure<T>(&self, operation: &'static str, begun: Instant, answer: &Result<T>) {
        let outcome = answer.as_ref().map_or_else(Error::code, |_| "ok");
        self.service.meters.record(operation, outcome, begun);
    }

    /// Who asks.
    pub(crate) const fn actor(&self) -> &Actor {
        &self.actor
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.service.store
    }

    pub(crate) fn context(&self) -> &Context {
        &self.service.context
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.service.limits
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.service.settings
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.service.passwords
    }

    pub(crate) fn policy(&self) -> &PolicyGate {
        &self.service.policy
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.service.hub
    }

    pub(crate) fn sends(&self) -> &Lanes<NewMessage, SentMessage> {
        &self.service.sends
    }

    pub(crate) fn marks(&self) -> &Lanes<MoveMarker, MarkerMoved> {
        &self.service.marks
    }

    /// Lets the caller begin the next command: this one can't be overtaken any more.
    pub(crate) fn placed(&self) {
        if let Some(placing) = &self.placing {
            placing.placed();
        }
    }

    /// Begins a write that would change these: if its answer is lost, they are compared with the store.
    pub(crate) fn begin_write(&mut self, topics: impl IntoIterator<Item = Topic>) {
        self.writing = topics.into_iter().collect();
    }

    /// Notes what the connections are told when the command is done: in the order of what else happens in the chat, if it
    /// is about one.
    pub(crate) fn publish(&mut self, chat: Option<ChatId>, message: BusMessage) {
        self.unpublished.push((chat, message));
    }

    /// Notes changes of messages of a chat.
    pub(crate) fn publish_changes(
        &mut self,
        chat: &ChatRecord,
        records: Vec<MessageRecord>,
    ) -> StoreResult<()> {
        for message in announcements::changes(chat, records)? {
            self.publish(Some(chat.id), message);
        }
        Ok(())
    }

    /// Lets all nodes compare these topics with the store, because something may have been stored of which nobody was
    /// told.
    pub(crate) fn invalidate(&mut self, topics: Vec<Topic>) {
        let chat = topics.iter().find_map(|topic| match topic {
            Topic::Chat(chat) => Some(*chat),
            Topic::User(_) | Topic::Nodes => None,
        });
        if !topics.is_empty() {
            self.publish(chat, announcements::invalidation(topics));
        }
    }

    /// Publishes now what was noted so far.
    pub(crate) async fn flush(&mut self) {
        for (chat, message) in self.unpublished.drain(..) {
            self.service.dispatch(chat, message).await;
        }
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("actor", &self.actor).finish_non_exhaustive()
    }
}
