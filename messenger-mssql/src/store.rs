use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    Id,
    ports::{Capabilities, Store, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::Columns;

use crate::{
    call::Call,
    connections::Connections,
    row::SqlRow,
    schema::Schema,
    sql::{LONGEST, list},
    statements::Statements,
};

/// A [`Store`] in a Microsoft SQL Server or Azure SQL database, in a schema of its own: shared by any number of nodes.
/// What was acknowledged is in the server's log.
#[derive(Debug)]
pub struct MssqlStore {
    connections: Arc<Connections>,
    statements: Statements,
    lanes: usize,
}

impl MssqlStore {
    /// `is_versioned` tells whether the database keeps row versions for readers (`READ_COMMITTED_SNAPSHOT`).
    pub(crate) fn new(connections: Connections, schema: &Schema, is_versioned: bool, lanes: usize) -> Self {
        Self { connections: Arc::new(connections), statements: Statements::new(schema, is_versioned), lanes }
    }

    pub(crate) async fn all<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.connections.all(call, read).await
    }

    pub(crate) async fn one<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        self.connections.one(call, read).await
    }

    /// Reads the rows for a list of ids, which is the last argument of the statement.
    pub(crate) async fn listed<K, T: Send + 'static>(
        &self,
        call: Call,
        ids: &[Id<K>],
        read: fn(&mut Columns<'_, SqlRow>) -> StoreResult<T>,
    ) -> StoreResult<Vec<T>> {
        let mut all = vec![];
        for ids in ids.chunks(LONGEST) {
            all.append(&mut self.all(call.clone().bytes("the ids", list(ids)), read).await?);
        }
        Ok(all)
    }

    pub(crate) async fn done(&self, call: Call) -> StoreResult<()> {
        self.connections.done(call).await
    }

    pub(crate) const fn sql(&self) -> &Statements {
        &self.statements
    }
}

#[async_trait]
impl Store for MssqlStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_append_lanes(self.lanes)
    }

    async fn ping(&self) -> StoreResult<()> {
        let call = Call::statement(Arc::clone(&self.statements.writable));
        let writable = self.one(call, |columns| columns.flag()).await?;
        if writable == Some(true) { Ok(()) } else { Err(StoreErrorKind::Unavailable.into()) }
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
