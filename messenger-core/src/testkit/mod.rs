//! The conformance kit: every case that a backend of the [ports](crate::ports) must pass.
//!
//! Each point of a `# Behavior` list is one case of that name. Two lines run them all, for the backends of this
//! workspace and for those of third parties alike:
//!
//! ```no_run
//! # fn main() {}
//! use std::sync::Arc;
//! use messenger_core::{memory::MemoryStore, testkit};
//!
//! testkit::store_cases!(async { Arc::new(MemoryStore::new()) });
//! testkit::model_cases!(async { Arc::new(MemoryStore::new()) });
//! ```
//!
//! The argument is a future that makes a fresh backend; it is run anew for each case. What must live as long as the
//! backend, such as a directory, goes beside it: `(store, directory)`, see [`FreshStore`]. Each case runs on its own
//! multi-threaded runtime, and fails when it takes too long.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a case of the kit fails by panicking")]

pub mod cases;
mod check;
mod erasures;
mod fresh;
mod list;
pub mod model;
mod planted;
mod run;
mod world;

pub use self::{
    check::check_chat,
    erasures::erasures_leave_nothing,
    fresh::{Carried, FreshBus, FreshPresence, FreshStore, Instrumented, Sealed},
    planted::Planted,
    run::{Pace, cut_short, race, run, run_bus_case, run_presence_case, run_store_case, while_racing},
    world::{World, error_kind, expected_system, expected_text},
};

#[doc(inline)]
pub use crate::{
    __messenger_bus_cases as bus_cases, __messenger_model_cases as model_cases,
    __messenger_presence_cases as presence_cases, __messenger_store_cases as store_cases,
};
