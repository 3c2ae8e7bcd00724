//! The REST door from outside: requests in, answers out, on the in-memory backend.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod auth;
mod bodies;
mod chats;
mod doors;
mod every_route;
mod export;
mod largest;
mod limits;
mod mails;
mod members;
mod messages;
mod openapi;
mod realtime;
mod slow;
#[cfg(all(feature = "ws", feature = "signalr"))]
mod sockets;
mod support;
mod traces;
mod unsubscribe;
mod users;
