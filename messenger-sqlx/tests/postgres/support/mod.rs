#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod nodes;
pub(crate) mod plans;
pub(crate) mod postgres;
