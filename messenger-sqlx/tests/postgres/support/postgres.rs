//! Stores in databases of their own, on the server that tests are to use.

use std::{sync::Arc, time::Duration};

use messenger_core::ports::Store as _;
use messenger_sqlx::{PostgresStore, postgres::migrations_sql};
use messenger_testing::{Database, server_url};
use sha2::{Digest as _, Sha256};

/// A store in a database with all tables and nothing in them.
pub(crate) async fn fresh() -> (Arc<PostgresStore>, Database) {
    let database = migrated(&server_url()).await;
    let builder = PostgresStore::builder(&database.url()).max_connections(8);
    // A crowd of the kit is served in the end, however many processes share the processors.
    let store = builder.acquire_timeout(Duration::from_secs(30)).open().await.unwrap();
    (Arc::new(store), database)
}

/// A database with all tables and nothing in them.
pub(crate) async fn migrated(server: &str) -> Database {
    let digest = Sha256::digest(migrations_sql("messenger").unwrap());
    // Made once for each text of the migrations.
    let template =
        format!("messenger_template_{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    let make = async |url: String| PostgresStore::connect(&url).await.unwrap().close().await;
    Database::copy(server, &template, make).await
}
