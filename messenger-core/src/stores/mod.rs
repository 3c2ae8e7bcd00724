//! Stores that wrap another one.

mod instrumented;

pub use self::instrumented::InstrumentedStore;
