use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    DisplayName, SessionId, Timestamp, UserId, Username,
    ports::{LoginKey, NewSession, NewUser, StoreErrorKind, StoreResult, UpdateUser, UserRecord, UserStore},
};
use messenger_sql::{
    columns::{USER, integer, rows},
    prefix,
};

use crate::{
    MssqlStore,
    call::Call,
    schema::Schema,
    sql::{distinct, fits, id, numbered, procedure},
};

/// The procedures and statements of this file.
#[derive(Debug)]
pub(crate) struct Sql {
    create: Arc<str>,
    by_id: Arc<str>,
    by_ids: Arc<str>,
    by_username: Arc<str>,
    by_email: Arc<str>,
    find: Arc<str>,
    update: Arc<str>,
    change_password: Arc<str>,
    erase: Arc<str>,
    see: Arc<str>,
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
            // What is compared is filled up first, texts with blanks and bytes with zeros; the length is as it was.
            by_username: of(
                "u.username = @P1 AND DATALENGTH(u.username) = DATALENGTH(@P1) AND u.erased_at IS NULL",
            ),
            by_email: of("u.email_key = @P1 AND DATALENGTH(u.email_key) = DATALENGTH(@P1)
                AND u.email_key IS NOT NULL AND u.erased_at IS NULL"),
            // `@P1` to `@P2` is the range of usernames, `@P3` to `@P4` that of display names; `@P5` is the username to
            // begin after.
            find: format!(
                "SELECT {USER} FROM {schema}.messenger_users AS u
                WHERE u.username IN (
                    SELECT TOP (@P6) f.username FROM (
                        SELECT n.username FROM (
                            SELECT TOP (@P6) a.username FROM {schema}.messenger_users AS a
                            WHERE a.username >= @P1 AND a.username < @P2 AND a.username > @P5
                                AND DATALENGTH(a.username) >= DATALENGTH(@P1) AND a.erased_at IS NULL
                            ORDER BY a.username
                        ) AS n
                        UNION
                        SELECT d.username FROM (
                            SELECT TOP (@P6) b.username FROM {schema}.messenger_users AS b
                            WHERE b.display_folded >= @P3 AND b.display_folded < @P4 AND b.username > @P5
                                AND b.display_folded IS NOT NULL
                            ORDER BY b.username
                        ) AS d
                    ) AS f
                    ORDER BY f.username
                )
                ORDER BY u.username"
            )
            .into(),
            update: procedure(schema, "update_user"),
            change_password: procedure(schema, "change_password"),
            erase: procedure(schema, "erase_user"),
            see: procedure(schema, "set_last_seen"),
        }
    }
}

/// So many bytes of a folded display name are kept to be searched.
const FOLDED: usize = 850;

fn folded(name: &DisplayName) -> Vec<u8> {
    let mut folded = name.folded().into_bytes();
    folded.truncate(FOLDED);
    folded
}

#[async_trait]
impl UserStore for MssqlStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        let call = Call::procedure(Arc::clone(&self.sql().users.create))
            .id("@id", user.id)
            .text("@username", user.username.as_str())
            .text("@display_name", user.display_name.as_str())
            .bytes("@display_folded", folded(&user.display_name))
            .bytes("@email", user.email.content.0)
            .bytes("@email_key", user.email.key)
            .text("@password_hash", user.password_hash)
            .time("@created_at", user.created_at)
            .id("@session", session.id)
            .bytes("@token_hash", session.token_hash.0)
            .optional_text("@device", session.device.as_ref().map(|device| device.as_str()))
            .time("@session_at", session.created_at)
            .time("@expires_at", session.expires_at);
        match self.done(call.clone()).await {
            // Taken in the very same moment: the index that found it need not be the one that the port names first.
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => self.done(call).await,
            created => created,
        }
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        let call = Call::statement(Arc::clone(&self.sql().users.by_id)).id("@P1", user);
        self.one(call, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        let call = Call::statement(Arc::clone(&self.sql().users.by_ids));
        self.listed(call, &distinct(users), |columns| columns.user()).await
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        let sql = &self.sql().users;
        let call = match login {
            LoginKey::Username(name) => {
                Call::statement(Arc::clone(&sql.by_username)).text("@P1", name.as_str())
            }
            LoginKey::Email(key) => Call::statement(Arc::clone(&sql.by_email)).bytes("@P1", key),
        };
        self.one(call, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&Username>,
        limit: usize,
    ) -> StoreResult<Vec<UserRecord>> {
        // No name begins with this character, and some engines take no text that has it.
        if prefix.contains('\0') {
            return Ok(vec![]);
        }
        let end = prefix::end_of(prefix);
        let call = Call::statement(Arc::clone(&self.sql().users.find))
            .text("@P1", prefix)
            // After every username, which have ASCII characters only.
            .text("@P2", end.clone().unwrap_or_else(|| char::MAX.to_string()))
            .bytes("@P3", prefix)
            // After every name: no text has this byte.
            .bytes("@P4", end.map_or_else(|| vec![0xFF], String::into_bytes))
            .text("@P5", after.map_or("", Username::as_str))
            .number("@P6", rows(limit));
        self.all(call, |columns| columns.user()).await
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        let (content, key) = update.email.map(|email| (email.content.0, email.key)).unzip();
        let call = Call::procedure(Arc::clone(&self.sql().users.update))
            .id("@id", update.id)
            .number("@expected", integer(update.expected))
            .optional_text("@display_name", update.display_name.as_ref().map(|name| name.as_str()))
            .optional_bytes("@display_folded", update.display_name.as_ref().map(folded))
            .optional_bytes("@email", content)
            .optional_bytes("@email_key", key)
            .optional_flag("@notify_email", update.notify_email);
        self.one(call, |columns| columns.user()).await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        let call = Call::procedure(Arc::clone(&self.sql().users.change_password))
            .id("@id", user)
            .number("@expected", integer(expected))
            .text("@password_hash", hash)
            .optional_id("@keep", keep);
        self.all(call, |columns| columns.id()).await
    }

    async fn erase_user(
        &self,
        user: UserId,
        expected: u64,
        username: &Username,
        display_name: &DisplayName,
        at: Timestamp,
    ) -> StoreResult<Vec<SessionId>> {
        let call = Call::procedure(Arc::clone(&self.sql().users.erase))
            .id("@id", user)
            .number("@expected", integer(expected))
            .text("@username", username.as_str())
            .text("@display_name", display_name.as_str())
            .time("@at", at);
        self.all(call, |columns| columns.id()).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let mut seen = seen.to_vec();
        // Of each person the latest moment.
        seen.sort_unstable_by_key(|(user, at)| (*user, std::cmp::Reverse(*at)));
        seen.dedup_by_key(|(user, _)| *user);
        fits(seen.len())?;
        let seen = numbered(seen.into_iter().map(|(user, at)| (user, at.as_micros())));
        self.done(Call::procedure(Arc::clone(&self.sql().users.see)).bytes("@seen", seen)).await
    }
}
