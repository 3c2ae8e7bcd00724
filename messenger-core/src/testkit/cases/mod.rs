//! The cases, by port. Their names are the points of the `# Behavior` lists.

#![expect(missing_docs, reason = "the name of a case is its sentence, and the port says the rest")]

pub mod bus;
pub mod chats;
pub mod contents;
pub mod erasing;
pub mod jobs;
pub mod keys;
pub mod lifecycle;
pub mod markers;
pub mod messages;
pub mod pending;
pub mod presence;
pub mod racing_jobs;
pub mod retention;
pub mod schedules;
pub mod sessions;
pub mod telling;
pub mod unread;
pub mod users;
