//! The account and its log-ins.

use serde::Serialize;

use super::{
    lines::{Lines, readable},
    place::Place,
};
use crate::{
    cx::Cx,
    domain::{Language, Notifications, SessionId, TimeZone, Timestamp, UserId, Username},
    error::Result,
    ports::UserRecord,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProfileLine<'a> {
    id: UserId,
    username: &'a Username,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_confirmed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a Language>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a TimeZone>,
    notifications: Notifications,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corrupt: Vec<&'static str>,
}

pub(super) fn profile(account: &UserRecord, lines: &mut Lines) -> Result<Option<Place>> {
    let preferences = &account.preferences;
    let mut corrupt = Vec::new();
    lines.push(&ProfileLine {
        id: account.id,
        username: &account.username,
        display_name: readable(Some(&account.display_name), "displayName", &mut corrupt),
        email: readable(account.email.as_ref().map(|email| &email.content), "email", &mut corrupt),
        email_confirmed_at: account.email_confirmed_at,
        language: preferences.language.as_ref(),
        time_zone: preferences.time_zone.as_ref(),
        notifications: Notifications { email: account.notify_email, quiet_hours: preferences.quiet_hours },
        created_at: account.created_at,
        last_seen_at: account.last_seen_at,
        corrupt,
    })?;
    Ok(Some(Place::Sessions))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionLine<'a> {
    id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corrupt: Vec<&'static str>,
}

/// All of them at once: there are at most as many as [`Limits::sessions`](crate::Limits::sessions).
pub(super) async fn sessions(cx: &Cx, user: UserId, lines: &mut Lines) -> Result<Option<Place>> {
    for session in cx.store().sessions(user).await? {
        let mut corrupt = Vec::new();
        lines.push(&SessionLine {
            id: session.id,
            device: readable(session.device.as_ref(), "device", &mut corrupt),
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            corrupt,
        })?;
    }
    Ok(Some(Place::Chats(None)))
}
