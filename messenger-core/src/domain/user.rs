use serde::{Deserialize, Serialize};

use super::{DisplayName, EmailAddress, Timestamp, UserId, Username};

/// An account, as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name it logs in with; of an erased account a name that nobody can take.
    pub username: Username,
    /// The name that others see.
    pub display_name: DisplayName,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Me {
    /// What everybody sees.
    #[serde(flatten)]
    pub user: User,
    /// The mail address.
    pub email: EmailAddress,
    /// What the person wants to be told about outside the chat.
    pub notifications: Notifications,
}

/// What a person wants to be told about outside the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notifications {
    /// Mail for what stayed unread.
    pub email: bool,
}
