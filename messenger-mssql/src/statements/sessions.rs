use std::sync::Arc;

use messenger_sql::columns::SESSION;

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about sessions.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) create: Arc<str>,
    pub(crate) by_token: Arc<str>,
    pub(crate) of_user: Arc<str>,
    pub(crate) touch: Arc<str>,
    pub(crate) end: Arc<str>,
    pub(crate) remove_expired: Arc<str>,
    pub(crate) existing: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        let (first, second) = (id(1), id(2));
        Self {
            create: procedure(schema, "begin_session"),
            by_token: format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.token_hash = CAST(@P1 AS binary(32))"
            )
            .into(),
            of_user: format!(
                "SELECT {SESSION} FROM {schema}.messenger_sessions AS s WHERE s.user_id = {first}
                ORDER BY s.created_at DESC, s.id DESC"
            )
            .into(),
            touch: format!(
                "UPDATE {schema}.messenger_sessions SET
                    last_used_at = CASE WHEN last_used_at > @P2 THEN last_used_at ELSE @P2 END,
                    expires_at = CASE WHEN expires_at > @P3 THEN expires_at ELSE @P3 END
                WHERE id = {first}"
            )
            .into(),
            end: format!(
                "DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id WHERE id = {first} AND user_id = {second}"
            )
            .into(),
            // Sessions locked by others are left to them, or to the next run.
            remove_expired: format!(
                "DELETE TOP (@P2) FROM {schema}.messenger_sessions WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK) OUTPUT deleted.id
                WHERE expires_at < @P1"
            )
            .into(),
            existing: format!(
                "SELECT s.id FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_sessions AS s ON s.id = a.id"
            )
            .into(),
        }
    }
}
