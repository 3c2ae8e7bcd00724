use async_trait::async_trait;
use messenger_core::{
    DisplayName, SessionId, Timestamp, UserId, Username,
    ports::{
        FoundUser, LoginKey, NamePlace, NewSession, NewUser, StoreErrorKind, StoreResult, Unique, UpdateUser,
        UserRecord, UserStore,
    },
};
use messenger_sql::{
    columns::{USER, rows},
    prefix::Names,
};
use sqlx::SqlStr;

use super::{
    PostgresStore,
    connections::{Session, Way},
    sql::{Bind as _, Schema, statement, uuids},
};

/// The statements of this file.
#[derive(Debug)]
pub(super) struct Sql {
    create: SqlStr,
    taken: SqlStr,
    by_id: SqlStr,
    by_ids: SqlStr,
    by_username: SqlStr,
    by_email: SqlStr,
    find: SqlStr,
    update: SqlStr,
    change_password: SqlStr,
    erase: SqlStr,
    see: SqlStr,
    lock_live: SqlStr,
    count_memberships: SqlStr,
}

/// The username of an account that can be found, as it is indexed.
const LIVE: &str = "(CASE WHEN f.display_folded IS NOT NULL THEN f.username END)";

impl Sql {
    pub(super) fn new(schema: &Schema) -> Self {
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
            // `$1` to `$2` is the range of the names; of those who have the name `$1`, the usernames after `$3`. Each index
            // gives the first `$4` in order. A subquery with a limit is asked for one account at a time, whatever the
            // planner thinks of how many there are.
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
                    notify_email = coalesce($7, u.notify_email), version = u.version + 1
                WHERE u.id = $1 AND u.version = $2 AND u.erased_at IS NULL RETURNING {USER}"
            )),
            change_password: statement(format!(
                "UPDATE {schema}.messenger_users SET password_hash = $3, version = version + 1
                WHERE id = $1 AND version = $2 AND erased_at IS NULL"
            )),
            erase: statement(format!(
                "UPDATE {schema}.messenger_users SET
                    username = $3, display_name = $4, display_folded = NULL, email = NULL, email_key = NULL,
                    password_hash = NULL, notify_email = false, last_seen_at = NULL, erased_at = $5,
                    version = version + 1
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
            lock_live: statement(format!(
                "SELECT id FROM {schema}.messenger_users
                WHERE id = ANY ($1) AND erased_at IS NULL ORDER BY id FOR NO KEY UPDATE"
            )),
            count_memberships: statement(format!(
                "UPDATE {schema}.messenger_users SET memberships = memberships + 1 WHERE id = ANY ($1)"
            )),
        }
    }
}

/// After every name: no name has so many characters.
fn after_all_names() -> String {
    char::MAX.to_string().repeat(1024)
}

#[async_trait]
impl UserStore for PostgresStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        let taken = self
            .query(&self.sql().users.taken)
            .bind(user.username.as_str().to_owned())
            .bytes(&user.email.key)
            .id(user.id);
        let create = self
            .query(&self.sql().users.create)
            .id(user.id)
            .bind(user.username.as_str().to_owned())
            .bind(user.display_name.as_str().to_owned())
            .bind(user.display_name.folded())
            .bytes(&user.email.content.0)
            .bytes(&user.email.key)
            .bind(user.password_hash)
            .time(user.created_at)
            .bytes(&session.token_hash.0)
            .id(session.id)
            .id(session.user_id)
            .bind(session.device.map(|device| device.as_str().to_owned()))
            .time(session.created_at)
            .time(session.expires_at);
        let created = self
            .run(Way::Statement, |session| Box::pin(async move { session.execute(create).await.map(drop) }));
        match created.await {
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => {
                // Says what is taken in the order that the port promises, which is not that of the indexes.
                let taken = self.one(taken, |columns| {
                    Ok([
                        (columns.flag()?, Unique::Username),
                        (columns.flag()?, Unique::Email),
                        (columns.flag()?, Unique::Id),
                    ])
                });
                let taken = taken.await?.into_iter().flatten().find(|(taken, _)| *taken);
                Err(taken.map_or(error, |(_, what)| StoreErrorKind::AlreadyExists(what).into()))
            }
            created => created,
        }
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        let query = self.query(&self.sql().users.by_id).id(user);
        self.one(query, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        let query = self.query(&self.sql().users.by_ids).ids(users);
        self.all(query, |columns| columns.user()).await
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        let sql = &self.sql().users;
        let query = match login {
            LoginKey::Username(name) => self.query(&sql.by_username).bind(name.as_str().to_owned()),
            LoginKey::Email(key) => self.query(&sql.by_email).bytes(key),
        };
        self.one(query, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        // PostgreSQL takes no text with this character, so no name begins with it.
        if prefix.contains('\0') {
            return Ok(vec![]);
        }
        let names = Names::with(prefix, after);
        let query = self
            .query(&self.sql().users.find)
            .bind(names.low)
            .bind(names.end.unwrap_or_else(after_all_names))
            .bind(names.after)
            .bind(rows(limit));
        self.all_planned(query, |columns| columns.found_user()).await
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        let email = update.email.as_ref();
        let change = self
            .query(&self.sql().users.update)
            .id(update.id)
            .number(update.expected)
            .bind(update.display_name.as_ref().map(|name| name.as_str().to_owned()))
            .bind(update.display_name.as_ref().map(DisplayName::folded))
            .bind(email.map(|email| email.content.0.clone()))
            .bind(email.map(|email| email.key.clone()))
            .bind(update.notify_email);
        self.run(Way::Statement, move |session| {
            Box::pin(async move {
                match session.one(change, |columns| columns.user()).await? {
                    Some(user) => Ok(user),
                    None => Err(why_not(session, update.id).await?.into()),
                }
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
        let change = self.query(&self.sql().users.change_password).id(user).number(expected);
        let change = change.bind(hash.to_owned());
        let end = self.query(&self.sql().sessions.end_all).id(user).optional_id(keep);
        self.run(Way::Transaction, move |session| {
            Box::pin(async move {
                if session.execute(change).await? == 0 {
                    return Err(why_not(session, user).await?.into());
                }
                session.all(end, |columns| columns.id()).await
            })
        })
        .await
    }

    async fn erase_user(
        &self,
        user: UserId,
        expected: u64,
        username: &Username,
        display_name: &DisplayName,
        at: Timestamp,
    ) -> StoreResult<Vec<SessionId>> {
        let erase = self
            .query(&self.sql().users.erase)
            .id(user)
            .number(expected)
            .bind(username.as_str().to_owned())
            .bind(display_name.as_str().to_owned())
            .time(at);
        let end = self.query(&self.sql().sessions.end_all).id(user).optional_id(None::<SessionId>);
        self.run(Way::Transaction, move |session| {
            Box::pin(async move {
                if session.execute(erase).await? == 0 {
                    return Err(why_not(session, user).await?.into());
                }
                session.all(end, |columns| columns.id()).await
            })
        })
        .await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let query = self
            .query(&self.sql().users.see)
            .bind(uuids(seen.iter().map(|(user, _)| user)))
            .bind(seen.iter().map(|(_, at)| at.as_micros()).collect::<Vec<_>>());
        self.run(Way::Statement, |session| Box::pin(async move { session.execute(query).await.map(drop) }))
            .await
    }
}

/// Why a change of an account has found nothing to change: it is unknown or erased, or of another version.
async fn why_not(session: &mut Session, user: UserId) -> StoreResult<StoreErrorKind> {
    let query = session.query(&session.statements.users.by_id).id(user);
    let found = session.one(query, |columns| columns.user()).await?;
    let is_live = found.is_some_and(|user| user.erased_at.is_none());
    Ok(if is_live { StoreErrorKind::Conflict } else { StoreErrorKind::NotFound })
}

/// `NotFound` unless all of these different people exist and none is erased. Nobody else changes them, or erases them,
/// until the transaction ends.
pub(super) async fn lock_live(session: &mut Session, users: &[UserId]) -> StoreResult<()> {
    if users.is_empty() {
        return Ok(());
    }
    let query = session.query(&session.statements.users.lock_live).ids(users);
    let live = session.all(query, |columns| columns.id::<()>()).await?;
    if live.len() == users.len() { Ok(()) } else { Err(StoreErrorKind::NotFound.into()) }
}

/// Remembers that these people, who are locked, were added to a chat.
pub(super) async fn count_memberships(session: &mut Session, users: &[UserId]) -> StoreResult<()> {
    let query = session.query(&session.statements.users.count_memberships).ids(users);
    session.execute(query).await.map(drop)
}
