#![doc = include_str!("../README.md")]

mod address;
mod append;
mod call;
mod chats;
mod connect;
mod connections;
mod contents;
mod enqueue;
mod errors;
#[cfg(test)]
mod fake;
mod jobs;
mod keys;
mod markers;
mod messages;
mod migrate;
mod open;
mod retention;
mod row;
mod schedules;
mod schema;
mod sessions;
mod sql;
mod statements;
mod store;
mod unread;
mod users;

pub use messenger_sql::open::{OpenError, OpenErrorKind};

pub use self::{connect::TokenSource, migrate::migrations_sql, open::MssqlBuilder, store::MssqlStore};
