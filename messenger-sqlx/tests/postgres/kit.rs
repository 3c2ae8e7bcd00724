//! The conformance kit on PostgreSQL.

use crate::support::postgres::fresh;
use messenger_core::testkit;

testkit::store_cases!(fresh());

testkit::model_cases!(fresh());

mod instrumented {
    use messenger_core::testkit::{self, Instrumented};

    use super::fresh;

    testkit::store_cases!(async { Instrumented(fresh().await) });
}

/// The kit permits a store that does not, and asks less of it.
#[test]
fn commits_are_numbered() {
    testkit::run_store_case(fresh(), async |world| {
        let user = world.user("ada").await;
        assert!(world.store.memberships(user, None).await.unwrap().history.is_some());
    });
}
