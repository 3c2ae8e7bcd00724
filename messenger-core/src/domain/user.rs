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
    /// The username, which the person logs in with; for an erased account, a name that nobody can take.
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
    /// The public part of the account.
    #[serde(flatten)]
    pub user: User,
    /// The mail address.
    pub email: EmailAddress,
    /// Whether the person has confirmed the address, by a link that was mailed to it.
    pub email_confirmed: bool,
    /// Which notifications the person wants outside the chat.
    pub notifications: Notifications,
}

/// Which notifications a person wants outside the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notifications {
    /// Mail about unread messages.
    pub email: bool,
}
