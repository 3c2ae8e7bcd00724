use serde::{Deserialize, Serialize};

use super::{
    ChatId, ClientId, MessageBody, MessageId, RetentionPeriod, Revision, Role, Seq, Timestamp, Title, UserId,
};

/// A message of a chat, in its latest state.
///
/// A deleted message remains as a tombstone: the same id and place, no text, `deletedAt` set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The chat it is in.
    pub chat_id: ChatId,
    /// Its place in the chat: 1, 2, 3 … without gaps.
    pub seq: Seq,
    /// The chat's revision at the message's last change.
    pub revision: Revision,
    /// Written by a person, or by the chat itself.
    pub kind: MessageKind,
    /// The author, or, for a system message, the person whose action it records.
    pub sender_id: UserId,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<MessageBody>,
    /// The client id of the sender's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The message of the same chat that it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When its text was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// What happened to the chat, in a system message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemNote>,
    /// Whether its text, or its list of people, was shortened: only the last message of a chat may be. Absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Whether what is stored can't be read, for instance because it was tampered with: then neither `body` nor `system` is there. Absent
    /// if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corrupt: bool,
}

/// Written by a person, or by the chat itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum MessageKind {
    /// A person's text.
    Text,
    /// A change of members, roles or title.
    System,
}

/// What a system message says; the sender of the message is the person whose action it records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SystemNote {
    /// What happened.
    pub event: SystemEvent,
    /// The people it happened to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_ids: Vec<UserId>,
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// The new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// For how many seconds messages are kept; absent if the service decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionPeriod>,
}

/// What happened to a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum SystemEvent {
    /// The group was created; `userIds` are its first members, the sender is its owner.
    Created,
    /// `userIds` were added as members.
    MembersAdded,
    /// `userIds` were removed.
    MembersRemoved,
    /// `userIds` (the sender) left.
    MemberLeft,
    /// `userIds` have the role `role` now; if that is `owner`, the former owner is an admin now.
    RoleChanged,
    /// The title is `title` now.
    TitleChanged,
    /// Messages are kept for `retention` seconds from now on; without it, for as long as the service keeps them.
    RetentionChanged,
}
