use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{ChatId, Event, SessionId, UserId};

/// Tells the other nodes what happened. A hint only: whatever is lost is found again in the store.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Joins the bus as a node. Messages that this node publishes don't come back to it.
    ///
    /// # Behavior
    /// - `subscriber_hears_the_others_and_not_itself`
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError>;

    /// Tells the others. The messages of one call, and of consecutive calls, keep their order.
    ///
    /// # Behavior
    /// - `messages_keep_their_order`
    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError>;

    /// What this node wants to hear from now on. A bus may deliver more than that.
    ///
    /// # Behavior
    /// - `subscribed_topics_are_heard`
    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;

    /// What this node no longer needs to hear.
    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;
}

/// A node's end of the bus.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// What comes next; `None` when the bus has ended. Dropping the future loses nothing.
    ///
    /// # Behavior
    /// - `dropped_next_loses_nothing`
    async fn next(&mut self) -> Option<BusEvent>;
}

/// The name of a node: any number that no other node has at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// What comes over the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// Something that another node published.
    Message(BusMessage),
    /// Something may have been lost before this point: compare with the store.
    Gap,
}

/// What a message is about, so that a node hears only what concerns its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// A chat.
    Chat(ChatId),
    /// A person: their sessions, presence, and chats they are added to.
    User(UserId),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusMessage {
    /// Whom it concerns.
    pub topics: Vec<Topic>,
    /// What it is.
    pub hint: Arc<Hint>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a hint lies in an Arc wherever it waits")]
pub enum Hint {
    /// An event of a chat (with its revision), or a mark or typing in it.
    Event(Event),
    /// People became members of a chat.
    Added {
        /// The chat.
        chat: ChatId,
        /// Who.
        users: Vec<UserId>,
    },
    /// Sessions ended; their connections are to be closed.
    SessionsEnded {
        /// Whose.
        user: UserId,
        /// Which.
        sessions: Vec<SessionId>,
    },
}

/// The bus can't be reached, or took too long.
#[derive(Debug, thiserror::Error)]
#[error("the bus can't be reached")]
pub struct BusError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
