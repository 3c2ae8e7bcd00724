//! The conformance kit on a real Redis, and what is particular to it: each test starts a server of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod claims;
mod cluster;
mod kit;
mod losses;
mod memory;
mod rates;
mod sentinel;
mod support;
#[cfg(feature = "tls")]
mod tls;
