//! On a server: the conformance kit, and what is particular to SQL Server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod habits;
mod nodes;
mod opening;
mod support;
