#![doc = include_str!("../README.md")]

#[cfg(feature = "sqlite")]
mod columns;
#[cfg(feature = "sqlite")]
mod finish;
#[cfg(feature = "sqlite")]
mod migrations;
#[cfg(feature = "sqlite")]
mod prefix;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteBuilder, SqliteStore};
