//! The conformance kit on the in-memory backend.

#![cfg(feature = "testkit")]

use std::sync::Arc;

use messenger_core::{memory::MemoryStore, testkit};

testkit::store_cases!(async { Arc::new(MemoryStore::new()) });
