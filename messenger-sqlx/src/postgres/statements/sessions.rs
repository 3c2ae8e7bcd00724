use messenger_sql::columns::SESSION;
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about sessions.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) insert: SqlStr,
    pub(in crate::postgres) end_beyond: SqlStr,
    pub(in crate::postgres) by_token: SqlStr,
    pub(in crate::postgres) of_user: SqlStr,
    pub(in crate::postgres) touch: SqlStr,
    pub(in crate::postgres) end: SqlStr,
    pub(in crate::postgres) end_all: SqlStr,
    pub(in crate::postgres) remove_expired: SqlStr,
    pub(in crate::postgres) existing: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self {
            insert: statement(format!(
                "INSERT INTO {schema}.messenger_sessions
                    (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
                VALUES ($1, $2, $3, $4, $5, $5, $6)"
            )),
            end_beyond: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = ANY (ARRAY (
                    SELECT id FROM {schema}.messenger_sessions WHERE user_id = $1
                    ORDER BY last_used_at DESC, id DESC OFFSET $2
                )) RETURNING id"
            )),
            by_token: statement(format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.token_hash = $1"
            )),
            of_user: statement(format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.user_id = $1
                ORDER BY s.created_at DESC, s.id DESC"
            )),
            touch: statement(format!(
                "UPDATE {schema}.messenger_sessions
                SET last_used_at = greatest(last_used_at, $2), expires_at = greatest(expires_at, $3) WHERE id = $1"
            )),
            end: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = $1 AND user_id = $2"
            )),
            end_all: statement(format!(
                "DELETE FROM {schema}.messenger_sessions
                WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id"
            )),
            // Sessions locked by others are left to them, or to the next run.
            remove_expired: statement(format!(
                "DELETE FROM {schema}.messenger_sessions WHERE id = ANY (ARRAY (
                    SELECT id FROM {schema}.messenger_sessions WHERE expires_at < $1
                    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
                )) AND expires_at < $1"
            )),
            existing: statement(format!("SELECT id FROM {schema}.messenger_sessions WHERE id = ANY ($1)")),
        }
    }
}
