use serde::{Deserialize, Serialize};

use super::{Timestamp, UserId};

/// Whether a person is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Presence {
    /// The person.
    pub user_id: UserId,
    /// Whether any device is connected, or was connected within the grace period.
    pub online: bool,
    /// When the last device was last connected; absent while online, and if no device ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
}
