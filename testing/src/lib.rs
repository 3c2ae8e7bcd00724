//! What tests and benchmarks run on: databases of a server that is there, whole servers that may be crashed, and a way
//! to a server that fails when it is told to.
//!
//! What fails here panics: a test or a benchmark can't go on without.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[cfg(feature = "bench")]
pub mod bench;
mod cpu;
mod database;
#[cfg(unix)]
pub mod faults;
#[cfg(feature = "load")]
mod load;
mod mssql;
#[cfg(unix)]
mod pooler;
mod redis;
mod redis_cluster;
mod relay;
#[cfg(feature = "kit")]
mod relayed_bus;
mod server;
#[cfg(feature = "bench")]
pub mod sockets;

pub use cpu::ServerCpu;
pub use database::{Database, connect, execute, server_url, with_database};
#[cfg(feature = "load")]
pub use load::Load;
pub use mssql::{MssqlConnection, MssqlDatabase, mssql_url};
#[cfg(unix)]
pub use pooler::Pooler;
pub use redis::RedisServer;
pub use redis_cluster::RedisCluster;
pub use relay::{Direction, Relay};
#[cfg(feature = "kit")]
pub use relayed_bus::RelayedBus;
pub use server::{PrivateServer, script};
