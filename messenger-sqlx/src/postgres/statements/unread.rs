use messenger_sql::{
    columns::MESSAGE,
    unread::{CLAIMED, Dialect, LIVE, MARK},
};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about what people have not read.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) claim: SqlStr,
    pub(in crate::postgres) finish: SqlStr,
    pub(in crate::postgres) members: SqlStr,
    pub(in crate::postgres) chats: SqlStr,
    pub(in crate::postgres) lines: SqlStr,
    pub(in crate::postgres) tell_person: SqlStr,
    pub(in crate::postgres) tell: SqlStr,
    pub(in crate::postgres) seen: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let prefix = format!("{schema}.");
        let dialect = Dialect {
            schema: &prefix,
            join: "JOIN",
            parameter: "$",
            id: |number| format!("${number}"),
            top: false,
            fence: "OFFSET 0",
        };
        let claimed = CLAIMED.map(|column| format!("c.{column}")).join(", ");
        Self {
            // What others have locked is left to the next look.
            claim: statement(format!(
                "WITH due AS MATERIALIZED (
                    SELECT id FROM {schema}.messenger_chats
                    WHERE unread_since IS NOT NULL AND unread_since <= $1
                        AND (unread_leased_until IS NULL OR unread_leased_until < $2)
                    ORDER BY unread_since LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED
                )
                UPDATE {schema}.messenger_chats AS c
                SET unread_claims = coalesce(c.unread_claims, 0) + 1, unread_leased_until = $3
                FROM due WHERE c.id = due.id RETURNING {claimed}"
            )),
            finish: statement(format!("SELECT {schema}.messenger_finish_unread($1, $2, $3, $4)")),
            members: statement(dialect.members()),
            chats: statement(dialect.chats()),
            lines: statement(format!(
                "SELECT {MESSAGE}
                FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS a (chat, after, up_to, place)
                JOIN LATERAL (
                    SELECT FROM {schema}.messenger_members AS q
                    WHERE q.chat_id = a.chat AND q.user_id = $1 AND q.left_at IS NULL OFFSET 0
                ) AS p ON true
                JOIN LATERAL (
                    SELECT n.* FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.seq > a.after AND n.seq <= a.up_to AND {LIVE} AND n.sender_id <> $1
                    ORDER BY n.seq DESC LIMIT $5
                ) AS m ON true
                ORDER BY a.place, m.seq"
            )),
            tell_person: statement(format!(
                "UPDATE {schema}.messenger_users SET notified_at = $3, notified_since = $4, notified_times = $5
                WHERE id = $1 AND erased_at IS NULL AND notified_at IS NOT DISTINCT FROM $2"
            )),
            tell: statement(format!(
                "WITH held AS MATERIALIZED (
                    SELECT q.chat_id FROM {schema}.messenger_members AS q
                    WHERE q.chat_id = ANY ($2) AND q.user_id = $1 ORDER BY q.chat_id FOR NO KEY UPDATE
                )
                UPDATE {schema}.messenger_members AS p
                SET notified_seq = a.up_to, notified_at = $5, notified_read = p.read_seq, notified_times = 1 +
                    CASE WHEN p.read_seq > p.notified_read THEN 0 ELSE coalesce(p.notified_times, 0) END
                FROM held AS h
                JOIN unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS a (chat, after, up_to) ON a.chat = h.chat_id
                WHERE p.chat_id = h.chat_id AND p.user_id = $1 AND p.left_at IS NULL AND {MARK} = a.after"
            )),
            seen: statement(dialect.seen()),
        }
    }
}
