use std::sync::Arc;

use messenger_sql::retention::{HOLD, PURGE};

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about how long messages are kept.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) set: Arc<str>,
    pub(crate) overdue: Arc<str>,
    pub(crate) purge: Arc<str>,
    pub(crate) hold: Arc<str>,
    pub(crate) release: Arc<str>,
    pub(crate) holds: Arc<str>,
    pub(crate) purges: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        let chats = format!("{schema}.messenger_chats");
        let (first, second) = (id(1), id(2));
        Self {
            set: procedure(schema, "set_retention"),
            // Of each index the first `@P3`; `@P1` is the time before which messages are older than the deployment keeps them, or
            // -1.
            overdue: format!(
                "SELECT TOP (@P3) c.id, COALESCE(c.kept_since, c.created_at) AS since, c.retention_secs
                FROM (
                    SELECT n.id FROM (
                        SELECT TOP (@P3) id FROM {chats} WHERE kept_since IS NULL AND @P1 >= 0
                    ) AS n
                    UNION
                    SELECT d.id FROM (
                        SELECT TOP (@P3) id FROM {chats} WHERE kept_since < @P1 ORDER BY kept_since
                    ) AS d
                    UNION
                    SELECT o.id FROM (
                        SELECT TOP (@P3) id FROM {chats}
                        WHERE purge_at IS NOT NULL AND purge_at < @P2 ORDER BY purge_at
                    ) AS o
                ) AS a
                JOIN {chats} AS c ON c.id = a.id
                ORDER BY COALESCE(c.kept_since, c.created_at), c.id"
            )
            .into(),
            purge: procedure(schema, "purge"),
            hold: procedure(schema, "hold"),
            release: procedure(schema, "release"),
            holds: format!(
                "SELECT TOP (@P3) {HOLD} FROM {schema}.messenger_holds AS h
                WHERE h.kind >= @P1 AND (h.kind > @P1 OR h.id > {second})
                ORDER BY h.kind, h.id"
            )
            .into(),
            purges: format!(
                "SELECT TOP (@P2) {PURGE} FROM {schema}.messenger_purges AS g WHERE g.id > {first} ORDER BY g.id"
            )
            .into(),
        }
    }
}
