use messenger_sql::columns::USER;
use sqlx::SqlStr;

use crate::postgres::sql::{Schema, statement};

/// The username of a live account, as it is indexed.
const LIVE: &str = "(CASE WHEN f.display_folded IS NOT NULL THEN f.username END)";

/// The statements about accounts.
#[derive(Debug)]
pub(in crate::postgres) struct Sql {
    pub(in crate::postgres) create: SqlStr,
    pub(in crate::postgres) taken: SqlStr,
    pub(in crate::postgres) by_id: SqlStr,
    pub(in crate::postgres) by_ids: SqlStr,
    pub(in crate::postgres) by_username: SqlStr,
    pub(in crate::postgres) by_email: SqlStr,
    pub(in crate::postgres) find: SqlStr,
    pub(in crate::postgres) update: SqlStr,
    pub(in crate::postgres) change_password: SqlStr,
    pub(in crate::postgres) upgrade_password: SqlStr,
    pub(in crate::postgres) erase: SqlStr,
    pub(in crate::postgres) see: SqlStr,
    pub(in crate::postgres) mail_accepted: SqlStr,
    pub(in crate::postgres) mail_refused: SqlStr,
    pub(in crate::postgres) confirm: SqlStr,
    pub(in crate::postgres) lock_live: SqlStr,
    pub(in crate::postgres) lock_version: SqlStr,
    pub(in crate::postgres) count_memberships: SqlStr,
}

impl Sql {
    pub(in crate::postgres) fn new(schema: &Schema) -> Self {
        let of = |condition: &str| {
            statement(format!("SELECT {USER} FROM {schema}.messenger_users AS u WHERE {condition}"))
        };
        Self {
            create: statement(format!(
                "WITH account AS (
                    INSERT INTO {schema}.messenger_users (id, username, display_name, display_folded, email,
                        email_key, password_hash, notify_email, created_at, version, memberships)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, true, $8, 1, 0)
                )
                INSERT INTO {schema}.messenger_sessions
                    (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
                VALUES ($9, $10, $11, $12, $13, $13, $14)"
            )),
            taken: statement(format!(
                "SELECT
                    EXISTS (SELECT FROM {schema}.messenger_users WHERE username = $1),
                    EXISTS (SELECT FROM {schema}.messenger_users WHERE email_key = $2),
                    EXISTS (SELECT FROM {schema}.messenger_users WHERE id = $3)"
            )),
            by_id: of("u.id = $1"),
            by_ids: of("u.id = ANY ($1)"),
            by_username: of("u.username = $1 AND u.erased_at IS NULL"),
            by_email: of("u.email_key = $1 AND u.erased_at IS NULL"),
            // `$1` to `$2` is the range of the names; of those with the name `$1`, the usernames after `$3`. Each index
            // returns the first `$4` in order. A subquery with a limit is evaluated for one account at a time, whatever
            // number of rows the planner expects.
            find: statement(format!(
                "WITH found AS MATERIALIZED (
                    (
                        SELECT {LIVE} AS name, f.username, f.id FROM {schema}.messenger_users AS f
                        WHERE {LIVE} >= $1 AND {LIVE} < $2 AND ({LIVE} > $1 OR {LIVE} > $3)
                        ORDER BY {LIVE} LIMIT $4
                    )
                    UNION
                    (
                        SELECT f.display_folded, f.username, f.id FROM {schema}.messenger_users AS f
                        WHERE (f.display_folded, f.username) > ($1, $3) AND f.display_folded < $2
                            AND f.display_folded IS NOT NULL
                        ORDER BY f.display_folded, f.username LIMIT $4
                    )
                    ORDER BY name, username LIMIT $4
                )
                SELECT f.name, u.* FROM found AS f
                CROSS JOIN LATERAL (
                    SELECT {USER} FROM {schema}.messenger_users AS u WHERE u.id = f.id LIMIT 1
                ) AS u
                ORDER BY f.name, f.username"
            )),
            update: statement(format!(
                "UPDATE {schema}.messenger_users AS u SET
                    display_name = coalesce($3, u.display_name), display_folded = coalesce($4, u.display_folded),
                    email = coalesce($5, u.email), email_key = coalesce($6, u.email_key),
                    notify_email = coalesce($7, u.notify_email), version = u.version + 1,
                    mail_refusals = CASE WHEN $6::bytea IS NULL THEN u.mail_refusals END,
                    mail_suppressed_at = CASE WHEN $6::bytea IS NULL THEN u.mail_suppressed_at END,
                    email_confirmed_key =
                        CASE WHEN coalesce($6::bytea, u.email_key) = u.email_key THEN u.email_confirmed_key END,
                    email_confirmed_at =
                        CASE WHEN coalesce($6::bytea, u.email_key) = u.email_key THEN u.email_confirmed_at END,
                    language = CASE WHEN $8::boolean THEN $9::text ELSE u.language END,
                    time_zone = CASE WHEN $8::boolean THEN $10::text ELSE u.time_zone END,
                    quiet_from = CASE WHEN $8::boolean THEN $11::smallint ELSE u.quiet_from END,
                    quiet_to = CASE WHEN $8::boolean THEN $12::smallint ELSE u.quiet_to END
                WHERE u.id = $1 AND u.version = $2 AND u.erased_at IS NULL RETURNING {USER}"
            )),
            change_password: statement(format!(
                "UPDATE {schema}.messenger_users SET password_hash = $3, version = version + 1
                WHERE id = $1 AND version = $2 AND erased_at IS NULL"
            )),
            upgrade_password: statement(format!(
                "UPDATE {schema}.messenger_users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
            )),
            erase: statement(format!(
                "UPDATE {schema}.messenger_users SET
                    username = $3, display_name = $4, display_folded = NULL, email = NULL, email_key = NULL,
                    password_hash = NULL, notify_email = false, last_seen_at = NULL, erased_at = $5,
                    version = version + 1, language = NULL, time_zone = NULL, quiet_from = NULL, quiet_to = NULL,
                    mail_refusals = NULL, mail_suppressed_at = NULL, notified_at = NULL, notified_since = NULL,
                    notified_times = NULL, email_confirmed_key = NULL, email_confirmed_at = NULL
                WHERE id = $1 AND version = $2 AND erased_at IS NULL"
            )),
            see: statement(format!(
                "WITH seen AS (
                    SELECT s.id, max(s.at) AS at FROM unnest($1::uuid[], $2::bigint[]) AS s (id, at) GROUP BY s.id
                ),
                known AS MATERIALIZED (
                    SELECT u.id FROM {schema}.messenger_users AS u
                    WHERE u.id = ANY ($1) AND u.erased_at IS NULL ORDER BY u.id FOR NO KEY UPDATE
                )
                UPDATE {schema}.messenger_users AS u SET last_seen_at = greatest(u.last_seen_at, s.at)
                FROM known AS k JOIN seen AS s ON s.id = k.id WHERE u.id = k.id AND u.erased_at IS NULL"
            )),
            mail_accepted: statement(format!(
                "UPDATE {schema}.messenger_users SET mail_refusals = NULL
                WHERE id = $1 AND email_key = $2 AND mail_refusals IS NOT NULL"
            )),
            mail_refused: statement(format!(
                "UPDATE {schema}.messenger_users SET mail_refusals = coalesce(mail_refusals, 0) + 1,
                    mail_suppressed_at = coalesce(mail_suppressed_at,
                        CASE WHEN coalesce(mail_refusals, 0) + 1 >= $4 THEN $3 END)
                WHERE id = $1 AND email_key = $2"
            )),
            confirm: statement(format!(
                "UPDATE {schema}.messenger_users SET
                    email_confirmed_at = CASE WHEN email_confirmed_key = email_key THEN email_confirmed_at ELSE $3 END,
                    email_confirmed_key = email_key
                WHERE id = $1 AND email_key = $2"
            )),
            lock_live: statement(format!(
                "SELECT id FROM {schema}.messenger_users
                WHERE id = ANY ($1) AND erased_at IS NULL ORDER BY id FOR NO KEY UPDATE"
            )),
            lock_version: statement(format!(
                "SELECT version FROM {schema}.messenger_users
                WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE"
            )),
            count_memberships: statement(format!(
                "UPDATE {schema}.messenger_users SET memberships = memberships + 1 WHERE id = ANY ($1)"
            )),
        }
    }
}
