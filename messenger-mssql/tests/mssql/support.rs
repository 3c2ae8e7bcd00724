//! Stores in databases of their own, on the server that tests are to use.

use std::{sync::Arc, time::Duration};

use messenger_mssql::{MssqlBuilder, MssqlStore};
use messenger_testing::MssqlDatabase;

/// More than anything takes on a busy machine: what is not about time must not fail for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A store in a database with nothing in it.
pub(crate) async fn fresh() -> (Arc<MssqlStore>, MssqlDatabase) {
    open(MssqlDatabase::create().await).await
}

/// The same, in a database that keeps versions of rows for those who read.
pub(crate) async fn versioned() -> (Arc<MssqlStore>, MssqlDatabase) {
    open(MssqlDatabase::create_versioned().await).await
}

async fn open(database: MssqlDatabase) -> (Arc<MssqlStore>, MssqlDatabase) {
    let store = patient(&database.url()).open().await.unwrap();
    (Arc::new(store), database)
}

/// Settings of a store that gives nothing up only because many tests run at a time.
pub(crate) fn patient(url: &str) -> MssqlBuilder {
    MssqlStore::builder(url)
        .max_connections(8)
        .connect_timeout(PATIENCE)
        .acquire_timeout(PATIENCE)
        .timeout(PATIENCE)
        .lock_timeout(PATIENCE)
}
