//! The raw WebSocket from outside: a real server on a loopback port, on the in-memory backend.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod asyncapi;
mod bad_input;
mod ending;
mod events;
mod handshake;
mod methods;
mod neighbours;
mod order;
mod protocol;
mod resume;
mod silence;
mod support;
