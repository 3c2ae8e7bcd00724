use std::sync::Arc;

use messenger_sql::{
    columns::MESSAGE,
    unread::{Dialect, LIVE},
};

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about what people have not read.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) claim: Arc<str>,
    pub(crate) finish: Arc<str>,
    pub(crate) members: Arc<str>,
    pub(crate) chats: Arc<str>,
    pub(crate) lines: Arc<str>,
    pub(crate) record: Arc<str>,
    pub(crate) seen: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        const HINTS: &str = "OPTION (LOOP JOIN, FORCE ORDER)";
        let prefix = format!("{schema}.");
        let fence = "OFFSET 0 ROWS";
        let dialect = Dialect { schema: &prefix, join: "JOIN", parameter: "@P", id, top: true, fence };
        let person = id(1);
        Self {
            claim: procedure(schema, "claim_unread"),
            finish: procedure(schema, "finish_unread"),
            members: format!("{} {HINTS}", dialect.members()).into(),
            chats: format!("{} {HINTS}", dialect.chats()).into(),
            lines: format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_unpack_ranges(@P3) AS a
                JOIN {schema}.messenger_members AS p
                    ON p.chat_id = a.chat AND p.user_id = {person} AND p.left_at IS NULL
                CROSS APPLY (
                    SELECT TOP (@P2) n.* FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.seq > a.after_seq AND n.seq <= a.up_to AND {LIVE}
                        AND n.sender_id <> {person}
                    ORDER BY n.seq DESC
                ) AS m
                ORDER BY a.place, m.seq {HINTS}"
            )
            .into(),
            record: procedure(schema, "record_notified"),
            seen: dialect.seen().into(),
        }
    }
}
