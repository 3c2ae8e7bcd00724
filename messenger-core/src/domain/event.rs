use serde::{Deserialize, Serialize, Serializer};

use super::{Chat, ChatId, Message, MessageBody, Position, Presence, Revision, Seq, Title, UserId};

/// A notification that the server sends to a connection.
///
/// The payload of a chat's event is the same for every recipient, so its bytes can be shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A message was sent.
    MessageCreated(MessageChange),
    /// A message's text was changed.
    MessageEdited(MessageChange),
    /// A message was deleted; a tombstone remains.
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
    /// The client missed too many changes of this chat: it must discard what it has of the chat and read its history.
    ChatReset {
        /// The chat, as the recipient sees it.
        chat: Box<Chat>,
    },
    /// Somebody's read mark moved.
    ReadMoved(MarkMove),
    /// Somebody's delivered mark moved.
    DeliveredMoved(MarkMove),
    /// Somebody is typing, or has stopped.
    Typing(Typing),
    /// Somebody came online or went offline.
    PresenceChanged(Presence),
    /// Everything that the client missed has been sent.
    CaughtUp {
        /// The client's position now, to be sent with the next resume. Absent if the client does not use positions, did
        /// not state which revisions it has, or can't be given everything because something can't be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
}

/// A message in its state after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct ChatUpdate {
    /// The chat.
    pub chat_id: ChatId,
    /// The number of the change.
    pub revision: Revision,
    /// The title, if this is a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// How many members it has.
    pub member_count: u32,
    /// The system message that records the change.
    pub message: Message,
}

/// A mark of a member moved forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MarkMove {
    /// The chat.
    pub chat_id: ChatId,
    /// The member whose mark it is.
    pub user_id: UserId,
    /// The new place of the mark.
    pub seq: Seq,
}

/// Somebody is typing, or has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Typing {
    /// The chat.
    pub chat_id: ChatId,
    /// The person.
    pub user_id: UserId,
    /// Whether they are typing.
    pub typing: bool,
    /// The state ends after this many milliseconds unless the event is repeated.
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
            Self::CaughtUp { .. } => "caughtUp",
        }
    }

    /// The event's payload, serialised without its name.
    pub const fn payload(&self) -> Payload<'_> {
        Payload(self)
    }

    /// The message text that a person wrote, if the event carries it in full.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::MessageCreated(change) | Self::MessageEdited(change) => {
                change.message.body.as_ref().map(MessageBody::as_str)
            }
            _ => None,
        }
    }

    /// The chat's change that this event reports, if it reports one.
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

/// The payload of an event, without its name.
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
        struct UpTo<'e> {
            #[serde(skip_serializing_if = "Option::is_none")]
            position: Option<&'e Position>,
        }

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
            Event::CaughtUp { position } => UpTo { position: position.as_ref() }.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{ChatKind, MessageKind, MyMembership, NotifyLevel, Role, Timestamp};

    const ID: [u8; 16] = [7; 16];
    const ID_TEXT: &str = "07070707-0707-0707-0707-070707070707";
    const MOMENT: &str = "2026-11-22T03:18:41.123Z";

    fn moment() -> Timestamp {
        MOMENT.parse().unwrap()
    }

    fn message() -> Message {
        Message {
            id: super::super::MessageId::from_bytes(ID),
            chat_id: ChatId::from_bytes(ID),
            seq: Seq::new(5),
            revision: Revision::new(6),
            kind: MessageKind::Text,
            sender_id: UserId::from_bytes(ID),
            body: None,
            client_id: None,
            reply_to: None,
            created_at: moment(),
            edited_at: None,
            deleted_at: None,
            system: None,
            truncated: false,
            corrupt: false,
        }
    }

    fn chat() -> Box<Chat> {
        Box::new(Chat {
            id: ChatId::from_bytes(ID),
            kind: ChatKind::Group,
            title: Some(Title::trusted("Tea")),
            created_at: moment(),
            revision: Revision::new(6),
            last_seq: Seq::new(5),
            member_count: 2,
            retention: None,
            me: MyMembership {
                role: Role::Admin,
                read_seq: Seq::ZERO,
                unread: 1,
                muted_until: None,
                notifications: NotifyLevel::All,
            },
            peer: None,
            last_message: None,
        })
    }

    /// Each event with its name, its payload and the revision of the change that it reports.
    fn all() -> Vec<(Event, &'static str, Value, Option<u64>)> {
        let (chat_id, user_id) = (ChatId::from_bytes(ID), UserId::from_bytes(ID));
        let created = MessageChange { chat_id, revision: Revision::new(6), message: message() };
        let edited = MessageChange { revision: Revision::new(7), ..created.clone() };
        let deleted = MessageChange { revision: Revision::new(8), ..created.clone() };
        let updated = ChatUpdate {
            chat_id,
            revision: Revision::new(9),
            title: Some(Title::trusted("Tea")),
            member_count: 2,
            message: message(),
        };
        let mark = MarkMove { chat_id, user_id, seq: Seq::new(5) };
        let typing = Typing { chat_id, user_id, typing: true, expires_in_ms: 6000 };
        let presence = Presence { user_id, online: false, last_seen_at: Some(moment()) };
        let message = json!({
            "id": ID_TEXT, "chatId": ID_TEXT, "seq": 5, "revision": 6, "kind": "text", "senderId": ID_TEXT,
            "createdAt": MOMENT,
        });
        let change = |revision| json!({ "chatId": ID_TEXT, "revision": revision, "message": message });
        let update = json!({
            "chatId": ID_TEXT, "revision": 9, "title": "Tea", "memberCount": 2, "message": message,
        });
        let seen = json!({ "chat": {
            "id": ID_TEXT, "kind": "group", "title": "Tea", "createdAt": MOMENT, "revision": 6, "lastSeq": 5,
            "memberCount": 2, "me": { "role": "admin", "readSeq": 0, "unread": 1, "notifications": "all" },
        } });
        let marked = json!({ "chatId": ID_TEXT, "userId": ID_TEXT, "seq": 5 });
        let types = json!({ "chatId": ID_TEXT, "userId": ID_TEXT, "typing": true, "expiresInMs": 6000 });
        let gone = json!({ "userId": ID_TEXT, "online": false, "lastSeenAt": MOMENT });
        vec![
            (Event::MessageCreated(created), "messageCreated", change(6), Some(6)),
            (Event::MessageEdited(edited), "messageEdited", change(7), Some(7)),
            (Event::MessageDeleted(deleted), "messageDeleted", change(8), Some(8)),
            (Event::ChatUpdated(updated), "chatUpdated", update, Some(9)),
            (Event::ChatAdded { chat: chat() }, "chatAdded", seen.clone(), None),
            (Event::ChatRemoved { chat_id }, "chatRemoved", json!({ "chatId": ID_TEXT }), None),
            (Event::ChatReset { chat: chat() }, "chatReset", seen, None),
            (Event::ReadMoved(mark), "readMoved", marked.clone(), None),
            (Event::DeliveredMoved(mark), "deliveredMoved", marked, None),
            (Event::Typing(typing), "typing", types, None),
            (Event::PresenceChanged(presence), "presenceChanged", gone, None),
            (Event::CaughtUp { position: None }, "caughtUp", json!({}), None),
        ]
    }

    #[test]
    fn an_event_is_its_name_and_its_payload() {
        for (event, name, payload, _) in all() {
            assert_eq!(event.name(), name);
            assert_eq!(serde_json::to_value(event.payload()).unwrap(), payload, "{name}");
            let whole = serde_json::to_value(&event).unwrap();
            assert_eq!(whole, json!({ "event": name, "payload": payload }));
            assert_eq!(serde_json::from_value::<Event>(whole).unwrap(), event);
        }
    }

    #[test]
    fn only_what_changes_a_chat_has_a_revision_of_it() {
        for (event, name, _, revision) in all() {
            let change = revision.map(|revision| (ChatId::from_bytes(ID), Revision::new(revision)));
            assert_eq!(event.change(), change, "{name}");
        }
    }
}
