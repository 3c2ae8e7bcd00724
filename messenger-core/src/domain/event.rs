use serde::{Deserialize, Serialize, Serializer};

use super::{Chat, ChatId, Message, Presence, Revision, Seq, Title, UserId};

/// What a connection is told without asking.
///
/// The payload of an event of a chat is the same for every recipient, so its bytes can be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "camelCase")]
pub enum Event {
    /// A message was sent.
    MessageCreated(MessageChange),
    /// A message's text was changed.
    MessageEdited(MessageChange),
    /// A message was deleted; what is left is a tombstone.
    MessageDeleted(MessageChange),
    /// Members, roles or title changed.
    ChatUpdated(ChatUpdate),
    /// The recipient has become a member.
    ChatAdded {
        /// The chat, as the recipient sees it.
        chat: Box<Chat>,
    },
    /// The recipient is no longer a member.
    ChatRemoved {
        /// The chat.
        #[serde(rename = "chatId")]
        chat_id: ChatId,
    },
    /// Too much of this chat was missed: forget what you have of it and read its history.
    ChatReset {
        /// The chat, as the recipient sees it.
        chat: Box<Chat>,
    },
    /// Somebody has read up to a message.
    ReadMoved(MarkMove),
    /// Messages up to one have reached somebody.
    DeliveredMoved(MarkMove),
    /// Somebody is writing, or has stopped.
    Typing(Typing),
    /// Somebody came or went.
    PresenceChanged(Presence),
    /// All that was missed has been sent.
    CaughtUp {},
}

/// A message in its state after a change of the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageChange {
    /// The chat.
    pub chat_id: ChatId,
    /// The number of the change.
    pub revision: Revision,
    /// The message.
    pub message: Message,
}

/// Members, roles or title of a chat changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatUpdate {
    /// The chat.
    pub chat_id: ChatId,
    /// The number of the change.
    pub revision: Revision,
    /// The title, if this is a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// How many people are in it.
    pub member_count: u32,
    /// The system message that says what happened.
    pub message: Message,
}

/// A mark of a member moved forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkMove {
    /// The chat.
    pub chat_id: ChatId,
    /// Whose mark.
    pub user_id: UserId,
    /// Where it is now.
    pub seq: Seq,
}

/// Somebody is writing, or has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// Where.
    pub chat_id: ChatId,
    /// Who.
    pub user_id: UserId,
    /// Whether they are writing.
    pub typing: bool,
    /// After so many milliseconds it is over unless it is said again.
    pub expires_in_ms: u32,
}

impl Event {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageCreated(_) => "messageCreated",
            Self::MessageEdited(_) => "messageEdited",
            Self::MessageDeleted(_) => "messageDeleted",
            Self::ChatUpdated(_) => "chatUpdated",
            Self::ChatAdded { .. } => "chatAdded",
            Self::ChatRemoved { .. } => "chatRemoved",
            Self::ChatReset { .. } => "chatReset",
            Self::ReadMoved(_) => "readMoved",
            Self::DeliveredMoved(_) => "deliveredMoved",
            Self::Typing(_) => "typing",
            Self::PresenceChanged(_) => "presenceChanged",
            Self::CaughtUp {} => "caughtUp",
        }
    }

    /// What the event says, to be serialised without its name.
    pub const fn payload(&self) -> Payload<'_> {
        Payload(self)
    }

    /// The change of a chat that this event tells of, if it is one.
    pub const fn change(&self) -> Option<(ChatId, Revision)> {
        match self {
            Self::MessageCreated(c) | Self::MessageEdited(c) | Self::MessageDeleted(c) => {
                Some((c.chat_id, c.revision))
            }
            Self::ChatUpdated(c) => Some((c.chat_id, c.revision)),
            _ => None,
        }
    }
}

/// What an event says, without its name.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'e>(&'e Event);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct OfChat<'e> {
            chat: &'e Chat,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct OfChatId {
            chat_id: ChatId,
        }
        #[derive(Serialize)]
        struct Nothing {}

        match self.0 {
            Event::MessageCreated(c) | Event::MessageEdited(c) | Event::MessageDeleted(c) => {
                c.serialize(serializer)
            }
            Event::ChatUpdated(c) => c.serialize(serializer),
            Event::ChatAdded { chat } | Event::ChatReset { chat } => OfChat { chat }.serialize(serializer),
            Event::ChatRemoved { chat_id } => OfChatId { chat_id: *chat_id }.serialize(serializer),
            Event::ReadMoved(mark) | Event::DeliveredMoved(mark) => mark.serialize(serializer),
            Event::Typing(typing) => typing.serialize(serializer),
            Event::PresenceChanged(presence) => presence.serialize(serializer),
            Event::CaughtUp {} => Nothing {}.serialize(serializer),
        }
    }
}
