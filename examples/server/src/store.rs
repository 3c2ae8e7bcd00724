//! Where the data lies.

use std::sync::Arc;

use messenger_core::{memory::MemoryStore, ports::Store};
use messenger_sqlx::SqliteStore;

use crate::{config::StoreUrl, error::ServerError};

/// Opens the store, its tables brought up to date.
pub(crate) async fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, ServerError> {
    Ok(match url {
        StoreUrl::Memory => Arc::new(MemoryStore::new()),
        StoreUrl::Sqlite(path) => Arc::new(SqliteStore::open(path).await.map_err(ServerError::Store)?),
    })
}

/// Brings the tables up to date and does nothing else.
pub(crate) async fn migrate(url: &StoreUrl) -> Result<String, ServerError> {
    open(url).await?.close().await;
    Ok(match url {
        StoreUrl::Memory => "There is nothing to migrate in memory.\n".to_owned(),
        StoreUrl::Sqlite(path) => format!("The tables in {} are up to date.\n", path.display()),
    })
}
