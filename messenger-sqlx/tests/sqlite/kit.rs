//! The conformance kit on SQLite.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use messenger_core::testkit;
use messenger_sqlx::SqliteStore;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(45);

async fn fresh() -> (Arc<SqliteStore>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let builder = SqliteStore::builder(directory.path().join("chat.db"));
    // A crowd of the kit is served in the end, however many processes share the processors.
    let store = builder.acquire_timeout(PATIENCE).timeout(PATIENCE).open().await.unwrap();
    (Arc::new(store), directory)
}

testkit::store_cases!(fresh());

testkit::model_cases!(fresh());

mod instrumented {
    use messenger_core::testkit::{self, Instrumented};

    use super::fresh;

    testkit::store_cases!(async { Instrumented(fresh().await) });
}

mod sealed {
    use messenger_core::testkit::{self, Sealed};

    use super::fresh;

    testkit::store_cases!(async { Sealed::of(fresh().await).await });

    testkit::model_cases!(async { Sealed::of(fresh().await).await });
}

/// The kit permits a store that does not, and asks less of it.
#[test]
fn commits_are_numbered() {
    testkit::run_store_case(fresh(), async |world| {
        let user = world.user("ada").await;
        assert!(world.store.memberships(user, None).await.unwrap().history.is_some());
    });
}

#[test]
fn erasures_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let reopen = move || {
        let builder = SqliteStore::builder(&path).shared(true);
        let builder = builder.acquire_timeout(PATIENCE).timeout(PATIENCE);
        async move { Arc::new(builder.open().await.unwrap()) }
    };
    testkit::erasures_leave_nothing(reopen, 50, 10);
}
