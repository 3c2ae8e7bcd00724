//! The conformance kit: on the backend in memory, and by itself.

mod finds_faults;
mod is_complete;
mod memory;
