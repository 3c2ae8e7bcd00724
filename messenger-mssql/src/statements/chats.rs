use std::sync::Arc;

use messenger_sql::columns::{CHAT, MEMBER, USER, last_message};

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The peer in a direct chat `c`, as seen by its member `p`; null in a group.
const PEER: &str = "CASE c.pair_low WHEN p.user_id THEN c.pair_high ELSE c.pair_low END";

/// The procedures and statements about chats.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) open_direct: Arc<str>,
    pub(crate) create_group: Arc<str>,
    pub(crate) change_roster: Arc<str>,
    pub(crate) views: Arc<str>,
    pub(crate) page: Arc<str>,
    pub(crate) membership: Arc<str>,
    pub(crate) roster: Arc<str>,
    pub(crate) mute: Arc<str>,
    pub(crate) unmute: Arc<str>,
    pub(crate) set_level: Arc<str>,
    pub(crate) clear_level: Arc<str>,
    pub(crate) memberships: Arc<str>,
    pub(crate) membership_counts: Arc<str>,
    pub(crate) revisions: Arc<str>,
    pub(crate) changed_since: Arc<str>,
    pub(crate) ever_joined: Arc<str>,
}

impl Sql {
    /// `hold` is the hint, if one is needed, that keeps what was read of a chat unchanged until the end of the
    /// statement.
    pub(crate) fn new(schema: &Schema, hold: &str) -> Self {
        let (first, second) = (id(1), id(2));
        let set = |what: &str| -> Arc<str> {
            format!(
                "UPDATE {schema}.messenger_members SET {what} OUTPUT inserted.user_id
                WHERE chat_id = {first} AND user_id = {second} AND left_at IS NULL"
            )
            .into()
        };
        Self {
            open_direct: procedure(schema, "open_direct"),
            create_group: procedure(schema, "create_group"),
            change_roster: procedure(schema, "change_roster"),
            views: view(schema, hold, &format!("{schema}.messenger_unpack_ids(@P3)"), ("", "@P2")).into(),
            page: page(schema, hold).into(),
            membership: format!(
                "SELECT {CHAT}, {MEMBER} FROM {schema}.messenger_chats AS c {hold}
                JOIN {schema}.messenger_members AS p
                    ON p.chat_id = c.id AND p.user_id = {second} AND p.left_at IS NULL
                WHERE c.id = {first}
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            // The chat with each of its members, or with nulls if it has none.
            roster: format!(
                "SELECT {CHAT}, CAST(CASE WHEN p.user_id IS NULL THEN 0 ELSE 1 END AS bit), {MEMBER}
                FROM {schema}.messenger_chats AS c {hold}
                LEFT JOIN {schema}.messenger_members AS p ON p.chat_id = c.id AND p.left_at IS NULL
                WHERE c.id = {first} ORDER BY p.join_order
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            mute: set("muted_until = @P3"),
            unmute: set("muted_until = NULL"),
            set_level: set("notify_level = @P3"),
            clear_level: set("notify_level = NULL"),
            // The person's count of memberships and the settled commit, with each of their chats, including those that
            // they left after a commit, or with nulls if there are none. The order matters: the settled commit and the
            // count must not be later than the list.
            memberships: format!(
                "DECLARE @history bigint, @settled bigint;
                EXEC {schema}.messenger_settled @history OUTPUT, @settled OUTPUT;
                SELECT u.memberships, @history, @settled, c.id, c.revision, {PEER}, CAST(c.commit_no AS bigint),
                    CAST(CASE WHEN p.left_at IS NULL THEN 0 ELSE 1 END AS bit)
                FROM {schema}.messenger_users AS u
                LEFT JOIN {schema}.messenger_members AS p
                    ON p.user_id = u.id AND (p.left_at IS NULL OR p.left_commit > @P2)
                LEFT JOIN {schema}.messenger_chats AS c ON c.id = p.chat_id
                WHERE u.id = {first}
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            membership_counts: format!(
                "SELECT u.id, u.memberships FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_users AS u ON u.id = a.id"
            )
            .into(),
            revisions: format!(
                "SELECT c.id, c.revision FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_chats AS c ON c.id = a.id"
            )
            .into(),
            changed_since: format!(
                "SELECT TOP (@P3) a.chat_id, max(a.revision), CAST(max(a.joined) AS bit) FROM (
                    SELECT chat_id, revision, CASE WHEN kind = 1 OR seq = 1 THEN 1 ELSE 0 END AS joined
                    FROM {schema}.messenger_messages WHERE id >= {first}
                    UNION ALL
                    SELECT chat_id, revision, 0 FROM {schema}.messenger_messages WHERE edited_at >= @P2
                    UNION ALL
                    SELECT chat_id, revision, 0 FROM {schema}.messenger_messages WHERE deleted_at >= @P2
                ) AS a
                GROUP BY a.chat_id"
            )
            .into(),
            ever_joined: format!("SELECT chat_id FROM {schema}.messenger_members WHERE user_id = {first}")
                .into(),
        }
    }
}

/// Those of the chats `a` that the person `@P1` is a member of, as the person sees them, in this order, with the given
/// number of bytes of the last message's body.
fn view(schema: &Schema, hold: &str, chats: &str, (order, preview): (&str, &str)) -> String {
    let last_message = last_message("DATALENGTH", "SUBSTRING", preview);
    format!(
        "SELECT {CHAT}, c.retention_secs, {MEMBER}, {USER}, {last_message} FROM {chats} AS a
        JOIN {schema}.messenger_chats AS c {hold} ON c.id = a.id
        JOIN {schema}.messenger_members AS p ON p.chat_id = c.id AND p.user_id = {} AND p.left_at IS NULL
        LEFT JOIN {schema}.messenger_users AS u ON u.id = {PEER}
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = c.last_seq
        {order} OPTION (LOOP JOIN, FORCE ORDER)",
        id(1)
    )
}

/// `@P2` and `@P3` are the place to begin after. Only the chats of the page are joined with the data of the view.
fn page(schema: &Schema, hold: &str) -> String {
    let (person, after) = (id(1), id(3));
    let chats = format!(
        "(
            SELECT TOP (@P4) d.id, d.activity_at FROM {schema}.messenger_members AS q
            JOIN {schema}.messenger_chats AS d ON d.id = q.chat_id
            WHERE q.user_id = {person} AND q.left_at IS NULL
                AND (d.activity_at < @P2 OR d.activity_at = @P2 AND d.id < {after})
            ORDER BY d.activity_at DESC, d.id DESC
        )"
    );
    view(schema, hold, &chats, ("ORDER BY c.activity_at DESC, c.id DESC", "@P5"))
}
