use serde::{Deserialize, Serialize};

use super::{ChatId, Message, Revision, Seq, Timestamp, Title, User};

/// A chat, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// Between two people, or a group.
    pub kind: ChatKind,
    /// The title of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// The number of its last change.
    pub revision: Revision,
    /// The place of its last message.
    pub last_seq: Seq,
    /// How many people are in it.
    pub member_count: u32,
    /// What it is to the person who asks.
    pub me: MyMembership,
    /// The other one, in a direct chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<User>,
    /// The message at `lastSeq`, as a list shows it: with the first 256 characters of its text, or the first 16 people of
    /// a system message. If there is more, it is `truncated`: its whole is read with the history, or by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
}

/// What a chat is to the person who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MyMembership {
    /// What the person may do in it.
    pub role: Role,
    /// The person's read mark: all up to here is read.
    pub read_seq: Seq,
    /// Text messages after the read mark.
    pub unread: u64,
    /// No notifications until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

/// Between two people, or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ChatKind {
    /// Exactly two people, for good; there is one such chat for each pair.
    Direct,
    /// Any number of people, with a title and roles.
    Group,
}

/// What a member may do. Ordered: an owner is more than an admin, an admin more than a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also adds and removes members, changes the title, deletes messages of others.
    Admin,
    /// Also gives roles. A group has one owner; a direct chat has none.
    Owner,
}

/// One person in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Member {
    /// Who.
    pub user: User,
    /// What they may do.
    pub role: Role,
    /// Since when they are in the chat.
    pub joined_at: Timestamp,
    /// All up to here they have read.
    pub read_seq: Seq,
    /// All up to here has reached one of their devices.
    pub delivered_seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_more_than_an_admin_and_an_admin_more_than_a_member() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Member);
        let words = [Role::Owner, Role::Admin, Role::Member].map(|role| serde_json::to_value(role).unwrap());
        assert_eq!(words, ["owner", "admin", "member"]);
    }
}
