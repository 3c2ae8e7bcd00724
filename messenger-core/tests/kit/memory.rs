//! The conformance kit on the in-memory backend.

#![cfg(feature = "testkit")]

use std::sync::Arc;

use messenger_core::{
    context::ManualClock,
    memory::{MemoryBus, MemoryPresence, MemoryStore},
    testkit,
};

testkit::store_cases!(async { Arc::new(MemoryStore::new()) });

testkit::model_cases!(async { Arc::new(MemoryStore::new()) });

mod instrumented {
    use std::sync::Arc;

    use messenger_core::{
        memory::MemoryStore,
        testkit::{self, Instrumented},
    };

    testkit::store_cases!(async { Instrumented(Arc::new(MemoryStore::new())) });
}

testkit::presence_cases!(async {
    let clock = Arc::new(ManualClock::default());
    (Arc::new(MemoryPresence::new(clock.clone())), clock)
});

testkit::bus_cases!(async { Arc::new(MemoryBus::new()) });

mod sealed {
    use std::sync::Arc;

    use messenger_core::{
        memory::MemoryStore,
        testkit::{self, Sealed},
    };

    testkit::store_cases!(async { Sealed::of(Arc::new(MemoryStore::new())).await });

    testkit::model_cases!(async { Sealed::of(Arc::new(MemoryStore::new())).await });
}

#[test]
fn erasures_leave_nothing() {
    let store = Arc::new(MemoryStore::new());
    let reopen = move || {
        let store = Arc::clone(&store);
        async move { store }
    };
    // What is in memory does not outlive its process.
    testkit::erasures_leave_nothing(reopen, 50, 0);
}
