//! Where the data lies.

use std::{sync::Arc, time::Duration};

use messenger_core::{memory::MemoryStore, ports::Store};
use messenger_mssql::MssqlStore;
use messenger_sqlx::{PostgresStore, SqliteStore, postgres, sqlite};

use crate::{
    config::{MssqlUrl, PostgresUrl, StoreConfig, StoreUrl},
    error::ServerError,
};

/// Opens the store, its tables brought up to date.
pub(crate) async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, ServerError> {
    Ok(match &config.url {
        StoreUrl::Memory => Arc::new(MemoryStore::new()),
        StoreUrl::Sqlite(path) => {
            Arc::new(SqliteStore::open(path).await.map_err(|error| refused(&error, FILE))?)
        }
        StoreUrl::Postgres(url) => {
            Arc::new(connect(url, config).await.map_err(|error| refused(&error, advice(&error)))?)
        }
        StoreUrl::Mssql(url) => Arc::new(
            connect_to_mssql(url, config).await.map_err(|error| refused(&error, mssql_advice(&error)))?,
        ),
    })
}

/// How long an intent waits for a connection.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

async fn connect(url: &PostgresUrl, config: &StoreConfig) -> Result<PostgresStore, postgres::OpenError> {
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

async fn connect_to_mssql(
    url: &MssqlUrl,
    config: &StoreConfig,
) -> Result<MssqlStore, messenger_mssql::OpenError> {
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

/// The SQL that makes the tables.
pub(crate) fn migrations(config: &StoreConfig) -> Result<String, ServerError> {
    match config.url {
        StoreUrl::Memory => Ok("-- In memory there are no tables.\n".to_owned()),
        StoreUrl::Sqlite(_) => Ok(sqlite::migrations_sql()),
        StoreUrl::Postgres(_) => postgres::migrations_sql(&config.schema).ok_or_else(|| {
            let error = postgres::OpenError::Schema(config.schema.clone());
            refused(&error, advice(&error))
        }),
        StoreUrl::Mssql(_) => messenger_mssql::migrations_sql(&config.schema).ok_or_else(|| {
            let error = messenger_mssql::OpenError::Schema(config.schema.clone());
            refused(&error, mssql_advice(&error))
        }),
    }
}

fn refused(error: &dyn std::error::Error, advice: &str) -> ServerError {
    ServerError::Store(format!("{error}; {advice}").replace('\n', " "))
}

const FILE: &str = "look into that, or choose another file with --store-url";

/// What to do about a database that can't be used.
fn advice(error: &postgres::OpenError) -> &'static str {
    use postgres::OpenError;
    match error {
        OpenError::Database { source: Some(source), .. } => {
            source.downcast_ref().map_or(ELSEWHERE, advice_on_failure)
        }
        OpenError::Database { source: None, .. } => REACH,
        OpenError::Schema(_) => "choose another with --store-schema",
        OpenError::Newer { .. } => "run the newer one, or choose another database with --store-url",
        OpenError::Changed { .. } => "choose another schema with --store-schema",
        OpenError::Version { .. } => "upgrade it, or choose another database with --store-url",
        // They have said what else to do.
        OpenError::NotDurable { .. } | OpenError::ReadOnly { .. } => {
            "or choose another database with --store-url"
        }
        _ => ELSEWHERE,
    }
}

const ELSEWHERE: &str = "look into that, or choose another database with --store-url";
const REACH: &str = "check that the server runs there and can be reached from here, or choose another \
                     database with --store-url";

fn advice_on_failure(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(_) => REACH,
        sqlx::Error::Tls(_) => "check `sslmode` and the certificates in --store-url",
        sqlx::Error::Database(error) => advice_on_state(error.code().as_deref().unwrap_or_default()),
        _ => ELSEWHERE,
    }
}

/// By the state that the server gives with an error (PostgreSQL, appendix A).
fn advice_on_state(state: &str) -> &'static str {
    match state {
        "28P01" => "check the user and the password in --store-url",
        "28000" => "check the user in --store-url, and whom the server's pg_hba.conf lets in",
        "3D000" => "make it with CREATE DATABASE, or choose another with --store-url",
        "42501" => "grant the user that right, or run `messenger-server migrate` as one who has it",
        "53300" => "raise max_connections of the server, or lower --store-connections of all nodes",
        // It starts or ends.
        "57P03" => "try again when it is ready",
        _ => ELSEWHERE,
    }
}

/// What to do about an SQL Server database that can't be used.
fn mssql_advice(error: &messenger_mssql::OpenError) -> &'static str {
    use messenger_mssql::OpenError;
    match error {
        OpenError::Address { .. } => "correct --store-url",
        OpenError::Database { reason, .. } => advice_on_reason(reason),
        OpenError::Schema(_) => "choose another with --store-schema",
        OpenError::Newer { .. } => "run the newer one, or choose another database with --store-url",
        OpenError::Changed { .. } => "choose another schema with --store-schema",
        OpenError::Version { .. } => "upgrade it, or choose another database with --store-url",
        // They have said what else to do.
        OpenError::NotDurable { .. } | OpenError::ReadOnly { .. } => {
            "or choose another database with --store-url"
        }
        OpenError::Busy { .. } => "look after that node, or start again when it is done",
        _ => ELSEWHERE,
    }
}

/// By the number that the server gives with an error, which stands at its end; else by what has happened.
fn advice_on_reason(reason: &str) -> &'static str {
    let number = reason.rsplit_once("(error ").and_then(|(_, rest)| rest.split(',').next());
    match number {
        Some("18456") => "check the user and the password in --store-url",
        Some("4060" | "911") => "make it with CREATE DATABASE, or choose another with --store-url",
        Some("229" | "262" | "2760") => {
            "grant the user that right, or run `messenger-server migrate` as one who has it"
        }
        Some(_) => ELSEWHERE,
        None if reason.contains("encrypt") || reason.contains("certificate") => {
            "check `encrypt` and `trustServerCertificateCA` in --store-url"
        }
        None => REACH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_reason() {
        for (reason, says) in [
            ("Login failed for user 'ann'. (error 18456, class 14, state 1)", "the password"),
            (
                "Cannot open database \"chat\" requested by the login. (error 4060, class 11, state 1)",
                "CREATE DATABASE",
            ),
            ("CREATE TABLE permission denied in database 'chat'. (error 262, class 14, state 1)", "grant"),
            ("There is insufficient memory. (error 701, class 17, state 1)", "look into that"),
            ("it did not answer in time", "can be reached"),
            ("it can't be reached: Connection refused (os error 111)", "can be reached"),
            ("it offers no encryption, which is required", "`encrypt`"),
        ] {
            assert!(advice_on_reason(reason).contains(says), "{reason}");
        }
    }
}
