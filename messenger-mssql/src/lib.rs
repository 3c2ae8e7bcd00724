#![doc = include_str!("../README.md")]

mod address;
mod append;
mod call;
mod chats;
mod connect;
mod connections;
mod errors;
#[cfg(test)]
mod fake;
mod markers;
mod messages;
mod migrate;
mod open;
mod row;
mod schema;
mod sessions;
mod sql;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    Id,
    ports::{Capabilities, Store, StoreErrorKind, StoreResult},
};
use messenger_sql::columns::Columns;

use self::{
    call::Call,
    connections::Connections,
    row::SqlRow,
    schema::Schema,
    sql::{LONGEST, list},
};
pub use self::{connect::TokenSource, migrate::migrations_sql, open::MssqlBuilder};
pub use messenger_sql::open::{OpenError, OpenErrorKind};

/// A [`Store`] in a Microsoft SQL Server or Azure SQL database, in a schema of its own: shared by any number of nodes,
/// and what was acknowledged is in the server's log.
#[derive(Debug)]
pub struct MssqlStore {
    connections: Arc<Connections>,
    statements: Statements,
    lanes: usize,
}

impl MssqlStore {
    /// `is_versioned` tells whether the database keeps versions of rows for those who read (`READ_COMMITTED_SNAPSHOT`).
    pub(crate) fn new(connections: Connections, schema: &Schema, is_versioned: bool, lanes: usize) -> Self {
        Self { connections: Arc::new(connections), statements: Statements::new(schema, is_versioned), lanes }
    }

    async fn all<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        self.connections.all(call, read).await
    }

    async fn one<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        self.connections.one(call, read).await
    }

    /// The rows for a list of ids, which is the last argument of the statement.
    async fn listed<K, T: Send + 'static>(
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

    async fn done(&self, call: Call) -> StoreResult<()> {
        self.connections.done(call).await
    }

    const fn sql(&self) -> &Statements {
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

/// Every statement and the name of every procedure, with the schema's name in it.
#[derive(Debug)]
struct Statements {
    writable: Arc<str>,
    users: users::Sql,
    sessions: sessions::Sql,
    chats: chats::Sql,
    messages: messages::Sql,
    append: append::Sql,
    markers: markers::Sql,
}

impl Statements {
    fn new(schema: &Schema, is_versioned: bool) -> Self {
        // What a statement reads is of one moment if the server keeps versions of rows. If not, whoever reads a chat with
        // what belongs to it keeps others from changing it meanwhile: they all lock the chat first.
        let hold = if is_versioned { "" } else { "WITH (REPEATABLEREAD)" };
        Self {
            // Not on a secondary replica, or in a database that may only be read.
            writable: "SELECT CAST(CASE CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) WHEN N'READ_ONLY' THEN 0 \
                ELSE 1 END AS bit)"
                .into(),
            users: users::Sql::new(schema),
            sessions: sessions::Sql::new(schema),
            chats: chats::Sql::new(schema, hold),
            messages: messages::Sql::new(schema, hold),
            append: append::Sql::new(schema),
            markers: markers::Sql::new(schema),
        }
    }
}
