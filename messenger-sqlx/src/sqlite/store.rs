use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::ports::{Capabilities, Store, StoreResult};
use sqlx::SqliteConnection;

use super::{
    readers::Readers,
    sole::Sole,
    sql::{self, Columns, Query},
    writer::Writer,
};

/// A [`Store`] in an SQLite file: one connection writes, several read, and what was acknowledged survives a power
/// failure.
///
/// ```
/// use messenger_core::{context::Context, ports::{ChatStore, Store, StoreErrorKind}};
/// use messenger_sqlx::SqliteStore;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("chat.db");
/// let store = SqliteStore::open(&path).await?;
/// let error = store.roster(Context::fixed().id()).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::NotFound);
/// store.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) readers: Arc<Readers>,
    pub(super) writer: Writer,
    pub(super) sole: Sole,
    pub(super) shared: bool,
}

impl SqliteStore {
    /// Rewrites the file without anything that former rows have left in it, and empties its log (`VACUUM`, and a checkpoint that
    /// truncates): after what was stored before has been [sealed](messenger_core::encryption::Sealing). Tells whether the log was
    /// emptied: not if somebody was reading from it all the while; then the store does so with one of the next writes.
    ///
    /// It takes about as long as copying the file twice, and as much free space. Until it is done nobody can write: intents are
    /// `Unavailable` once they have waited for as long as they may.
    ///
    /// # Errors
    /// `Unavailable` if others are writing all the while, `Other` if there is no space.
    pub async fn vacuum(&self) -> StoreResult<bool> {
        self.writer.vacuum().await
    }

    /// Reads all rows of a query.
    pub(super) async fn all<T: Send + 'static>(
        &self,
        query: Query<'static>,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.readers.run(|conn| Box::pin(sql::all(conn, query, read))).await
    }

    /// Reads the only row of a query.
    pub(super) async fn one<T: Send + 'static>(
        &self,
        query: Query<'static>,
        read: impl FnOnce(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        self.readers.run(|conn| Box::pin(sql::one(conn, query, read))).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_shared(self.shared)
    }

    async fn ping(&self) -> StoreResult<()> {
        self.one(sqlx::query("SELECT 1"), |columns| columns.integer()).await?;
        self.writer.transaction(|_: &mut SqliteConnection| Box::pin(async { Ok(()) })).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        self.sole.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{errors::store_error, migrate::MIGRATIONS, writer};

    async fn fresh() -> (SqliteStore, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("chat.db")).await.unwrap();
        (store, directory)
    }

    /// How many steps are recorded.
    async fn migrations(store: &SqliteStore) -> usize {
        let count = sqlx::query("SELECT count(*) FROM messenger_migrations");
        store.one(count, |columns| columns.index()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_commit_is_synced_before_it_is_acknowledged_and_what_is_deleted_is_overwritten() {
        let (store, _directory) = fresh().await;
        for (setting, wanted) in [
            ("PRAGMA secure_delete", "1"),
            ("PRAGMA journal_mode", "wal"),
            // FULL: the log is synced at every commit.
            ("PRAGMA synchronous", "2"),
            ("PRAGMA fullfsync", "1"),
        ] {
            let found = store.writer.run(move |conn| {
                Box::pin(async move {
                    let row = sqlx::query(setting).fetch_one(conn).await.map_err(store_error)?;
                    Ok(sqlx::Row::try_get_unchecked::<String, _>(&row, 0).unwrap())
                })
            });
            assert_eq!(found.await.unwrap(), wanted, "{setting}");
        }
    }

    #[tokio::test]
    async fn readers_can_not_write() {
        let (store, _directory) = fresh().await;
        let delete = sqlx::query("DELETE FROM messenger_users");
        let error = store.readers.run(|conn| Box::pin(sql::run(conn, delete))).await.unwrap_err();
        assert!(format!("{error:?}").contains("readonly"), "{error:?}");
    }

    #[tokio::test]
    async fn an_intent_that_panics_leaves_no_transaction_behind() {
        let (store, _directory) = fresh().await;
        let writer = store.writer.clone();
        let done = tokio::spawn(async move {
            writer
                .transaction::<(), _>(|conn| {
                    Box::pin(async move {
                        writer::execute(conn, "DELETE FROM messenger_migrations").await?;
                        panic!("as a bug would")
                    })
                })
                .await
        });
        assert!(done.await.unwrap_err().is_panic());

        store.ping().await.unwrap();
        assert_eq!(migrations(&store).await, MIGRATIONS.steps.len());
    }

    #[tokio::test]
    async fn a_statement_that_fails_takes_the_others_of_its_string_along() {
        let (store, _directory) = fresh().await;
        let done = store.writer.run(|conn| {
            Box::pin(writer::execute(
                conn,
                "BEGIN IMMEDIATE; DELETE FROM messenger_migrations; SELECT abs(-9223372036854775808); COMMIT",
            ))
        });
        done.await.unwrap_err();

        store.ping().await.unwrap();
        assert_eq!(migrations(&store).await, MIGRATIONS.steps.len());
    }
}
