//! The store in a PostgreSQL database, and what several nodes share in it.

mod append;
mod bus;
mod chats;
mod connections;
mod contents;
mod enqueue;
mod errors;
mod holds;
mod jobs;
mod keys;
mod line;
mod listen;
mod markers;
mod messages;
mod migrate;
mod nodes;
mod open;
mod payload;
mod presence;
mod retention;
mod schedules;
mod sessions;
mod sql;
mod statements;
mod store;
mod unread;
mod users;

pub use messenger_sql::open::{OpenError, OpenErrorKind};

pub use self::{
    bus::PostgresBus,
    migrate::migrations_sql,
    nodes::{PostgresNodes, PostgresNodesBuilder},
    open::PostgresBuilder,
    presence::PostgresPresence,
    store::PostgresStore,
};
