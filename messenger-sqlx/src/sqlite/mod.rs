//! The store in an embedded SQLite file.

mod accounts;
mod append;
mod chats;
mod contents;
mod enqueue;
mod errors;
mod jobs;
mod keys;
mod markers;
mod messages;
mod migrate;
mod modes;
mod open;
#[cfg(test)]
mod plans;
mod readers;
mod retention;
mod schedules;
mod sessions;
mod sole;
mod sql;
#[cfg(test)]
mod steps;
mod store;
mod unread;
mod users;
mod writer;

pub use messenger_sql::open::{OpenError, OpenErrorKind};

pub use self::{enqueue::enqueue_jobs_in, migrate::migrations_sql, open::SqliteBuilder, store::SqliteStore};
