#![doc = include_str!("../README.md")]
#![doc = include_str!("cookbook.md")]

mod accounts;
mod actor;
mod announcements;
mod begun;
mod builder;
pub mod commands;
pub mod context;
mod convert;
mod cx;
#[doc(hidden)]
pub mod doc;
pub mod domain;
pub mod encryption;
mod erasing;
mod error;
pub mod hub;
pub mod jobs;
mod lanes;
pub mod memory;
mod messenger;
mod meters;
pub mod notify;
mod operation;
mod passwords;
mod policy;
pub mod ports;
pub mod queries;
mod retention;
mod service;
mod settings;
pub mod stores;
mod tasks;
#[cfg(test)]
mod testing;
#[cfg(feature = "testkit")]
pub mod testkit;
mod unreadable;

pub use accounts::{Account, Accounts, ErasedAccount};
pub use actor::Actor;
pub use begun::Begun;
pub use builder::Builder;
pub use domain::*;
pub use error::{Error, ErrorCode, FieldError, Result};
pub use hub::{Connection, Signal};
pub use messenger::Messenger;
pub use operation::{Command, Idempotent, Query};
pub use passwords::{PasswordCost, Peppers};
pub use policy::Policy;
pub use retention::{PurgeReport, Retention};
pub use settings::Settings;
