//! The SQL statements, by subject.

mod append;
mod chats;
mod contents;
mod jobs;
mod keys;
mod markers;
mod messages;
pub(super) mod presence;
mod retention;
mod sessions;
mod unread;
mod users;

use std::time::Duration;

use sqlx::SqlStr;

use super::sql::{Schema, statement};

/// The server ends a transaction that has been idle for this many milliseconds: its node is presumed lost.
pub(in crate::postgres) const IDLE_IN_TRANSACTION: u32 = 60_000;

/// Makes plans the same for all values: by an index. A plan that seems best while the tables are small or not yet
/// analysed would stay in use while they grow.
pub(in crate::postgres) const PLANNER: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
    // A plan for all values expects many rows, for which the server would start processes.
    ("max_parallel_workers_per_gather", "0"),
];

/// Every statement, with the schema's name in it.
#[derive(Debug)]
pub(in crate::postgres) struct Statements {
    pub(in crate::postgres) begin: SqlStr,
    pub(in crate::postgres) begin_planned: SqlStr,
    pub(in crate::postgres) writable: SqlStr,
    pub(in crate::postgres) users: users::Sql,
    pub(in crate::postgres) sessions: sessions::Sql,
    pub(in crate::postgres) chats: chats::Sql,
    pub(in crate::postgres) messages: messages::Sql,
    pub(in crate::postgres) append: append::Sql,
    pub(in crate::postgres) markers: markers::Sql,
    pub(in crate::postgres) unread: unread::Sql,
    pub(in crate::postgres) jobs: jobs::Sql,
    pub(in crate::postgres) keys: keys::Sql,
    pub(in crate::postgres) retention: retention::Sql,
    pub(in crate::postgres) contents: contents::Sql,
}

impl Statements {
    /// `statement_timeout` is set in each transaction.
    pub(in crate::postgres) fn new(schema: &Schema, statement_timeout: Option<Duration>) -> Self {
        let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        if let Some(limit) = statement_timeout {
            begin += &format!(
                "; SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION}",
                limit.as_millis()
            );
        }
        let mut begin_planned = begin.clone();
        for (setting, value) in PLANNER {
            begin_planned += &format!("; SET LOCAL {setting} = {value}");
        }
        Self {
            begin: statement(begin),
            begin_planned: statement(begin_planned),
            // Also false on a server that is a replica.
            writable: SqlStr::from_static("SELECT current_setting('transaction_read_only') = 'off'"),
            users: users::Sql::new(schema),
            sessions: sessions::Sql::new(schema),
            chats: chats::Sql::new(schema),
            messages: messages::Sql::new(schema),
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
