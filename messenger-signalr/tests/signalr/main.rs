//! SignalR from outside, without a network: clients and server are in one process on a clock that stands still while
//! there is something to do, so that minutes take no time.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod calls;
mod elsewhere;
mod ending;
mod events;
mod handshakes;
mod hub;
mod life;
mod message_pack;
mod polling;
mod requests;
mod stateful;
mod streams;
mod support;
