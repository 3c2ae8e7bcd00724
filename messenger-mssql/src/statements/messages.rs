use std::sync::Arc;

use messenger_sql::columns::{CHAT, MESSAGE, weight};

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about messages.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) by_id: Arc<str>,
    pub(crate) history: Arc<str>,
    pub(crate) change: Arc<str>,
    pub(crate) erase: Arc<str>,
    pub(crate) changes: Arc<str>,
}

impl Sql {
    /// `hold` is the hint, if one is needed, that keeps what was read of a chat unchanged until the end of the
    /// statement.
    pub(crate) fn new(schema: &Schema, hold: &str) -> Self {
        let (first, second) = (id(1), id(2));
        Self {
            by_id: format!(
                "SELECT {MESSAGE} FROM {schema}.messenger_messages AS m WHERE m.id = {second} AND m.chat_id = {first}"
            )
            .into(),
            history: history(schema, hold).into(),
            change: procedure(schema, "change_message"),
            erase: procedure(schema, "erase_messages"),
            changes: changes(schema, hold).into(),
        }
    }
}

/// Messages `@P3` to `@P4`, but at most `@P5`, those at the end; with nulls if there are none. Of these, the ones
/// nearest to `@P6` that weigh at most `@P7` bytes together: of the others the server reads no more than the length.
/// The plan is the same for all values: a range of the clustered index, and a lookup in it for each message returned.
fn history(schema: &Schema, hold: &str) -> String {
    let (first, second, weight) = (id(1), id(2), weight("DATALENGTH(n.body)"));
    format!(
        "SELECT c.last_seq, {MESSAGE}
        FROM {schema}.messenger_chats AS c {hold}
        JOIN {schema}.messenger_members AS p
            ON p.chat_id = c.id AND p.user_id = {second} AND p.left_at IS NULL
        CROSS APPLY (SELECT CASE WHEN c.last_seq < @P4 THEN c.last_seq ELSE @P4 END AS seq) AS h
        CROSS APPLY (SELECT CASE WHEN h.seq + 1 - @P5 > @P3 THEN h.seq + 1 - @P5 ELSE @P3 END AS seq) AS l
        OUTER APPLY (
            SELECT q.seq FROM (
                SELECT n.seq, {weight} AS weight, SUM({weight}) OVER (
                    ORDER BY ABS(n.seq - @P6), n.seq DESC ROWS UNBOUNDED PRECEDING
                ) AS total
                FROM {schema}.messenger_messages AS n
                WHERE n.chat_id = c.id AND n.seq >= l.seq AND n.seq <= h.seq
            ) AS q
            WHERE q.total <= @P7 OR q.total = q.weight
        ) AS w
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = w.seq
        WHERE c.id = {first}
        OPTION (LOOP JOIN, FORCE ORDER)"
    )
}

/// `@P1` are chats with revisions, ordered by id. The head of each, with the messages whose last change is later, or
/// with nulls if there are none: the unchanged messages written since, which are among the last n messages if there
/// were n changes, and the changed messages. Of the first `@P2` of each chat by revision, it returns those that weigh
/// at most `@P3` bytes together, in the order of chats and revisions: of the others the server reads no more than the
/// length.
fn changes(schema: &Schema, hold: &str) -> String {
    let weight = weight("DATALENGTH(n.body)");
    format!(
        "SELECT c.place, {CHAT}, {MESSAGE}
        FROM (
            SELECT f.*, SUM(CASE WHEN f.nth <= @P2 THEN coalesce(f.weight, 0) ELSE 0 END) OVER (
                ORDER BY f.place, f.nth ROWS UNBOUNDED PRECEDING
            ) AS total
            FROM (
                SELECT a.place, {CHAT}, k.seq, k.weight,
                    ROW_NUMBER() OVER (PARTITION BY a.place ORDER BY k.revision) AS nth
                FROM {schema}.messenger_unpack_numbered(@P1) AS a
                JOIN {schema}.messenger_chats AS c {hold} ON c.id = a.id
                OUTER APPLY (
                    SELECT w.* FROM (
                        SELECT TOP (@P2) n.seq, n.revision, {weight} AS weight
                        FROM {schema}.messenger_messages AS n
                        WHERE n.chat_id = c.id AND n.seq > c.last_seq - (c.revision - a.number)
                            AND n.created_revision > a.number AND n.is_changed = 0
                        ORDER BY n.seq
                    ) AS w
                    UNION ALL
                    SELECT x.* FROM (
                        SELECT TOP (@P2) n.seq, n.revision, {weight} AS weight
                        FROM {schema}.messenger_messages AS n
                        WHERE n.chat_id = c.id AND n.revision > a.number AND n.is_changed = 1
                        ORDER BY n.revision
                    ) AS x
                ) AS k
            ) AS f
        ) AS c
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = c.seq
            AND c.nth <= @P2 AND (c.total <= @P3 OR c.total = c.weight)
        WHERE c.nth = 1 OR m.id IS NOT NULL
        OPTION (LOOP JOIN, FORCE ORDER)"
    )
}
