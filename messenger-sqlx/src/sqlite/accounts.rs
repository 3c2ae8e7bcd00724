//! Reads and updates of accounts that writes to other tables need.

use messenger_core::{
    UserId,
    ports::{StoreErrorKind, StoreResult},
};
use sqlx::SqliteConnection;

use super::sql::{self, Bind as _, json_ids};

/// `NotFound` unless all of these different people exist and none is erased.
pub(super) async fn check_live(conn: &mut SqliteConnection, users: &[UserId]) -> StoreResult<()> {
    let count = "SELECT count(*) FROM messenger_users
        WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND erased_at IS NULL";
    let live = sql::one(conn, sqlx::query(count).bind(json_ids(users)), |columns| columns.index()).await?;
    if live == Some(users.len()) { Ok(()) } else { Err(StoreErrorKind::NotFound.into()) }
}

/// `NotFound` for an account that is unknown or erased, `Conflict` for another version.
pub(super) async fn expect(conn: &mut SqliteConnection, user: UserId, version: u64) -> StoreResult<()> {
    let query = "SELECT version FROM messenger_users WHERE id = $1 AND erased_at IS NULL";
    match sql::one(conn, sqlx::query(query).id(user), |columns| columns.number()).await? {
        None => Err(StoreErrorKind::NotFound.into()),
        Some(found) if found == version => Ok(()),
        Some(_) => Err(StoreErrorKind::Conflict.into()),
    }
}

/// Counts that these people were added to a chat.
pub(super) async fn count_memberships(conn: &mut SqliteConnection, users: &[UserId]) -> StoreResult<()> {
    let count = "UPDATE messenger_users SET memberships = memberships + 1
        WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sql::run(conn, sqlx::query(count).bind(json_ids(users))).await.map(drop)
}
