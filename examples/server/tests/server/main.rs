//! The real binary, driven from outside.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[cfg(unix)]
mod cluster;
mod configuration;
mod connections;
mod crash;
mod data;
#[cfg(unix)]
mod encryption;
mod ending;
mod erasing;
mod export;
#[cfg(unix)]
mod faults;
#[cfg(unix)]
mod hushed;
mod jobs;
mod live;
mod lost;
mod mail;
#[cfg(unix)]
mod modes;
mod mssql;
mod nodes;
mod page;
mod passwords;
mod postgres;
mod resume;
mod retention;
mod slow;
mod stores;
mod support;
mod town;
mod users;
