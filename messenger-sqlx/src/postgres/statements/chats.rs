use messenger_sql::columns::{CHAT, MEMBER, USER, last_message};
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, THIS_COMMIT, statement};

/// The peer in a direct chat `c`, as seen by its member `p`; null in a group.
const PEER: &str = "CASE c.pair_low WHEN p.user_id THEN c.pair_high ELSE c.pair_low END";

/// The statements about chats.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) by_pair: SqlStr,
    pub(in crate::postgres) by_client_id: SqlStr,
    pub(in crate::postgres) insert: SqlStr,
    pub(in crate::postgres) lock_members: SqlStr,
    pub(in crate::postgres) admit: SqlStr,
    pub(in crate::postgres) remove: SqlStr,
    pub(in crate::postgres) give_roles: SqlStr,
    pub(in crate::postgres) update: SqlStr,
    pub(in crate::postgres) views: SqlStr,
    pub(in crate::postgres) page: SqlStr,
    pub(in crate::postgres) membership: SqlStr,
    pub(in crate::postgres) roster: SqlStr,
    pub(in crate::postgres) mute: SqlStr,
    pub(in crate::postgres) set_level: SqlStr,
    pub(in crate::postgres) memberships: SqlStr,
    pub(in crate::postgres) membership_counts: SqlStr,
    pub(in crate::postgres) revisions: SqlStr,
    pub(in crate::postgres) changed_since: SqlStr,
    pub(in crate::postgres) ever_joined: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self {
            by_pair: statement(format!(
                "SELECT id FROM {schema}.messenger_chats WHERE pair_low = $1 AND pair_high = $2"
            )),
            by_client_id: statement(format!(
                "SELECT id, fingerprint FROM {schema}.messenger_chats WHERE creator_id = $1 AND client_id = $2"
            )),
            insert: statement(format!(
                "INSERT INTO {schema}.messenger_chats (id, kind, title, created_at, activity_at, revision, last_seq,
                    texts, member_count, roster_version, pair_low, pair_high, creator_id, client_id, fingerprint,
                    commit_no)
                VALUES ($1, $2, $3, $4, $4, 0, 0, 0, $5, $6, $7, $8, $9, $10, $11, {THIS_COMMIT})"
            )),
            lock_members: statement(format!(
                "SELECT user_id FROM {schema}.messenger_members WHERE chat_id = $1 AND user_id = ANY ($2)
                ORDER BY user_id FOR NO KEY UPDATE"
            )),
            admit: statement(format!(
                "INSERT INTO {schema}.messenger_members AS p
                    (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts, delivered_seq)
                SELECT $1, a.person, a.role, $2, a.place + (
                        SELECT coalesce(max(join_order), 0) FROM {schema}.messenger_members WHERE chat_id = $1
                    ), $3, $4, $3
                FROM unnest($5::uuid[], $6::smallint[]) WITH ORDINALITY AS a (person, role, place)
                ON CONFLICT (chat_id, user_id) DO UPDATE SET
                    role = excluded.role, joined_at = excluded.joined_at, join_order = excluded.join_order,
                    left_at = NULL, left_commit = NULL, muted_until = NULL, notify_level = NULL,
                    read_seq = greatest(p.read_seq, excluded.read_seq),
                    read_texts = greatest(p.read_texts, excluded.read_texts),
                    delivered_seq = greatest(p.delivered_seq, excluded.delivered_seq)"
            )),
            remove: statement(format!(
                "UPDATE {schema}.messenger_members SET left_at = $2, left_commit = {THIS_COMMIT}
                WHERE chat_id = $1 AND left_at IS NULL AND user_id = ANY ($3)"
            )),
            give_roles: statement(format!(
                "UPDATE {schema}.messenger_members AS p SET role = g.role
                FROM unnest($2::uuid[], $3::smallint[]) AS g (person, role)
                WHERE p.chat_id = $1 AND p.user_id = g.person AND p.left_at IS NULL"
            )),
            update: statement(format!(
                "UPDATE {schema}.messenger_chats SET title = $2, revision = $3, last_seq = $4, texts = $5,
                    member_count = $6, roster_version = $7, activity_at = coalesce($8, activity_at),
                    commit_no = {THIS_COMMIT}
                WHERE id = $1"
            )),
            views: statement(view(schema, "unnest($2::uuid[]) AS a (id)", "", "$3")),
            page: statement(page(schema)),
            membership: statement(format!(
                "SELECT {CHAT}, {MEMBER} FROM {schema}.messenger_members AS p
                JOIN {schema}.messenger_chats AS c ON c.id = p.chat_id
                WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL"
            )),
            // The chat with each of its members, or with nulls if it has none.
            roster: statement(format!(
                "SELECT {CHAT}, p.user_id IS NOT NULL, {MEMBER} FROM {schema}.messenger_chats AS c
                LEFT JOIN {schema}.messenger_members AS p ON p.chat_id = c.id AND p.left_at IS NULL
                WHERE c.id = $1 ORDER BY p.join_order"
            )),
            mute: statement(format!(
                "UPDATE {schema}.messenger_members SET muted_until = $3
                WHERE chat_id = $1 AND user_id = $2 AND left_at IS NULL"
            )),
            set_level: statement(format!(
                "UPDATE {schema}.messenger_members SET notify_level = $3
                WHERE chat_id = $1 AND user_id = $2 AND left_at IS NULL"
            )),
            // The person's count of memberships and the settled commit, with each of their chats, including those that
            // they left after a commit, or with nulls if there are none. Changes not yet in the list belong to
            // transactions that were running, the first of which the snapshot knows, or to later ones. `OFFSET 0`:
            // evaluated once.
            memberships: statement(format!(
                "SELECT u.memberships, k.history, k.settled, c.id, c.revision, {PEER}, c.commit_no,
                    p.left_at IS NOT NULL
                FROM {schema}.messenger_users AS u
                CROSS JOIN (
                    SELECT {schema}.messenger_history() AS history,
                        pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS settled
                    OFFSET 0
                ) AS k
                LEFT JOIN {schema}.messenger_members AS p
                    ON p.user_id = u.id AND (p.left_at IS NULL OR p.left_commit > $2)
                LEFT JOIN LATERAL ({}) AS c ON true
                WHERE u.id = $1",
                head(schema, "p.chat_id")
            )),
            membership_counts: statement(format!(
                "SELECT id, memberships FROM {schema}.messenger_users WHERE id = ANY ($1)"
            )),
            revisions: statement(format!(
                "SELECT c.id, c.revision FROM unnest($1::uuid[]) AS a (id) JOIN LATERAL ({}) AS c ON true",
                head(schema, "a.id")
            )),
            changed_since: statement(format!(
                "SELECT a.chat_id, max(a.revision), bool_or(a.joined) FROM (
                    SELECT chat_id, revision, kind = 1 OR seq = 1 AS joined
                    FROM {schema}.messenger_messages WHERE id >= $1
                    UNION ALL
                    SELECT chat_id, revision, false FROM {schema}.messenger_messages WHERE edited_at >= $2
                    UNION ALL
                    SELECT chat_id, revision, false FROM {schema}.messenger_messages WHERE deleted_at >= $2
                ) AS a
                GROUP BY a.chat_id LIMIT $3"
            )),
            ever_joined: statement(format!(
                "SELECT chat_id FROM {schema}.messenger_members WHERE user_id = $1"
            )),
        }
    }
}

/// One chat. `OFFSET 0` keeps the planner from joining in any other way than by one index lookup for each: the best
/// plan by the statistics of a small table would stay in use while the table grows.
fn head(schema: &Schema, id: &str) -> String {
    format!("SELECT * FROM {schema}.messenger_chats AS h WHERE h.id = {id} OFFSET 0")
}

/// Those of the chats `a` that the person `$1` is a member of, as the person sees them, with the given number of bytes
/// of the last message's body.
fn view(schema: &Schema, chats: &str, order: &str, preview: &str) -> String {
    let last_message = last_message("octet_length", "substr", preview);
    format!(
        "SELECT {CHAT}, c.retention_secs, {MEMBER}, {USER}, {last_message} FROM {chats}
        JOIN LATERAL ({}) AS c ON true
        JOIN LATERAL (
            SELECT * FROM {schema}.messenger_members AS q
            WHERE q.chat_id = a.id AND q.user_id = $1 AND q.left_at IS NULL OFFSET 0
        ) AS p ON true
        LEFT JOIN LATERAL (SELECT * FROM {schema}.messenger_users AS o WHERE o.id = {PEER} OFFSET 0) AS u ON true
        LEFT JOIN LATERAL (
            SELECT * FROM {schema}.messenger_messages AS n WHERE n.chat_id = a.id AND n.seq = c.last_seq OFFSET 0
        ) AS m ON true {order}",
        head(schema, "a.id")
    )
}

/// `$2` and `$3` are the place to begin after. Only the chats of the page are joined with the data of the view.
fn page(schema: &Schema) -> String {
    let chats = format!(
        "(
            SELECT c.id, c.activity_at FROM {schema}.messenger_members AS p
            JOIN LATERAL ({}) AS c ON true
            WHERE p.user_id = $1 AND p.left_at IS NULL AND (c.activity_at, c.id) < ($2, $3)
            ORDER BY c.activity_at DESC, c.id DESC LIMIT $4
        ) AS a",
        head(schema, "p.chat_id")
    );
    view(schema, &chats, "ORDER BY a.activity_at DESC, a.id DESC", "$5")
}
