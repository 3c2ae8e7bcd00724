use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, UserId,
    ports::{
        EraseUser, FoundUser, LoginKey, MailOutcome, NamePlace, NewSession, NewUser, StoreErrorKind,
        StoreResult, Unique, UpdateUser, UserRecord, UserStore,
    },
};
use messenger_sql::{
    columns::{USER, rows},
    prefix::Names,
    unread::stored_preferences,
};
use sqlx::SqliteConnection;

use super::{
    accounts,
    enqueue::enqueue_jobs_in,
    retention, sessions,
    sql::{self, Bind as _, json_ids, json_pairs},
    store::SqliteStore,
};

pub(super) static BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {USER} FROM messenger_users AS u WHERE u.id = $1"));

pub(super) static BY_IDS: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {USER} FROM messenger_users AS u WHERE u.id IN (SELECT unhex(value) FROM json_each($1))")
});

pub(super) static BY_USERNAME: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {USER} FROM messenger_users AS u WHERE u.username = $1 AND u.erased_at IS NULL")
});

pub(super) static BY_EMAIL: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {USER} FROM messenger_users AS u WHERE u.email_key = $1 AND u.erased_at IS NULL")
});

/// `$1` to `$2` is the range of the names; of those with the name `$1`, the usernames after `$3`. Each index returns
/// the first `$4` in order.
///
/// The indexes are named, and a plus hides terms that must not be used for a search: otherwise SQLite's statistics,
/// which may be those of a small table that has grown since, decide whether all accounts are read.
pub(super) static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH found (name, username, id) AS MATERIALIZED (
            SELECT * FROM (
                SELECT username, username, id
                FROM messenger_users INDEXED BY messenger_users_by_live_username
                WHERE display_folded IS NOT NULL AND username >= $1 AND username < $2
                    AND (+username > $1 OR +username > $3)
                ORDER BY username LIMIT $4
            )
            UNION
            SELECT * FROM (
                SELECT display_folded, username, id
                FROM messenger_users INDEXED BY messenger_users_by_display_name
                WHERE display_folded IS NOT NULL AND (display_folded, username) > ($1, $3) AND display_folded < $2
                ORDER BY display_folded, username LIMIT $4
            )
            ORDER BY 1, 2 LIMIT $4
        )
        SELECT a.name, {USER} FROM found AS a CROSS JOIN messenger_users AS u ON u.id = a.id
        ORDER BY a.name, a.username"
    )
});

pub(super) const SEEN: &str = "UPDATE messenger_users AS u
    SET last_seen_at = max(coalesce(u.last_seen_at, 0), seen.at)
    FROM (
        SELECT unhex(value ->> 0) AS id, max(value ->> 1) AS at FROM json_each($1) GROUP BY 1
    ) AS seen
    WHERE u.id = +seen.id AND u.erased_at IS NULL";

const MAIL_ACCEPTED: &str = "UPDATE messenger_users SET mail_refusals = NULL
    WHERE id = $1 AND email_key = $2 AND mail_refusals IS NOT NULL";

const MAIL_REFUSED: &str = "UPDATE messenger_users SET mail_refusals = coalesce(mail_refusals, 0) + 1,
        mail_suppressed_at = coalesce(mail_suppressed_at, CASE WHEN coalesce(mail_refusals, 0) + 1 >= $4 THEN $3 END)
    WHERE id = $1 AND email_key = $2";

const CONFIRM: &str = "UPDATE messenger_users SET
        email_confirmed_at = CASE WHEN email_confirmed_key = email_key THEN email_confirmed_at ELSE $3 END,
        email_confirmed_key = email_key
    WHERE id = $1 AND email_key = $2";

const ERASE: &str = "UPDATE messenger_users SET
        username = $2, display_name = $3, display_folded = NULL, email = NULL,
        email_key = NULL, password_hash = NULL, notify_email = 0, last_seen_at = NULL,
        erased_at = $4, version = version + 1, language = NULL, time_zone = NULL,
        quiet_from = NULL, quiet_to = NULL, mail_refusals = NULL, mail_suppressed_at = NULL,
        notified_at = NULL, notified_since = NULL, notified_times = NULL,
        email_confirmed_key = NULL, email_confirmed_at = NULL
    WHERE id = $1";

#[async_trait]
impl UserStore for SqliteStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    check_free(conn, &user).await?;
                    insert(conn, &user).await?;
                    sessions::insert(conn, &session).await
                })
            })
            .await
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        let found = self.one(sqlx::query(BY_ID.as_str()).id(user), |columns| columns.user()).await?;
        found.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        self.all(sqlx::query(BY_IDS.as_str()).bind(json_ids(users)), |columns| columns.user()).await
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        let query = match login {
            LoginKey::Username(name) => sqlx::query(BY_USERNAME.as_str()).bind(name.as_str()),
            LoginKey::Email(key) => sqlx::query(BY_EMAIL.as_str()).bind(key),
        };
        self.one(query, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        let names = Names::with(prefix, after);
        let query = sqlx::query(FIND.as_str()).bind(names.low);
        let query = match names.end {
            Some(end) => query.bind(end),
            // Every blob sorts after every text.
            None => query.bytes(&[]),
        };
        self.all(query.bind(names.after).bind(rows(limit)), |columns| columns.found_user()).await
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    accounts::expect(conn, update.id, update.expected).await?;
                    apply(conn, &update).await?;
                    let query = sqlx::query(BY_ID.as_str()).id(update.id);
                    let user = sql::one(conn, query, |columns| columns.user()).await?;
                    user.ok_or_else(|| StoreErrorKind::NotFound.into())
                })
            })
            .await
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        let hash = hash.to_owned();
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    accounts::expect(conn, user, expected).await?;
                    let change =
                        "UPDATE messenger_users SET password_hash = $2, version = version + 1 WHERE id = $1";
                    sql::run(conn, sqlx::query(change).id(user).bind(hash)).await?;
                    sessions::end_all(conn, user, keep).await
                })
            })
            .await
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        let upgrade = "UPDATE messenger_users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        let upgrade = sqlx::query(upgrade).id(user).bind(former.to_owned()).bind(hash.to_owned());
        self.writer
            .transaction(move |conn| {
                Box::pin(async move { sql::run(conn, upgrade).await.map(|rows| rows == 1) })
            })
            .await
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        let erase = erase.clone();
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    accounts::expect(conn, erase.id, erase.expected).await?;
                    retention::expect_free(conn, erase.id).await?;
                    let mark = sqlx::query(ERASE).id(erase.id).bind(erase.username.as_str().to_owned());
                    let mark = mark.bind(erase.display_name.to_text()?.to_owned()).time(erase.at);
                    sql::run(conn, mark).await?;
                    enqueue_jobs_in(conn, &erase.jobs).await?;
                    sessions::end_all(conn, erase.id, None).await
                })
            })
            .await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        let note = match outcome {
            MailOutcome::Accepted => sqlx::query(MAIL_ACCEPTED).id(user).bind(key.to_vec()),
            MailOutcome::Refused { at, most } => {
                sqlx::query(MAIL_REFUSED).id(user).bind(key.to_vec()).time(at).bind(i64::from(most))
            }
        };
        self.writer
            .transaction(move |conn| Box::pin(async move { sql::run(conn, note).await.map(drop) }))
            .await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        let confirm = sqlx::query(CONFIRM).id(user).bind(key.to_vec()).time(at);
        self.writer
            .transaction(move |conn| {
                Box::pin(async move { sql::run(conn, confirm).await.map(|rows| rows == 1) })
            })
            .await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let seen = json_pairs(seen.iter().map(|(user, at)| (user, at.as_micros())));
        self.writer
            .transaction(move |conn| {
                Box::pin(async move { sql::run(conn, sqlx::query(SEEN).bind(seen)).await.map(drop) })
            })
            .await
    }
}

/// Checks what is taken in the order that the port promises, which differs from that of SQLite's checks.
async fn check_free(conn: &mut SqliteConnection, user: &NewUser) -> StoreResult<()> {
    let query = "SELECT
        EXISTS (SELECT 1 FROM messenger_users WHERE username = $1),
        EXISTS (SELECT 1 FROM messenger_users WHERE email_key = $2),
        EXISTS (SELECT 1 FROM messenger_users WHERE id = $3)";
    let query = sqlx::query(query).bind(user.username.as_str()).bytes(&user.email.key).id(user.id);
    let taken = sql::one(conn, query, |columns| {
        Ok([
            (columns.integer()?, Unique::Username),
            (columns.integer()?, Unique::Email),
            (columns.integer()?, Unique::Id),
        ])
    });
    let taken = taken.await?.into_iter().flatten().find(|(taken, _)| *taken != 0);
    taken.map_or(Ok(()), |(_, what)| Err(StoreErrorKind::AlreadyExists(what).into()))
}

async fn insert(conn: &mut SqliteConnection, user: &NewUser) -> StoreResult<()> {
    let insert = "INSERT INTO messenger_users (id, username, display_name, display_folded, email, email_key,
            password_hash, notify_email, created_at, version, memberships)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, 1, 0)";
    let insert = sqlx::query(insert)
        .id(user.id)
        .bind(user.username.as_str())
        .bind(user.display_name.content.to_text()?)
        .bind(user.display_name.key.as_str())
        .bytes(&user.email.content.0)
        .bytes(&user.email.key)
        .bind(user.password_hash.as_str())
        .time(user.created_at);
    sql::run(conn, insert).await.map(drop)
}

async fn apply(conn: &mut SqliteConnection, update: &UpdateUser) -> StoreResult<()> {
    let apply = "UPDATE messenger_users SET
            display_name = coalesce($2, display_name), display_folded = coalesce($3, display_folded),
            email = coalesce($4, email), email_key = coalesce($5, email_key),
            notify_email = coalesce($6, notify_email), version = version + 1,
            mail_refusals = CASE WHEN $5 IS NULL THEN mail_refusals END,
            mail_suppressed_at = CASE WHEN $5 IS NULL THEN mail_suppressed_at END,
            email_confirmed_key = CASE WHEN coalesce($5, email_key) = email_key THEN email_confirmed_key END,
            email_confirmed_at = CASE WHEN coalesce($5, email_key) = email_key THEN email_confirmed_at END,
            language = CASE WHEN $7 THEN $8 ELSE language END, time_zone = CASE WHEN $7 THEN $9 ELSE time_zone END,
            quiet_from = CASE WHEN $7 THEN $10 ELSE quiet_from END, quiet_to = CASE WHEN $7 THEN $11 ELSE quiet_to END
        WHERE id = $1";
    let (name, email) = (update.display_name.as_ref(), update.email.as_ref());
    let apply = sqlx::query(apply)
        .id(update.id)
        .bind(name.map(|name| name.content.to_text()).transpose()?)
        .bind(name.map(|name| name.key.as_str()))
        .bind(email.map(|email| email.content.0.as_slice()))
        .bind(email.map(|email| email.key.as_slice()))
        .bind(update.notify_email);
    let (language, time_zone, quiet_from, quiet_to) = stored_preferences(update.preferences.as_ref());
    let apply = apply.bind(update.preferences.is_some()).bind(language).bind(time_zone);
    let apply = apply.bind(quiet_from).bind(quiet_to);
    sql::run(conn, apply).await.map(drop)
}
