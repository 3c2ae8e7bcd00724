use messenger_core::ports::{StoreError, StoreErrorKind, Unique};
use sqlx::error::DatabaseError;

/// Maps an error of SQLite or of sqlx to an outcome of the port.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let kind = match &error {
        sqlx::Error::Database(error) => database_error(error.as_ref()),
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_) => StoreErrorKind::Unavailable,
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, error)
}

/// Maps the [result codes](https://www.sqlite.org/rescode.html); their low byte is the primary one.
fn database_error(error: &dyn DatabaseError) -> StoreErrorKind {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NO_MEMORY: i32 = 7;
    const READ_ONLY: i32 = 8;
    const INTERRUPTED: i32 = 9;
    const IO: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANT_OPEN: i32 = 14;
    const NOT_A_DATABASE: i32 = 26;
    const CONSTRAINT_PRIMARY_KEY: i32 = 1555;
    const CONSTRAINT_UNIQUE: i32 = 2067;

    let code = code(error);
    match code {
        CONSTRAINT_PRIMARY_KEY | CONSTRAINT_UNIQUE => unique(error.message()),
        _ => match code & 0xff {
            BUSY | LOCKED | NO_MEMORY | READ_ONLY | INTERRUPTED | IO | FULL | CANT_OPEN => {
                StoreErrorKind::Unavailable
            }
            CORRUPT | NOT_A_DATABASE => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Other,
        },
    }
}

/// Whether another connection holds the requested lock.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    error.as_database_error().is_some_and(|error| [BUSY, LOCKED].contains(&(code(error) & 0xff)))
}

fn code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// SQLite names the columns: `UNIQUE constraint failed: messenger_users.username`.
fn unique(message: &str) -> StoreErrorKind {
    let mut columns = message.split([' ', ',']).filter_map(|word| word.split_once('.'));
    let what = columns.find_map(|(_, column)| match column {
        "username" => Some(Unique::Username),
        "email_key" => Some(Unique::Email),
        "unique_key" => Some(Unique::Job),
        "client_id" => Some(Unique::ClientId),
        "id" | "token_hash" => Some(Unique::Id),
        _ => None,
    });
    what.map_or(StoreErrorKind::Other, StoreErrorKind::AlreadyExists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_constraint_tells_what_must_be_unique() {
        for (columns, what) in [
            ("messenger_users.username", StoreErrorKind::AlreadyExists(Unique::Username)),
            ("messenger_messages.id", StoreErrorKind::AlreadyExists(Unique::Id)),
            (
                "messenger_messages.client_id, messenger_messages.sender_id",
                StoreErrorKind::AlreadyExists(Unique::ClientId),
            ),
            ("messenger_jobs.kind, messenger_jobs.unique_key", StoreErrorKind::AlreadyExists(Unique::Job)),
            ("messenger_messages.chat_id, messenger_messages.seq", StoreErrorKind::Other),
        ] {
            assert_eq!(unique(&format!("UNIQUE constraint failed: {columns}")), what, "{columns}");
        }
    }
}
