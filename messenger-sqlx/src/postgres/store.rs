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
