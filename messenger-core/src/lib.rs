#![doc = include_str!("../README.md")]

mod actor;
mod begun;
pub mod commands;
pub mod context;
mod convert;
#[doc(hidden)]
pub mod doc;
pub mod domain;
mod error;
pub mod hub;
mod lanes;
pub mod memory;
mod messenger;
mod passwords;
mod policy;
pub mod ports;
pub mod queries;
mod tasks;
#[cfg(test)]
mod testing;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use actor::Actor;
pub use begun::Begun;
pub use domain::*;
pub use error::{Error, FieldError, Result};
pub use hub::{Connection, Signal};
pub use messenger::{Builder, Command, Cx, Messenger, Outcome, Query, Settings};
pub use passwords::PasswordCost;
pub use policy::Policy;
