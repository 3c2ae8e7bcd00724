//! The store in a PostgreSQL database.

mod append;
mod chats;
mod connections;
mod errors;
mod markers;
mod messages;
mod migrate;
mod open;
mod sessions;
mod sql;
mod statements;
mod store;
mod users;

pub use messenger_sql::open::{OpenError, OpenErrorKind};

pub use self::{migrate::migrations_sql, open::PostgresBuilder, store::PostgresStore};
