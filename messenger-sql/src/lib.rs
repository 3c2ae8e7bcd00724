#![doc = include_str!("../README.md")]

pub mod append;
pub mod columns;
pub mod contents;
pub mod jobs;
pub mod keys;
pub mod marks;
pub mod memberships;
pub mod migrations;
pub mod open;
pub mod pool;
pub mod prefix;
pub mod records;
pub mod retention;
pub mod turns;
pub mod unread;
#[cfg(test)]
mod values;
