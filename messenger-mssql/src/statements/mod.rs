//! The procedures and SQL statements, by subject.

mod append;
mod chats;
mod contents;
mod jobs;
mod keys;
mod markers;
mod messages;
mod retention;
mod sessions;
mod unread;
mod users;

use std::sync::Arc;

pub(crate) use self::contents::is_utf16;
use crate::schema::Schema;

/// Every statement and the name of every procedure, with the schema's name filled in.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) writable: Arc<str>,
    pub(crate) users: users::Sql,
    pub(crate) sessions: sessions::Sql,
    pub(crate) chats: chats::Sql,
    pub(crate) messages: messages::Sql,
    pub(crate) append: append::Sql,
    pub(crate) markers: markers::Sql,
    pub(crate) unread: unread::Sql,
    pub(crate) jobs: jobs::Sql,
    pub(crate) keys: keys::Sql,
    pub(crate) retention: retention::Sql,
    pub(crate) contents: contents::Sql,
}

impl Statements {
    pub(crate) fn new(schema: &Schema, is_versioned: bool) -> Self {
        // A statement reads one consistent snapshot if the server keeps row versions. If not, a statement that reads a
        // chat with its related rows prevents changes in the meantime: all writers lock the chat first.
        let hold = if is_versioned { "" } else { "WITH (REPEATABLEREAD)" };
        Self {
            // False on a secondary replica, or in a read-only database.
            writable: "SELECT CAST(CASE CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) WHEN N'READ_ONLY' THEN 0 \
                ELSE 1 END AS bit)"
                .into(),
            users: users::Sql::new(schema),
            sessions: sessions::Sql::new(schema),
            chats: chats::Sql::new(schema, hold),
            messages: messages::Sql::new(schema, hold),
            append: append::Sql::new(schema),
            markers: markers::Sql::new(schema),
            unread: unread::Sql::new(schema),
            jobs: jobs::Sql::new(schema),
            keys: keys::Sql::new(schema),
            retention: retention::Sql::new(schema),
            contents: contents::Sql::new(schema),
        }
    }
}
