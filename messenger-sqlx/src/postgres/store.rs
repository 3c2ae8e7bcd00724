use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use messenger_core::ports::{Capabilities, Store, StoreErrorKind, StoreResult};
use sqlx::SqlStr;

use super::{
    connections::{Connections, Mode, Session},
    sql::{Columns, Query},
    statements::Statements,
};

/// A [`Store`] in a PostgreSQL database, in a schema of its own: shared by any number of nodes. What was acknowledged
/// is in the server's log.
///
/// ```no_run
/// use messenger_core::{context::Context, ports::{ChatStore, Store, StoreErrorKind}};
/// use messenger_sqlx::PostgresStore;
///
/// # async fn look() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://chat:secret@db.example.org/chat?sslmode=verify-full").await?;
/// let error = store.roster(Context::fixed().id()).await.unwrap_err();
/// assert_eq!(error.kind(), StoreErrorKind::NotFound);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresStore {
    connections: Arc<Connections>,
    lanes: usize,
}

impl PostgresStore {
    pub(super) const fn new(connections: Arc<Connections>, lanes: usize) -> Self {
        Self { connections, lanes }
    }

    /// Vacuums the tables with what people wrote, so that the space of dead rows is used again: after what was stored before has
    /// been [sealed](messenger_core::encryption::Sealing). Others go on meanwhile. The bytes of dead rows stay in the files until
    /// something is written over them; [`vacuum_full`](Self::vacuum_full) leaves none.
    ///
    /// The user must own the tables, or the server passes over them with a warning.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn vacuum(&self) -> StoreResult<()> {
        self.connections.run_apart(&self.sql().contents.vacuum).await
    }

    /// Rewrites the tables with what people wrote (`VACUUM FULL`), one after the other, so that nothing of former rows is left in
    /// their files. It takes as much free space as the largest has, and nobody can read or write a table while it is rewritten:
    /// their intents are `Unavailable` once they have waited for as long as they may.
    ///
    /// The user must own the tables, or the server passes over them with a warning.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn vacuum_full(&self) -> StoreResult<()> {
        self.connections.run_apart(&self.sql().contents.vacuum_full).await
    }

    pub(super) async fn run<T, F>(&self, mode: Mode, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: for<'s> FnOnce(&'s mut Session) -> BoxFuture<'s, StoreResult<T>> + Send + 'static,
    {
        self.connections.run(mode, work).await
    }

    /// Reads all rows of a read-only query.
    pub(super) async fn all<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.run(Mode::Read, |session| Box::pin(session.all(query, read))).await
    }

    /// As [`all`](Self::all), with the intended plan even on connections that lack the planner settings.
    pub(super) async fn all_planned<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.run(Mode::Planned, |session| Box::pin(session.all(query, read))).await
    }

    /// Reads the only row of a read-only query.
    pub(super) async fn one<T: Send + 'static>(
        &self,
        query: Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        self.run(Mode::Read, |session| Box::pin(session.one(query, read))).await
    }

    /// Makes a query to bind and run.
    pub(super) fn query(&self, text: &SqlStr) -> Query {
        self.connections.query(text)
    }

    pub(super) fn sql(&self) -> &Statements {
        &self.connections.statements
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_append_lanes(self.lanes)
    }

    async fn ping(&self) -> StoreResult<()> {
        let writable = self.one(self.query(&self.sql().writable), |columns| columns.flag()).await?;
        if writable == Some(true) { Ok(()) } else { Err(StoreErrorKind::Unavailable.into()) }
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
