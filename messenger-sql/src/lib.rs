#![doc = include_str!("../README.md")]

pub mod append;
pub mod columns;
pub mod finish;
pub mod marks;
pub mod migrations;
pub mod prefix;
pub mod records;
#[cfg(test)]
mod values;
