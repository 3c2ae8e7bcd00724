//! PostgreSQL servers and databases for tests and benchmarks: those of a server that is there, and whole servers that
//! may be crashed.
//!
//! What fails here panics: a test or a benchmark can't go on without.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod cpu;
mod database;
#[cfg(unix)]
mod pooler;
mod server;

pub use cpu::ServerCpu;
pub use database::{Database, connect, execute, server_url, with_database};
#[cfg(unix)]
pub use pooler::Pooler;
pub use server::{PrivateServer, script};
