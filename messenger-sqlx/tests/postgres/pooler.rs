//! The conformance kit through PgBouncer, which gives each transaction another connection of the server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use crate::support::postgres::migrated;
use messenger_core::testkit;
use messenger_sqlx::PostgresStore;
use messenger_testing::{Database, Pooler, server_url};

/// A store whose connections lead through a pooler of its own: it is to be the only one to mix them up.
async fn fresh() -> (Arc<PostgresStore>, (Pooler, Database)) {
    let database = migrated(&server_url()).await;
    let pooler = Pooler::start(&database.url()).await;
    let builder = PostgresStore::builder(pooler.url()).transaction_pooling(true).max_connections(8);
    let store = builder.acquire_timeout(Duration::from_secs(30)).open().await.unwrap();
    (Arc::new(store), (pooler, database))
}

testkit::store_cases!(fresh());
