use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{ChatId, Event, SessionId, UserId},
    unreadable::Unreadable,
};

/// Carries announcements between nodes. The bus is only a hint: a node finds whatever is lost in the store.
///
/// A bus may lose messages, as long as it reports the loss with a [`BusEvent::Gap`]; it may deliver a message more than
/// once, and deliver more than was subscribed to. An unreported loss is found by the next sweep, some seconds later.
///
/// No call blocks for long: if the bus can't be reached, a call fails with a [`BusError`] within seconds.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Joins the bus as a node, or joins it again after the last subscription has ended. Messages that this node
    /// publishes are not delivered back to it.
    ///
    /// # Behavior
    /// - `subscriber_hears_the_others_and_not_itself`
    /// - `subscription_begins_with_a_gap`: the node compares with the store whatever was published before.
    /// - `joining_again_ends_the_former_subscription`
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError>;

    /// Publishes the messages to the other nodes.
    ///
    /// # Behavior
    /// - `messages_of_a_topic_keep_their_order`: the messages of one node, within one call and across consecutive
    ///   calls. Messages that have no topic in common may arrive in any order.
    /// - `messages_arrive_as_they_were_published`: whatever the hint is, and however long it is. A bus may carry no content: what
    ///   people write, names and titles then arrive as [`Hint::Invalidate`] of the same topics, and so may what is long.
    /// - `publishing_out_of_reach_fails`
    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError>;

    /// Subscribes this node to the topics. It receives what is published after this call returns; a bus may deliver
    /// more than that. Subscribed topics belong to the node and not to a subscription.
    ///
    /// # Behavior
    /// - `subscribed_topics_are_heard`
    /// - `topics_may_be_subscribed_before_joining`
    /// - `topics_outlast_a_subscription`: the node need not subscribe to them again when it joins again.
    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;

    /// Unsubscribes this node from the topics.
    ///
    /// # Behavior
    /// - `unsubscribed_topics_may_be_subscribed_again`
    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;
}

/// A node's end of the bus.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// Waits for the next event; returns `None` when the subscription has ended, and on every later call. Dropping the
    /// future loses nothing.
    ///
    /// # Behavior
    /// - `dropped_next_loses_nothing`
    /// - `loss_is_followed_by_a_gap`: where a node was out of reach, a gap is delivered before anything published after
    ///   it is reached again.
    /// - `slow_taker_finds_a_gap`: a node that does not take its events delays nobody else, and the queue of its events
    ///   is bounded; what it missed is reported as a gap.
    /// - `ended_subscription_says_so_and_can_be_joined_again`
    async fn next(&mut self) -> Option<BusEvent>;
}

/// The id of a node: any number that no other node has at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// What a subscription delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// A message that another node published.
    Message(BusMessage),
    /// Something may have been lost before this point: compare with the store.
    Gap,
    /// The bus can't be reached: nothing is heard from here on, until the next [`Gap`](Self::Gap). A bus that never
    /// says so may be used all the same.
    Down,
}

/// What a message is about, so that a node hears only what concerns its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// A chat.
    Chat(ChatId),
    /// A person: their sessions, their presence, and the chats they are added to.
    User(UserId),
    /// All nodes: whatever the message concerns, on all their connections.
    Nodes,
}

/// A hint, and the topics it concerns.
///
/// Encoded as JSON, so that nodes of two releases understand each other: a reader treats a hint that it does not know
/// as [`Hint::Invalidate`] of the topics that it knows.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{context::Context, ports::{BusMessage, Hint, Topic}};
///
/// let chat = Topic::Chat(Context::fixed().id());
/// let message = BusMessage { topics: vec![chat], hint: Arc::new(Hint::Invalidate {}) };
/// assert_eq!(BusMessage::from_bytes(&message.to_bytes()).unwrap(), message);
///
/// let of_a_later_release = br#"{ "v": 2, "topics": ["nodes", { "moon": 7 }], "hint": { "eclipse": {} } }"#;
/// let message = BusMessage::from_bytes(of_a_later_release).unwrap();
/// assert_eq!((message.topics, &*message.hint), (vec![Topic::Nodes], &Hint::Invalidate {}));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusMessage {
    /// The topics it concerns.
    pub topics: Vec<Topic>,
    /// The hint itself.
    pub hint: Arc<Hint>,
}

/// What a message on the bus says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "a hint lies in an Arc wherever it waits")]
pub enum Hint {
    /// An event of a chat (with its revision), or a mark or typing in it.
    Event(Event),
    /// People became members of a chat.
    Added {
        /// The chat.
        chat: ChatId,
        /// The change that added them.
        revision: crate::domain::Revision,
        /// The people who were added.
        users: Vec<UserId>,
    },
    /// Sessions ended; their connections must be closed.
    SessionsEnded {
        /// The person whose sessions they were.
        user: UserId,
        /// The sessions that ended.
        sessions: Vec<SessionId>,
    },
    /// Another hint, sealed: by a [`SealedBus`](crate::encryption::SealedBus), which opens it again. Whoever can't open it treats it
    /// as [`Invalidate`](Self::Invalidate).
    Sealed(String),
    /// Something that the topics name may have changed, and no event was sent: compare it with the store.
    Invalidate {},
}

/// The bus can't be reached, or took too long.
#[derive(Debug, thiserror::Error)]
#[error("the bus can't be reached")]
pub struct BusError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The version of the wire format of [`BusMessage`]. A release that changes the meaning of a known hint raises it.
const VERSION: u32 = 1;

impl BusMessage {
    /// Encodes the message for the wire:
    /// `{ "v": 1, "topics": [{ "chat": ID }, { "user": ID }, "nodes"], "hint": { … } }`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }

    /// Appends what [`to_bytes`](Self::to_bytes) gives, in which there is no line break: lines of it can be taken apart.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        let written = Written { v: VERSION, topics: &self.topics, hint: &self.hint };
        let before = bytes.len();
        // Ids, numbers and texts always serialise.
        if serde_json::to_writer(&mut *bytes, &written).is_err() {
            bytes.truncate(before);
        }
    }

    /// Decodes what [`to_bytes`](Self::to_bytes) of this or of another release has written.
    ///
    /// # Errors
    /// [`BusError`] if the bytes are not such a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BusError> {
        // One pass suffices for what this release has written.
        if let Ok(Known { v: VERSION, topics, hint }) = serde_json::from_slice(bytes) {
            return Ok(Self { topics, hint: Arc::new(hint) });
        }
        let read: Read<'_> =
            serde_json::from_slice(bytes).map_err(|error| BusError(Unreadable::from(error).into()))?;
        let topics = read.topics.iter().filter_map(|topic| serde_json::from_str(topic.get()).ok()).collect();
        let hint = if read.v == VERSION { serde_json::from_str(read.hint.get()).ok() } else { None };
        Ok(Self { topics, hint: Arc::new(hint.unwrap_or(Hint::Invalidate {})) })
    }
}

#[derive(Serialize)]
struct Written<'m> {
    v: u32,
    topics: &'m [Topic],
    hint: &'m Hint,
}

#[derive(Deserialize)]
struct Known {
    v: u32,
    topics: Vec<Topic>,
    hint: Hint,
}

/// What a later release has written, as far as it can be read.
#[derive(Deserialize)]
struct Read<'b> {
    v: u32,
    #[serde(borrow)]
    topics: Vec<&'b serde_json::value::RawValue>,
    #[serde(borrow)]
    hint: &'b serde_json::value::RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::Context, domain::Typing};

    fn typing() -> BusMessage {
        let context = Context::fixed();
        let (chat_id, user_id) = (context.id(), context.id());
        let event = Event::Typing(Typing { chat_id, user_id, typing: true, expires_in_ms: 6000 });
        BusMessage {
            topics: vec![Topic::Chat(chat_id), Topic::User(user_id), Topic::Nodes],
            hint: Arc::new(Hint::Event(event)),
        }
    }

    #[test]
    fn what_a_later_release_adds_is_looked_up() {
        let message = typing();
        let text = String::from_utf8(message.to_bytes()).unwrap();
        let as_it_is = BusMessage::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(as_it_is, message);
        // An additional field does not change what the known fields mean.
        let field = text.replace("\"typing\":true", "\"typing\":true,\"mood\":\"happy\"");
        assert_eq!(BusMessage::from_bytes(field.as_bytes()).unwrap(), message);
        // An unknown hint, an unknown event, an unknown version.
        for (known, unknown) in [
            ("\"hint\":{\"event\"", "\"hint\":{\"omen\""),
            ("\"typing\",", "\"singing\","),
            ("\"v\":1", "\"v\":2"),
        ] {
            assert!(text.contains(known), "{text}");
            let read = BusMessage::from_bytes(text.replace(known, unknown).as_bytes()).unwrap();
            assert_eq!((&read.topics, &*read.hint), (&message.topics, &Hint::Invalidate {}), "{unknown}");
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&b""[..], b"{}", b"[1]", b"{\"v\":1,\"topics\":[],", b"\xff"] {
            assert!(BusMessage::from_bytes(bytes).is_err());
        }
    }
}
