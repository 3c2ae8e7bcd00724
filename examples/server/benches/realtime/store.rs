//! The store that the server under test works on: the world in it, and copies of that.

use std::{fs, path::PathBuf, sync::Arc};

use messenger_core::ports;
use messenger_sqlx::{PostgresStore, SqliteStore};
use messenger_testing::ServerCpu;
use tempfile::TempDir;

use crate::{Result, postgres::Server};

/// Which store was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Sqlite,
    /// On a server of one's own, unless it is one that is there.
    Postgres {
        url: Option<String>,
    },
}

/// Where the world and its copies are.
pub(crate) enum Store {
    /// Files in this folder.
    Sqlite(TempDir),
    /// Databases on this server.
    Postgres(Server),
}

/// What one server works on.
pub(crate) struct Data {
    pub(crate) url: String,
    /// The CPU of the processes that do the store's work, where that is not done in the server's own.
    pub(crate) cpu: Option<ServerCpu>,
}

/// The name of what the copies are made of.
pub(crate) const WORLD: &str = "world";

impl Store {
    pub(crate) async fn start(backend: &Backend) -> Result<Self> {
        Ok(match backend {
            // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
            Backend::Sqlite => Self::Sqlite(TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?),
            Backend::Postgres { url } => Self::Postgres(Server::start("realtime", url.as_deref())?),
        })
    }

    /// A new one, for the world to be made in.
    pub(crate) async fn open(&self) -> Result<Arc<dyn ports::Store>> {
        Ok(match self {
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(file(folder, WORLD)).await?),
            Self::Postgres(server) => {
                server.create(WORLD).await?;
                Arc::new(PostgresStore::connect(&server.url(WORLD)).await?)
            }
        })
    }

    /// The world has been made, and nobody has it open any more.
    pub(crate) async fn complete(&self) -> Result {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(server) => server.tidy(WORLD).await,
        }
    }

    /// A copy of the world for one server. One of the same name may be in use no more.
    pub(crate) async fn copy(&self, name: &str) -> Result<Data> {
        Ok(match self {
            Self::Sqlite(folder) => {
                let path = file(folder, name);
                for suffix in ["-wal", "-shm"] {
                    // What the server before left.
                    let _ = fs::remove_file(path.with_extension(format!("db{suffix}")));
                }
                fs::copy(file(folder, WORLD), &path)?;
                Data { url: format!("sqlite://{}", path.display()), cpu: None }
            }
            Self::Postgres(server) => {
                server.copy(WORLD, name).await?;
                Data { url: server.url(name), cpu: Some(server.cpu()) }
            }
        })
    }

    /// What the figures depend on.
    pub(crate) async fn describe(&self) -> Result<String> {
        match self {
            Self::Sqlite(_) => Ok("SQLite".to_owned()),
            Self::Postgres(server) => server.describe().await,
        }
    }
}

fn file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name).with_extension("db")
}
