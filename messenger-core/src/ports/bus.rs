use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{ChatId, Event, SessionId, UserId};

/// Tells the other nodes what happened. A hint only: whatever is lost is found again in the store.
///
/// A bus may lose messages, as long as it says so with a [`BusEvent::Gap`]; it may deliver a message more than once, and
/// more than was subscribed to. Whoever loses without a word is found out by the next sweep, some seconds later.
///
/// No call waits for long: a bus that can't be reached answers with a [`BusError`] after seconds.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Joins the bus as a node, once more if the last subscription has ended. Messages that this node publishes don't
    /// come back to it.
    ///
    /// # Behavior
    /// - `subscriber_hears_the_others_and_not_itself`
    /// - `subscription_begins_with_a_gap`: whatever was said before is for the node to look up.
    /// - `joining_again_ends_the_former_subscription`
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError>;

    /// Tells the others.
    ///
    /// # Behavior
    /// - `messages_of_a_topic_keep_their_order`: those of one node, in one call and in consecutive calls. Messages that
    ///   have no topic in common may come in any order.
    /// - `messages_arrive_as_they_were_published`: whatever the hint, and however long it is.
    /// - `publishing_out_of_reach_fails`
    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError>;

    /// What this node wants to hear from now on: what is published after the answer. A bus may deliver more than that.
    /// Topics belong to the node and not to a subscription.
    ///
    /// # Behavior
    /// - `subscribed_topics_are_heard`
    /// - `topics_may_be_subscribed_before_joining`
    /// - `topics_outlast_a_subscription`: the node need not name them again when it joins again.
    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;

    /// What this node no longer needs to hear.
    ///
    /// # Behavior
    /// - `unsubscribed_topics_may_be_subscribed_again`
    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError>;
}

/// A node's end of the bus.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// What comes next; `None` when the subscription has ended, from then on each time. Dropping the future loses
    /// nothing.
    ///
    /// # Behavior
    /// - `dropped_next_loses_nothing`
    /// - `loss_is_followed_by_a_gap`: where a node was out of reach, a gap comes before what is published once it is
    ///   reached again.
    /// - `slow_taker_finds_a_gap`: a node that does not take what comes holds up nobody, and what waits for it is
    ///   bounded; what it missed is a gap.
    /// - `ended_subscription_says_so_and_can_be_joined_again`
    async fn next(&mut self) -> Option<BusEvent>;
}

/// The name of a node: any number that no other node has at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// What comes over the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusEvent {
    /// Something that another node published.
    Message(BusMessage),
    /// Something may have been lost before this point: compare with the store.
    Gap,
}

/// What a message is about, so that a node hears only what concerns its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// A chat.
    Chat(ChatId),
    /// A person: their sessions, presence, and chats they are added to.
    User(UserId),
    /// All nodes, and all that they tell their connections.
    Nodes,
}

/// Something that happened, and whom it concerns.
///
/// It goes over the wire as JSON, so that nodes of two releases understand each other: what a reader does not know it
/// takes for [`Hint::Invalidate`] of the topics that it knows.
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
    /// Whom it concerns.
    pub topics: Vec<Topic>,
    /// What it is.
    pub hint: Arc<Hint>,
}

/// Something that happened.
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
        /// The change by which they did.
        revision: crate::domain::Revision,
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
    /// Something may have changed of what the topics name, and nobody was told what: compare them with the store.
    Invalidate {},
}

/// The bus can't be reached, or took too long.
#[derive(Debug, thiserror::Error)]
#[error("the bus can't be reached")]
pub struct BusError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The form of [`BusMessage`] on the wire. A release that changes what a known hint means raises it.
const VERSION: u32 = 1;

impl BusMessage {
    /// As it goes over the wire: `{ "v": 1, "topics": [{ "chat": ID }, { "user": ID }, "nodes"], "hint": { … } }`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = Written { v: VERSION, topics: &self.topics, hint: &self.hint };
        // Ids, numbers and texts always serialise.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) of this release, or of another one, has written.
    ///
    /// # Errors
    /// [`BusError`] if it is none of that.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BusError> {
        let read: Read<'_> = serde_json::from_slice(bytes).map_err(|error| BusError(error.into()))?;
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
        // A field more changes nothing of what is known.
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
