//! Stores that outlive a server, for one test each.

use std::process::Command;

use messenger_testing::{Database, MssqlDatabase, connect, execute, server_url};
use tempfile::TempDir;

use crate::support::{Server, binary, sqlite_url};

/// A file in a folder of its own, or a database of its own; gone when dropped.
pub(crate) enum TestStore {
    Sqlite(TempDir),
    Postgres(Database),
    Mssql(MssqlDatabase),
}

impl TestStore {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// An empty database on the server that tests are to use.
    pub(crate) fn postgres() -> Self {
        Self::Postgres(block_on(Database::empty(&server_url())))
    }

    /// An empty database on the SQL Server that tests are to use.
    pub(crate) fn mssql() -> Self {
        Self::Mssql(block_on(MssqlDatabase::create()))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => sqlite_url(&folder.path().join("chat.db")),
            Self::Postgres(database) => database.url(),
            Self::Mssql(database) => database.url(),
        }
    }

    /// The binary, on this store.
    pub(crate) fn command(&self) -> Command {
        let mut command = binary();
        command.args(["--store-url", &self.url()]);
        command
    }

    /// A server on a free port.
    pub(crate) fn start(&self) -> Server {
        Server::start(&mut self.command())
    }

    /// One that slows nobody down and says little.
    pub(crate) fn command_for_load(&self) -> Command {
        let mut command = self.command();
        command.args(["--rate-limits", "off", "--log", "error"]);
        command
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Runs SQL in a database.
pub(crate) fn run_sql(url: &str, sql: &str) {
    block_on(async { execute(&mut connect(url).await, sql).await });
}
