use serde::{Deserialize, Serialize};

use super::{ChatId, Message, NotifyLevel, RetentionPeriod, Revision, Seq, Timestamp, Title, User};

/// A chat, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// Direct (between two people) or group.
    pub kind: ChatKind,
    /// The title of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// The number of its last change.
    pub revision: Revision,
    /// The seq of its last message.
    pub last_seq: Seq,
    /// How many members it has.
    pub member_count: u32,
    /// For how many seconds messages are kept, if the chat has a time of its own, which is from 60 to 3155760000. If the service
    /// keeps messages for less time than that, it is that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionPeriod>,
    /// The membership of the person who asks.
    pub me: MyMembership,
    /// The other person, in a direct chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<User>,
    /// The message at `lastSeq`, shortened for a list: with the first 256 characters of its text, or the first 16
    /// people of a system message. If there is more, it is `truncated`: the full message is read with the history, or
    /// by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Message>,
}

/// A chat's membership of the person who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct MyMembership {
    /// The person's role.
    pub role: Role,
    /// The person's read mark: everything up to here is read.
    pub read_seq: Seq,
    /// Text messages after the read mark.
    pub unread: u64,
    /// Notifications are muted until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// About which messages the person is told outside the chat.
    #[serde(default)]
    pub notifications: NotifyLevel,
}

/// Direct or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ChatKind {
    /// Exactly two people, permanently; there is one such chat for each pair.
    Direct,
    /// Any number of people, with a title and roles.
    Group,
}

/// What a member may do. Ordered: an owner ranks above an admin, an admin above a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// May read and write.
    Member,
    /// May also add and remove members, change the title, and delete messages of others.
    Admin,
    /// May also give roles. A group has one owner; a direct chat has none.
    Owner,
}

/// One person in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Member {
    /// The person.
    pub user: User,
    /// The role.
    pub role: Role,
    /// When they joined.
    pub joined_at: Timestamp,
    /// The read mark: they have read everything up to here.
    pub read_seq: Seq,
    /// The delivered mark: everything up to here has reached one of their devices.
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
