use std::{fmt, sync::Arc, time::Instant};

use crate::{
    actor::Actor,
    announcements::{self, SentMessage},
    begun::Placing,
    context::Context,
    domain::{ChatId, Limits},
    error::{Error, Result},
    hub::Hub,
    jobs::Jobs,
    lanes::Lanes,
    notify::Notifications,
    passwords::Passwords,
    policy::PolicyGate,
    ports::{BusMessage, ChatRecord, MarkerMoved, MessageRecord, MoveMarker, NewMessage, Store, Topic},
    service::Service,
    settings::Settings,
};

/// The context of a command or query: the caller, the service, and the announcements to make afterwards.
pub struct Cx {
    actor: Actor,
    service: Arc<Service>,
    unpublished: Vec<(Option<ChatId>, BusMessage)>,
    /// The topics that the current write would change.
    writing: Vec<Topic>,
    placing: Option<Placing>,
}

impl Cx {
    pub(crate) const fn new(actor: Actor, service: Arc<Service>) -> Self {
        Self { actor, service, unpublished: Vec::new(), writing: Vec::new(), placing: None }
    }

    /// Adds the means to report that the command is placed.
    pub(crate) fn with_placing(self, placing: Placing) -> Self {
        Self { placing: Some(placing), ..self }
    }

    /// Makes all nodes compare with the store what the most recent write would change: it may be stored although its
    /// answer was lost.
    pub(crate) fn invalidate_write(&mut self) {
        let topics = std::mem::take(&mut self.writing);
        self.invalidate(topics);
    }

    /// Announces what was done on behalf of nobody who waits for it; if it was broken off, all nodes also look for what was
    /// stored and not announced.
    pub(crate) async fn settled<T>(&mut self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            self.invalidate_write();
        }
        self.flush().await;
        answer
    }

    /// Records the duration of an operation that began at `begun`, and its outcome.
    pub(crate) fn measure<T>(&self, operation: &'static str, begun: Instant, answer: &Result<T>) {
        let outcome = answer.as_ref().map_or_else(Error::code, |_| "ok");
        self.service.meters.record(operation, outcome, begun);
    }

    /// The caller.
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

    /// How people are told outside of the chat, if they are.
    pub(crate) fn notifications(&self) -> Option<&Notifications> {
        self.service.notifications.as_deref()
    }

    /// The background jobs.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.service.jobs
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

    /// Lets the caller begin the next command: this one can no longer be overtaken.
    pub(crate) fn placed(&self) {
        if let Some(placing) = &self.placing {
            placing.placed();
        }
    }

    /// Begins a write that would change these topics: if its answer is lost, they are compared with the store.
    pub(crate) fn begin_write(&mut self, topics: impl IntoIterator<Item = Topic>) {
        self.writing = topics.into_iter().collect();
    }

    /// Records an announcement to make when the command is done; one about a chat is made in the order of the chat's
    /// other events.
    pub(crate) fn publish(&mut self, chat: Option<ChatId>, message: BusMessage) {
        self.unpublished.push((chat, message));
    }

    /// Records the announcements of changed messages of a chat.
    pub(crate) fn publish_changes(&mut self, chat: &ChatRecord, records: Vec<MessageRecord>) {
        for message in announcements::changes(chat, records) {
            self.publish(Some(chat.id), message);
        }
    }

    /// Makes all nodes compare these topics with the store, because something may have been stored without being
    /// announced.
    pub(crate) fn invalidate(&mut self, topics: Vec<Topic>) {
        let chat = topics.iter().find_map(|topic| match topic {
            Topic::Chat(chat) => Some(*chat),
            Topic::User(_) | Topic::Nodes => None,
        });
        if !topics.is_empty() {
            self.publish(chat, announcements::invalidation(topics));
        }
    }

    /// Makes the announcements recorded so far.
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
