use serde::{Deserialize, Serialize};

use super::{
    DailyHours, DisplayName, EmailAddress, Language, QuietHours, TimeZone, Timestamp, UserId, Username,
};

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
    /// The language that the person reads, in lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The time zone that the person lives in, by its IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub time_zone: Option<TimeZone>,
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
    /// The hours of each day, in the person's time zone, in which there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DailyHours>))]
    pub quiet_hours: Option<QuietHours>,
}

/// Which notifications a person wants from now on; fields that are absent stay unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeNotifications {
    /// Mail about unread messages.
    pub email: Option<bool>,
    /// The hours of each day, in the person's time zone, in which there is none; with both bounds the same there are no
    /// such hours.
    pub quiet_hours: Option<DailyHours>,
}
