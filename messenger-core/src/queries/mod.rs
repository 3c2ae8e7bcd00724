//! What can be asked: one struct for each query, which answers itself.

mod auth;
mod chats;
mod messages;
mod realtime;
mod users;

pub use auth::ListSessions;
pub use chats::{GetChat, ListChats, ListMembers};
pub use messages::{GetHistory, GetMessage, History};
pub use realtime::{ChatSync, GetPresence, Sync, Synced};
pub use users::{FindUsers, GetMe, GetUser};

use crate::{
    Limits,
    domain::Cursor,
    error::{Error, Result},
};

/// How many entries a page is to have.
fn page_size(limit: Option<u32>, limits: &Limits) -> Result<usize> {
    let limit = limit.map_or(limits.page.default, |limit| limit as usize);
    if (1..=limits.page.max).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid("limit", format!("must be from 1 to {}", limits.page.max)))
}

/// The place that a cursor stands for.
fn place<K: serde::de::DeserializeOwned>(cursor: Option<&Cursor>) -> Result<Option<K>> {
    let read = |cursor: &Cursor| cursor.key().ok_or_else(|| Error::invalid("cursor", "is none of this list"));
    cursor.map(read).transpose()
}
