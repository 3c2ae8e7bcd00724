//! Reads and updates of accounts that writes to other tables need.

use messenger_core::{
    UserId,
    ports::{StoreErrorKind, StoreResult},
};
use sqlx::SqliteConnection;

use super::sql::{self, json_ids};

/// `NotFound` unless all of these different people exist and none is erased.
pub(super) async fn check_live(conn: &mut SqliteConnection, users: &[UserId]) -> StoreResult<()> {
    let count = "SELECT count(*) FROM messenger_users
        WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND erased_at IS NULL";
    let live = sql::one(conn, sqlx::query(count).bind(json_ids(users)), |columns| columns.index()).await?;
    if live == Some(users.len()) { Ok(()) } else { Err(StoreErrorKind::NotFound.into()) }
}

/// Counts that these people were added to a chat.
pub(super) async fn count_memberships(conn: &mut SqliteConnection, users: &[UserId]) -> StoreResult<()> {
    let count = "UPDATE messenger_users SET memberships = memberships + 1
        WHERE id IN (SELECT unhex(value) FROM json_each($1))";
    sql::run(conn, sqlx::query(count).bind(json_ids(users))).await.map(drop)
}
