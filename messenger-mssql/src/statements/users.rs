use std::sync::Arc;

use messenger_sql::columns::USER;

use crate::{
    schema::Schema,
    sql::{id, procedure},
};

/// The procedures and statements about accounts.
#[derive(Debug)]
pub(crate) struct Sql {
    pub(crate) create: Arc<str>,
    pub(crate) by_id: Arc<str>,
    pub(crate) by_ids: Arc<str>,
    pub(crate) by_username: Arc<str>,
    pub(crate) by_email: Arc<str>,
    pub(crate) find: Arc<str>,
    pub(crate) update: Arc<str>,
    pub(crate) change_password: Arc<str>,
    pub(crate) upgrade_password: Arc<str>,
    pub(crate) erase: Arc<str>,
    pub(crate) see: Arc<str>,
    pub(crate) mail_accepted: Arc<str>,
    pub(crate) mail_refused: Arc<str>,
    pub(crate) confirm: Arc<str>,
}

impl Sql {
    pub(crate) fn new(schema: &Schema) -> Self {
        let of = |condition: &str| -> Arc<str> {
            format!("SELECT {USER} FROM {schema}.messenger_users AS u WHERE {condition}").into()
        };
        Self {
            create: procedure(schema, "create_user"),
            by_id: of(&format!("u.id = {}", id(1))),
            by_ids: format!(
                "SELECT {USER} FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_users AS u ON u.id = a.id"
            )
            .into(),
            // Values are padded before they are compared, texts with blanks and bytes with zeros; so the length is
            // compared, too.
            by_username: of(
                "u.username = @P1 AND DATALENGTH(u.username) = DATALENGTH(@P1) AND u.erased_at IS NULL",
            ),
            by_email: of("u.email_key = @P1 AND DATALENGTH(u.email_key) = DATALENGTH(@P1)
                AND u.email_key IS NOT NULL AND u.erased_at IS NULL"),
            // `@P1` to `@P2` is the range of usernames, `@P3` to `@P4` that of display names; of those with the first
            // of these names, the usernames after `@P5`. Each index returns the first `@P6` in order: the accounts with
            // the first display name and those with later ones are two queries, because no index answers them as one.
            // The hints prevent the server's statistics, which may be outdated, from making it read all accounts.
            //
            // A username may be equal to `@P1` only because of the blanks that pad it.
            //
            // Without row versions, an account may be erased between the index lookup and the lookup of its row: then
            // there are nulls in its place.
            find: format!(
                "SELECT f.name, {USER} FROM (
                    SELECT TOP (@P6) g.name, g.username, g.id FROM (
                        SELECT a.name, a.username, a.id FROM (
                            SELECT TOP (@P6) CAST(CAST(n.username AS varchar(400)) AS varbinary(850)) AS name,
                                n.username, n.id
                            FROM {schema}.messenger_users AS n
                                WITH (INDEX (messenger_users_by_live_username), FORCESEEK)
                            WHERE n.username >= @P1 AND n.username < @P2 AND n.display_folded IS NOT NULL
                                AND (n.username > @P1
                                    OR (DATALENGTH(n.username) = DATALENGTH(@P1) AND n.username > @P5))
                            ORDER BY n.username
                        ) AS a
                        UNION
                        SELECT b.name, b.username, b.id FROM (
                            SELECT TOP (@P6) n.display_folded AS name, n.username, n.id
                            FROM {schema}.messenger_users AS n
                                WITH (INDEX (messenger_users_by_display_name), FORCESEEK)
                            WHERE n.display_folded = @P3 AND n.username > @P5 AND n.display_folded IS NOT NULL
                            ORDER BY n.username
                        ) AS b
                        UNION
                        SELECT c.name, c.username, c.id FROM (
                            SELECT TOP (@P6) n.display_folded AS name, n.username, n.id
                            FROM {schema}.messenger_users AS n
                                WITH (INDEX (messenger_users_by_display_name), FORCESEEK)
                            WHERE n.display_folded > @P3 AND n.display_folded < @P4 AND n.display_folded IS NOT NULL
                            ORDER BY n.display_folded, n.username
                        ) AS c
                    ) AS g
                    ORDER BY g.name, g.username
                ) AS f
                LEFT LOOP JOIN {schema}.messenger_users AS u
                    ON u.id = f.id AND u.username = f.username AND u.erased_at IS NULL
                ORDER BY f.name, f.username"
            )
            .into(),
            update: procedure(schema, "update_account"),
            change_password: procedure(schema, "change_password"),
            erase: procedure(schema, "erase_account"),
            see: procedure(schema, "set_last_seen"),
            upgrade_password: format!(
                "UPDATE {schema}.messenger_users SET password_hash = @P3 OUTPUT inserted.id
                WHERE id = {} AND password_hash = @P2 COLLATE Latin1_General_100_BIN2",
                id(1)
            )
            .into(),
            mail_accepted: format!(
                "UPDATE {schema}.messenger_users SET mail_refusals = NULL
                WHERE id = {} AND email_key = @P2 AND DATALENGTH(email_key) = DATALENGTH(@P2)
                    AND mail_refusals IS NOT NULL",
                id(1)
            )
            .into(),
            mail_refused: format!(
                "UPDATE {schema}.messenger_users SET mail_refusals = COALESCE(mail_refusals, 0) + 1,
                    mail_suppressed_at = COALESCE(mail_suppressed_at,
                        CASE WHEN COALESCE(mail_refusals, 0) + 1 >= @P4 THEN @P3 ELSE NULL END)
                WHERE id = {} AND email_key = @P2 AND DATALENGTH(email_key) = DATALENGTH(@P2)",
                id(1)
            )
            .into(),
            confirm: format!(
                "UPDATE {schema}.messenger_users SET
                    email_confirmed_at = CASE WHEN email_confirmed_key = email_key
                            AND DATALENGTH(email_confirmed_key) = DATALENGTH(email_key)
                        THEN email_confirmed_at ELSE @P3 END,
                    email_confirmed_key = email_key
                OUTPUT inserted.id
                WHERE id = {} AND email_key = @P2 AND DATALENGTH(email_key) = DATALENGTH(@P2)",
                id(1)
            )
            .into(),
        }
    }
}
