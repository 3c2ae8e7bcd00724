use messenger_core::ports::{StoreError, StoreErrorKind, Unique};
use messenger_sql::open::OpenErrorKind;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Maps an error of PostgreSQL or of sqlx to an outcome of the port.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let kind = match &error {
        sqlx::Error::Database(found) => {
            found.try_downcast_ref().map_or(StoreErrorKind::Other, database_error)
        }
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // The result of a connection that was cut in the middle of an answer.
        | sqlx::Error::Protocol(_) => StoreErrorKind::Unavailable,
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, error)
}

/// Whether the connection can be used after this error: the server has refused a statement, and its answer is complete.
pub(super) fn leaves_the_connection_usable(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|error| {
        !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) && !error.code().starts_with("25")
    })
}

/// Whether a transaction could not begin because another one was already open.
pub(super) fn is_of_another_transaction(error: &StoreError) -> bool {
    source(error)
        .is_some_and(|error| [ACTIVE_SQL_TRANSACTION, IN_FAILED_SQL_TRANSACTION].contains(&error.code()))
}

/// Whether an immediate retry may succeed: the server has rolled back because of a conflict with other work.
pub(super) fn is_worth_another_try(error: &StoreError) -> bool {
    source(error).is_some_and(|error| {
        matches!(error.code(), SERIALIZATION_FAILURE | DEADLOCK_DETECTED)
            || error.code() == UNIQUE_VIOLATION
                && error.constraint() == Some("messenger_messages_by_client_id")
    })
}

/// Whether the refused statement waited for locks of others, or was chosen to resolve a deadlock.
pub(super) fn is_about_locks(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|error| matches!(error.code(), LOCK_NOT_AVAILABLE | DEADLOCK_DETECTED))
}

/// Why a database can't be opened.
pub(super) fn failure(error: &sqlx::Error) -> OpenErrorKind {
    match error {
        sqlx::Error::Io(_) => OpenErrorKind::Unreachable,
        sqlx::Error::Tls(_) => OpenErrorKind::Encryption,
        sqlx::Error::Database(error) => match error.code().as_deref().unwrap_or_default() {
            INVALID_PASSWORD => OpenErrorKind::Login,
            INVALID_AUTHORIZATION => OpenErrorKind::NotAllowed,
            INVALID_CATALOG_NAME => OpenErrorKind::NoDatabase,
            INSUFFICIENT_PRIVILEGE => OpenErrorKind::Permission,
            TOO_MANY_CONNECTIONS => OpenErrorKind::TooManyConnections,
            CANNOT_CONNECT_NOW => OpenErrorKind::NotReady,
            _ => OpenErrorKind::Failed,
        },
        _ => OpenErrorKind::Failed,
    }
}

fn source(error: &StoreError) -> Option<&PgDatabaseError> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).and_then(postgres)
}

fn postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

const INVALID_PASSWORD: &str = "28P01";
const INVALID_AUTHORIZATION: &str = "28000";
const INVALID_CATALOG_NAME: &str = "3D000";
const INSUFFICIENT_PRIVILEGE: &str = "42501";
const TOO_MANY_CONNECTIONS: &str = "53300";
const CANNOT_CONNECT_NOW: &str = "57P03";
const UNIQUE_VIOLATION: &str = "23505";
const READ_ONLY_SQL_TRANSACTION: &str = "25006";
const ACTIVE_SQL_TRANSACTION: &str = "25001";
const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
const SERIALIZATION_FAILURE: &str = "40001";
const DEADLOCK_DETECTED: &str = "40P01";
const LOCK_NOT_AVAILABLE: &str = "55P03";
const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";
/// By the statement timeout, or by an administrator.
const QUERY_CANCELED: &str = "57014";

/// Maps the [error codes](https://www.postgresql.org/docs/current/errcodes-appendix.html); the first two characters are
/// the class.
fn database_error(error: &PgDatabaseError) -> StoreErrorKind {
    match error.code() {
        UNIQUE_VIOLATION => unique(error.constraint().unwrap_or_default()),
        READ_ONLY_SQL_TRANSACTION
        | SERIALIZATION_FAILURE
        | DEADLOCK_DETECTED
        | LOCK_NOT_AVAILABLE
        | QUERY_CANCELED => StoreErrorKind::Unavailable,
        DATA_CORRUPTED | INDEX_CORRUPTED => StoreErrorKind::Corrupt,
        code => match &code[..code.len().min(2)] {
            // Connection exception, invalid transaction state, invalid authorization and catalog (of a server that is
            // being set up anew), insufficient resources, operator intervention (a server that starts or stops), system
            // error.
            "08" | "25" | "28" | "3D" | "53" | "57" | "58" => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        },
    }
}

fn unique(constraint: &str) -> StoreErrorKind {
    let what = match constraint {
        "messenger_users_by_username" => Unique::Username,
        "messenger_users_by_email" => Unique::Email,
        "messenger_jobs_by_key" => Unique::Job,
        "messenger_messages_by_client_id" | "messenger_chats_by_client_id" => Unique::ClientId,
        "messenger_users_pkey"
        | "messenger_sessions_pkey"
        | "messenger_sessions_by_id"
        | "messenger_chats_pkey"
        | "messenger_messages_pkey" => Unique::Id,
        _ => return StoreErrorKind::Other,
    };
    StoreErrorKind::AlreadyExists(what)
}
