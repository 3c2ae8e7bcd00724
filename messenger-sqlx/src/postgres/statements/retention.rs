use messenger_sql::retention::{HOLD, PURGE, without_body};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The statements about how long messages are kept.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) lock: SqlStr,
    pub(in crate::postgres) overdue: SqlStr,
    pub(in crate::postgres) set: SqlStr,
    pub(in crate::postgres) chat: SqlStr,
    pub(in crate::postgres) next: SqlStr,
    pub(in crate::postgres) looked: SqlStr,
    pub(in crate::postgres) record: SqlStr,
    pub(in crate::postgres) has_chat: SqlStr,
    pub(in crate::postgres) has_user: SqlStr,
    pub(in crate::postgres) is_held: SqlStr,
    pub(in crate::postgres) hold: SqlStr,
    pub(in crate::postgres) release: SqlStr,
    pub(in crate::postgres) look_again: SqlStr,
    pub(in crate::postgres) lock_joined: SqlStr,
    pub(in crate::postgres) holds: SqlStr,
    pub(in crate::postgres) purges: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let (chats, holds) = (format!("{schema}.messenger_chats"), format!("{schema}.messenger_holds"));
        Self {
            lock: statement(format!("SELECT FROM {schema}.messenger_hold_lock WHERE is_row FOR UPDATE")),
            // Of each index the first `$3`; `$1` is the time before which messages are older than the deployment keeps them, or
            // null. `OFFSET 0`: each part by its own index.
            overdue: statement(format!(
                "SELECT c.id, coalesce(c.kept_since, c.created_at) AS since, c.retention_secs FROM (
                    (SELECT id FROM {chats} WHERE kept_since IS NULL AND $1::bigint IS NOT NULL LIMIT $3)
                    UNION
                    (SELECT id FROM {chats} WHERE kept_since < $1::bigint ORDER BY kept_since LIMIT $3)
                    UNION
                    (SELECT id FROM {chats} WHERE purge_at IS NOT NULL AND purge_at < $2 ORDER BY purge_at LIMIT $3)
                ) AS a
                JOIN LATERAL (SELECT * FROM {chats} AS h WHERE h.id = a.id OFFSET 0) AS c ON true
                ORDER BY 2, 1 LIMIT $3"
            )),
            set: statement(format!(
                "UPDATE {chats} SET retention_secs = $2::bigint,
                    purge_at = coalesce(kept_since, created_at) + $2::bigint * 1000000
                WHERE id = $1"
            )),
            chat: statement(format!(
                "SELECT c.retention_secs, coalesce(c.purge_seq, 0), c.revision,
                    EXISTS (SELECT FROM {holds} AS h WHERE h.kind = 0 AND h.id = $1)
                FROM {chats} AS c WHERE c.id = $1 FOR NO KEY UPDATE OF c"
            )),
            next: statement(format!(
                "SELECT {}, h.id IS NOT NULL FROM {schema}.messenger_messages AS m
                LEFT JOIN {holds} AS h ON h.kind = 1 AND h.id = m.sender_id
                WHERE m.chat_id = $1 AND m.seq > $2 AND m.seq <= $2 + $3 ORDER BY m.seq",
                without_body()
            )),
            looked: statement(format!(
                "UPDATE {chats} SET purge_seq = $2, kept_since = coalesce($3::bigint, kept_since),
                    purge_at = CASE WHEN $3::bigint IS NULL THEN purge_at ELSE $3::bigint + retention_secs * 1000000 END
                WHERE id = $1"
            )),
            record: statement(format!(
                "INSERT INTO {schema}.messenger_purges
                    (id, chat_id, purged_at, before_at, retention_secs, is_own, first_seq, last_seq, messages)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            )),
            has_chat: statement(format!("SELECT EXISTS (SELECT FROM {chats} WHERE id = $1)")),
            has_user: statement(format!(
                "SELECT EXISTS (SELECT FROM {schema}.messenger_users WHERE id = $1 AND erased_at IS NULL)"
            )),
            is_held: statement(format!("SELECT EXISTS (SELECT FROM {holds} WHERE kind = 1 AND id = $1)")),
            hold: statement(format!(
                "INSERT INTO {holds} (kind, id, reason, held_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
            )),
            release: statement(format!("DELETE FROM {holds} WHERE kind = $1 AND id = $2")),
            look_again: statement(format!(
                "UPDATE {chats} SET kept_since = NULL, purge_seq = NULL,
                    purge_at = CASE WHEN retention_secs IS NOT NULL THEN 0 END
                WHERE id = ANY ($1)"
            )),
            lock_joined: statement(format!(
                "SELECT c.id FROM {chats} AS c
                WHERE c.id IN (SELECT p.chat_id FROM {schema}.messenger_members AS p WHERE p.user_id = $1)
                ORDER BY c.id FOR NO KEY UPDATE OF c"
            )),
            holds: statement(format!(
                "SELECT {HOLD} FROM {holds} AS h WHERE (h.kind, h.id) > ($1::smallint, $2)
                ORDER BY h.kind, h.id LIMIT $3"
            )),
            purges: statement(format!(
                "SELECT {PURGE} FROM {schema}.messenger_purges AS g WHERE g.id > $1 ORDER BY g.id LIMIT $2"
            )),
        }
    }
}
