//! The conformance kit on PostgreSQL.

use std::{sync::Arc, time::Duration};

use crate::support::{
    nodes::{RealPresence, relayed},
    postgres::{fresh, migrated},
};
use messenger_core::testkit;
use messenger_sqlx::PostgresStore;
use messenger_testing::{Database, server_url};

testkit::store_cases!(fresh());

testkit::model_cases!(fresh());

mod bus {
    use super::*;

    testkit::bus_cases!(async {
        // It needs no tables.
        let database = Database::empty(&server_url()).await;
        (relayed(&database), database)
    });
}

mod presence {
    use super::*;

    testkit::presence_cases!(async { RealPresence(migrated(&server_url()).await) });
}

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
    let database = Arc::new(testkit::run(migrated(&server_url())));
    let url = database.url();
    let reopen = move || {
        let builder = PostgresStore::builder(&url).max_connections(8);
        let builder = builder.acquire_timeout(Duration::from_secs(30));
        async move { Arc::new(builder.open().await.unwrap()) }
    };
    testkit::erasures_leave_nothing(reopen, 50, 10);
}
