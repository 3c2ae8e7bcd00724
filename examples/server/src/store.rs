//! Where the data lies.

use std::{sync::Arc, time::Duration};

use messenger_core::{memory::MemoryStore, ports::Store};
use messenger_mssql::MssqlStore;
use messenger_sqlx::{
    PostgresStore, SqliteStore,
    postgres::{self, OpenError, OpenErrorKind},
    sqlite,
};

use crate::{
    config::{Config, MssqlUrl, PostgresUrl, StoreConfig, StoreUrl},
    error::ServerError,
    keys::{self, Opened, Vacuum},
};

/// Opens the store, its tables brought up to date.
pub(crate) async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, ServerError> {
    let refuse = |error: OpenError| refused(&error, &config.url);
    Ok(match &config.url {
        StoreUrl::Memory => Arc::new(MemoryStore::new()),
        StoreUrl::Sqlite(path) => Arc::new(SqliteStore::open(path).await.map_err(refuse)?),
        StoreUrl::Postgres(url) => Arc::new(connect(url, config).await.map_err(refuse)?),
        StoreUrl::Mssql(url) => Arc::new(connect_to_mssql(url, config).await.map_err(refuse)?),
    })
}

/// Opens the store beside a server that has it open already, for somebody who looks after it. Makes no new one.
pub(crate) async fn open_beside(config: &Config) -> Result<Opened, ServerError> {
    keys::seal(open_plain(&config.store).await?, &config.encryption, false).await
}

/// As [`open_beside`], with what is sealed as it is.
pub(crate) async fn open_plain(config: &StoreConfig) -> Result<Arc<dyn Store>, ServerError> {
    match &config.url {
        StoreUrl::Memory => Err(ServerError::NothingShared),
        StoreUrl::Sqlite(path) if !path.exists() => {
            Err(ServerError::Store(format!("there is no file {}; {CHOOSE_FILE}", path.display())))
        }
        StoreUrl::Sqlite(path) => {
            let opened = SqliteStore::builder(path).readers(1).shared(true).open().await;
            Ok(Arc::new(opened.map_err(|error| refused(&error, &config.url))?))
        }
        StoreUrl::Postgres(_) | StoreUrl::Mssql(_) => open(config).await,
    }
}

const CHOOSE_FILE: &str = "look into that, or choose another file with --store-url";

/// How long an intent waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

async fn connect(url: &PostgresUrl, config: &StoreConfig) -> Result<PostgresStore, OpenError> {
    PostgresStore::builder(url.whole())
        .schema(&config.schema)
        .max_connections(config.connections)
        .transaction_pooling(config.transaction_pooling)
        .acquire_timeout(CONNECTION_WAIT)
        .statement_timeout(config.statement_timeout)
        // The answer to a statement is waited for as long as it may take.
        .timeout(CONNECTION_WAIT + config.statement_timeout)
        .open()
        .await
}

async fn connect_to_mssql(url: &MssqlUrl, config: &StoreConfig) -> Result<MssqlStore, OpenError> {
    MssqlStore::builder(url.whole())
        .schema(&config.schema)
        .max_connections(config.connections)
        .acquire_timeout(CONNECTION_WAIT)
        .lock_timeout(config.statement_timeout)
        // The answer to a statement is waited for as long as it may take.
        .timeout(CONNECTION_WAIT + config.statement_timeout)
        .open()
        .await
}

/// Brings the tables up to date and does nothing else.
pub(crate) async fn migrate(config: &StoreConfig) -> Result<String, ServerError> {
    open(config).await?.close().await;
    Ok(match config.url {
        StoreUrl::Memory => "There is nothing to migrate in memory.\n".to_owned(),
        StoreUrl::Sqlite(_) | StoreUrl::Postgres(_) | StoreUrl::Mssql(_) => {
            format!("The tables are up to date; they lie {config}.\n")
        }
    })
}

/// What was removed of former rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vacuumed {
    Everything,
    /// As `Everything`, but what is in the log of a file that others are reading from.
    ButTheLog,
    /// Their space is free, with what is in it.
    Space,
    Nothing,
}

/// Removes what the database keeps of former rows, as far as it can be asked to.
pub(crate) async fn vacuum(config: &StoreConfig, how: Vacuum) -> Result<Vacuumed, ServerError> {
    let refuse = |error: OpenError| refused(&error, &config.url);
    match (&config.url, how) {
        (_, Vacuum::Nothing) | (StoreUrl::Memory | StoreUrl::Mssql(_), _) => Ok(Vacuumed::Nothing),
        (StoreUrl::Sqlite(path), _) => {
            let store = SqliteStore::builder(path).readers(1).shared(true).open().await.map_err(refuse)?;
            let vacuumed = store.vacuum().await;
            store.close().await;
            let is_emptied = vacuumed.map_err(ServerError::Vacuum)?;
            Ok(if is_emptied { Vacuumed::Everything } else { Vacuumed::ButTheLog })
        }
        (StoreUrl::Postgres(url), how) => {
            let store = connect(url, config).await.map_err(refuse)?;
            let is_full = how == Vacuum::Full;
            let vacuumed = if is_full { store.vacuum_full().await } else { store.vacuum().await };
            store.close().await;
            vacuumed.map_err(ServerError::Vacuum)?;
            Ok(if is_full { Vacuumed::Everything } else { Vacuumed::Space })
        }
    }
}

/// The SQL that makes the tables.
pub(crate) fn migrations(config: &StoreConfig) -> Result<String, ServerError> {
    let no_schema = || {
        let sentence = format!("`{}` can't be the name of a schema", config.schema);
        refused(&OpenError::new(OpenErrorKind::Schema, sentence), &config.url)
    };
    match config.url {
        StoreUrl::Memory => Ok("-- In memory there are no tables.\n".to_owned()),
        StoreUrl::Sqlite(_) => Ok(sqlite::migrations_sql()),
        StoreUrl::Postgres(_) => postgres::migrations_sql(&config.schema).ok_or_else(no_schema),
        StoreUrl::Mssql(_) => messenger_mssql::migrations_sql(&config.schema).ok_or_else(no_schema),
    }
}

/// The error with what to do about it.
fn refused(error: &OpenError, url: &StoreUrl) -> ServerError {
    ServerError::Store(format!("{error}; {}", advice(error.kind(), url)).replace('\n', " "))
}

const ELSEWHERE: &str = "look into that, or choose another database with --store-url";

/// What to do about a database that can't be used.
const fn advice(kind: OpenErrorKind, url: &StoreUrl) -> &'static str {
    use OpenErrorKind as Kind;
    if matches!(url, StoreUrl::Sqlite(_)) {
        return match kind {
            Kind::InUse => "stop that one, or choose another file with --store-url",
            _ => CHOOSE_FILE,
        };
    }
    match kind {
        Kind::Address => "correct --store-url",
        Kind::Schema | Kind::Changed { .. } | Kind::ChangedRoutines { .. } => {
            "choose another with --store-schema"
        }
        Kind::Unreachable => {
            "check that the server runs there and can be reached from here, or choose another database with --store-url"
        }
        Kind::Encryption if matches!(url, StoreUrl::Mssql(_)) => {
            "check `encrypt` and `trustServerCertificateCA` in --store-url"
        }
        Kind::Encryption => "check `sslmode` and the certificates in --store-url",
        Kind::Login => "check the user and the password in --store-url",
        Kind::NotAllowed => "check the user in --store-url, and whom the server's pg_hba.conf lets in",
        Kind::NoDatabase => "make it with CREATE DATABASE, or choose another with --store-url",
        Kind::Permission => "grant the user that right, or run `messenger-server migrate` as one who has it",
        Kind::TooManyConnections => {
            "raise max_connections of the server, or lower --store-connections of all nodes"
        }
        Kind::NotReady => "try again when it is ready",
        Kind::Version => "upgrade it, or choose another database with --store-url",
        // They have said what else to do.
        Kind::NotDurable | Kind::ReadOnly | Kind::Newer { .. } => {
            "or choose another database with --store-url"
        }
        Kind::Busy => "look after that node, or start again when it is done",
        _ => ELSEWHERE,
    }
}
