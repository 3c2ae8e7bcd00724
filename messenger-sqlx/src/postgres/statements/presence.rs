use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The server's time, once for a statement.
const CLOCK: &str =
    "clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now)";

/// The statements about who is online.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) begin: SqlStr,
    pub(in crate::postgres) settle: SqlStr,
    pub(in crate::postgres) renew: SqlStr,
    pub(in crate::postgres) release: SqlStr,
    pub(in crate::postgres) sweep: SqlStr,
    pub(in crate::postgres) query: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        Self {
            // Nothing of it has to last.
            begin: statement(format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
                WITH {CLOCK}
                SELECT s.epoch, greatest(s.settles_at - clock.now, 0) FROM {schema}.messenger_presence_epoch AS s, clock"
            )),
            settle: statement(format!(
                "WITH {CLOCK}
                INSERT INTO {schema}.messenger_presence_epoch AS s (is_row, epoch, settles_at)
                SELECT true, gen_random_uuid(), clock.now + $1 FROM clock
                ON CONFLICT (is_row) DO UPDATE SET settles_at = greatest(s.settles_at, EXCLUDED.settles_at)
                RETURNING s.epoch"
            )),
            // Rows are locked by rising ids, here and below: so nobody waits for who waits for them.
            renew: statement(format!(
                "WITH {CLOCK}, renewed AS (
                    INSERT INTO {schema}.messenger_presence AS p
                        (user_id, ends_at, gone_at, connections, ends, is_new)
                    SELECT a.user_id, max(clock.now + a.micros), 0, array_agg(a.connection_id),
                        array_agg(clock.now + a.micros), true
                    FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS a (user_id, connection_id, micros), clock
                    WHERE $4 OR EXISTS (SELECT FROM {schema}.messenger_presence AS e WHERE e.user_id = a.user_id)
                    GROUP BY a.user_id ORDER BY a.user_id
                    ON CONFLICT (user_id) DO UPDATE SET is_new = false, (connections, ends, gone_at, ends_at) = (
                        SELECT EXCLUDED.connections || coalesce(array_agg(l.connection_id) FILTER (WHERE l.is_live), '{{}}'),
                            EXCLUDED.ends || coalesce(array_agg(l.ends_at) FILTER (WHERE l.is_live), '{{}}'),
                            greatest(p.gone_at, max(l.ends_at) FILTER (WHERE NOT l.is_live)),
                            greatest(EXCLUDED.ends_at, p.gone_at, max(l.ends_at))
                        FROM (
                            SELECT o.connection_id, o.ends_at, o.ends_at > (SELECT clock.now FROM clock) AS is_live
                            FROM unnest(p.connections, p.ends) AS o (connection_id, ends_at)
                            WHERE o.connection_id <> ALL (EXCLUDED.connections)
                        ) AS l
                    )
                    RETURNING p.user_id, p.is_new
                )
                SELECT r.user_id FROM renewed AS r WHERE r.is_new"
            )),
            release: statement(format!(
                "WITH {CLOCK}, given AS MATERIALIZED (
                    SELECT a.user_id, array_agg(a.connection_id) AS connections
                    FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, connection_id) GROUP BY a.user_id
                ), locked AS MATERIALIZED (
                    SELECT p.user_id FROM {schema}.messenger_presence AS p
                    WHERE p.user_id = ANY ($1) ORDER BY p.user_id FOR UPDATE
                )
                UPDATE {schema}.messenger_presence AS p SET (connections, ends, gone_at, ends_at) = (
                    SELECT coalesce(array_agg(l.connection_id) FILTER (WHERE l.is_kept), '{{}}'),
                        coalesce(array_agg(l.ends_at) FILTER (WHERE l.is_kept), '{{}}'),
                        greatest(p.gone_at, max(l.ends_at) FILTER (WHERE NOT l.is_kept)),
                        greatest(p.gone_at, max(l.ends_at))
                    FROM (
                        SELECT o.connection_id, k.is_kept,
                            CASE WHEN k.is_kept THEN o.ends_at ELSE least(o.ends_at, clock.now) END AS ends_at
                        FROM unnest(p.connections, p.ends) AS o (connection_id, ends_at), clock,
                            LATERAL (SELECT o.connection_id <> ALL (g.connections) AS is_kept) AS k
                    ) AS l
                )
                FROM locked JOIN given AS g ON g.user_id = locked.user_id
                WHERE p.user_id = locked.user_id AND p.connections && g.connections"
            )),
            // Who is locked is being renewed or reported by somebody else.
            sweep: statement(format!(
                "WITH {CLOCK}, due AS MATERIALIZED (
                    SELECT p.user_id FROM {schema}.messenger_presence AS p
                    WHERE p.ends_at <= (SELECT clock.now FROM clock) - $1
                        AND NOT EXISTS (
                            SELECT FROM {schema}.messenger_presence_epoch AS s
                            WHERE s.settles_at > (SELECT clock.now FROM clock)
                        )
                    ORDER BY p.ends_at LIMIT $2 FOR UPDATE SKIP LOCKED
                )
                DELETE FROM {schema}.messenger_presence AS p USING due WHERE p.user_id = due.user_id
                RETURNING p.user_id, p.ends_at"
            )),
            query: statement(format!(
                "SELECT p.user_id FROM {schema}.messenger_presence AS p WHERE p.user_id = ANY ($1)"
            )),
        }
    }
}
