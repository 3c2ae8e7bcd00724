use messenger_sql::columns::{CHAT, MESSAGE, NO_CHAT, NO_MESSAGE, weight};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, THIS_COMMIT, statement};

/// The statements about messages.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) by_id: SqlStr,
    pub(in crate::postgres) history: SqlStr,
    pub(in crate::postgres) change: SqlStr,
    pub(in crate::postgres) exists: SqlStr,
    pub(in crate::postgres) is_of_erased: SqlStr,
    pub(in crate::postgres) last_seq: SqlStr,
    pub(in crate::postgres) look_live: SqlStr,
    pub(in crate::postgres) live: SqlStr,
    pub(in crate::postgres) erase: SqlStr,
    pub(in crate::postgres) changes: SqlStr,
    pub(in crate::postgres) insert_system: SqlStr,
    pub(in crate::postgres) lock_chat: SqlStr,
    pub(in crate::postgres) advance: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self {
            by_id: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = $2 AND m.chat_id = $1"
            )),
            history: statement(history(schema)),
            change: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_replace_message($1, $2, $3, $4, $5) AS m"
            )),
            exists: statement(format!(
                "SELECT EXISTS (SELECT FROM {schema}.messenger_messages WHERE id = $2 AND chat_id = $1)"
            )),
            is_of_erased: statement(format!(
                "SELECT EXISTS (
                    SELECT FROM {schema}.messenger_messages AS m JOIN {schema}.messenger_users AS u ON u.id = m.sender_id
                    WHERE m.id = $1 AND u.erased_at IS NOT NULL
                )"
            )),
            last_seq: statement(format!("SELECT last_seq FROM {schema}.messenger_chats WHERE id = $1")),
            look_live: statement(format!(
                "SELECT id FROM {schema}.messenger_messages
                WHERE chat_id = $1 AND sender_id = $2 AND kind = 0 AND deleted_at IS NULL AND seq > $4
                ORDER BY seq LIMIT $3"
            )),
            live: statement(format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m
                WHERE m.id = ANY ($1) AND m.deleted_at IS NULL ORDER BY m.seq"
            )),
            erase: statement(format!(
                "UPDATE {schema}.messenger_messages AS m
                SET revision = e.revision, body = NULL, fingerprint = NULL, deleted_at = $3
                FROM unnest($1::uuid[], $2::bigint[]) AS e (id, revision) WHERE m.id = e.id"
            )),
            changes: statement(changes(schema)),
            insert_system: statement(format!(
                "INSERT INTO {schema}.messenger_messages
                    (chat_id, seq, id, sender_id, kind, created_revision, revision, texts, body, created_at)
                VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8)"
            )),
            lock_chat: statement(format!(
                "SELECT {CHAT} FROM {schema}.messenger_chats AS c WHERE c.id = $1 FOR NO KEY UPDATE"
            )),
            advance: statement(format!(
                "UPDATE {schema}.messenger_chats SET revision = revision + $2, commit_no = {THIS_COMMIT}
                WHERE id = $1"
            )),
        }
    }
}

/// Messages `$3` to `$4`, but at most `$5`, those at the end; with nulls if there are none. Of these, the ones nearest
/// to `$6` that weigh at most `$7` bytes together: of the others the server reads no more than the length.
fn history(schema: &Schema) -> String {
    let weight = weight("octet_length(n.body)");
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM {schema}.messenger_members AS p
        JOIN {schema}.messenger_chats AS c ON c.id = p.chat_id
        LEFT JOIN LATERAL (
            SELECT * FROM (
                SELECT n.*, {weight} AS weight, sum({weight}) OVER (
                    ORDER BY abs(n.seq - $6), n.seq DESC ROWS UNBOUNDED PRECEDING
                ) AS total
                FROM {schema}.messenger_messages AS n
                WHERE n.chat_id = $1 AND n.seq <= $4 AND n.seq >= greatest($3, least(c.last_seq, $4) + 1 - $5)
            ) AS w
            WHERE w.total <= $7 OR w.total = w.weight
        ) AS m ON true
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL"
    )
}

/// `$1` and `$2` are chats and revisions. First the heads, then the messages whose last change is later: the unchanged
/// messages written since, which are among the last n messages if there were n changes, and the changed messages. Of
/// the first `$3` of each chat by revision, it returns those that weigh at most `$4` bytes together, in the order of
/// chats and revisions: of the others the server reads no more than the length.
fn changes(schema: &Schema) -> String {
    let asked = "unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS a (chat, since, place)";
    let head = format!(
        "JOIN LATERAL (SELECT * FROM {schema}.messenger_chats AS h WHERE h.id = a.chat OFFSET 0) AS c ON true"
    );
    let weight = weight("octet_length(n.body)");
    format!(
        "WITH found AS MATERIALIZED (
            SELECT a.place, a.chat, k.seq, k.revision, k.weight,
                row_number() OVER (PARTITION BY a.place ORDER BY k.revision) AS nth
            FROM {asked} {head}
            JOIN LATERAL (
                (
                    SELECT n.seq, n.revision, {weight} AS weight FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.seq > c.last_seq - (c.revision - a.since)
                        AND n.created_revision > a.since AND n.revision = n.created_revision
                    ORDER BY n.seq LIMIT $3
                ) UNION ALL (
                    SELECT n.seq, n.revision, {weight} FROM {schema}.messenger_messages AS n
                    WHERE n.chat_id = a.chat AND n.revision > a.since AND n.revision > n.created_revision
                    ORDER BY n.revision LIMIT $3
                )
            ) AS k ON true
        ), weighed AS MATERIALIZED (
            SELECT f.place, f.chat, f.seq, f.weight,
                sum(f.weight) OVER (ORDER BY f.chat, f.revision ROWS UNBOUNDED PRECEDING) AS total
            FROM found AS f WHERE f.nth <= $3
        )
        SELECT a.place, {CHAT}, {NO_MESSAGE} FROM {asked} {head}
        UNION ALL
        SELECT w.place, {NO_CHAT}, {MESSAGE} FROM weighed AS w
        JOIN LATERAL (
            SELECT * FROM {schema}.messenger_messages AS n WHERE n.chat_id = w.chat AND n.seq = w.seq OFFSET 0
        ) AS m ON true
        WHERE w.total <= $4 OR w.total = w.weight"
    )
}
