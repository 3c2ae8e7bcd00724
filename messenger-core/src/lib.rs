#![doc = include_str!("../README.md")]

pub mod context;
pub mod domain;
mod error;
pub mod memory;
pub mod ports;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use domain::*;
pub use error::{Error, FieldError, Result};
