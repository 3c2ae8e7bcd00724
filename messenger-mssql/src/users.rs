use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, UserId,
    ports::{
        Content, EraseUser, FoundUser, LoginKey, MailOutcome, NamePlace, NewSession, NewUser, StoreErrorKind,
        StoreResult, UpdateUser, UserRecord, UserStore,
    },
};
use messenger_sql::{
    columns::{Columns, Row as _, corrupt, integer, rows},
    prefix::Names,
    unread::stored_preferences,
};

use crate::{
    call::Call,
    enqueue::with_jobs,
    row::SqlRow,
    sql::{distinct, fits, numbered},
    store::MssqlStore,
};

/// How many bytes of a display name's key are indexed.
const FOLDED: usize = 850;

/// The key of a display name, as far as it is indexed.
pub(crate) fn folded(mut key: String) -> Vec<u8> {
    key.truncate(key.floor_char_boundary(FOLDED));
    key.into_bytes()
}

/// Reads the name as bytes, whichever of the two names it is. `None` if its account was erased in the meantime.
fn found_user(columns: &mut Columns<'_, SqlRow>) -> StoreResult<Option<FoundUser>> {
    let (row, column) = columns.next_column();
    let name = row.bytes(column)?.ok_or(StoreErrorKind::Corrupt)?;
    let name = String::from_utf8(name.to_vec()).map_err(corrupt)?;
    Ok(columns.optional_user()?.map(|user| FoundUser { name, user }))
}

/// How many times a list is read again if an account in it was erased in the meantime.
const LOOKS: usize = 3;

impl MssqlStore {
    fn find(&self, prefix: &str, after: Option<&NamePlace>, limit: usize) -> Call {
        let names = Names::with(prefix, after);
        Call::statement(Arc::clone(&self.sql().users.find))
            .text("@P1", names.low.as_str())
            // Sorts after every username, because those are ASCII only.
            .text("@P2", names.end.clone().unwrap_or_else(|| char::MAX.to_string()))
            .bytes("@P3", names.low)
            // Sorts after every name: no text contains this byte.
            .bytes("@P4", names.end.map_or_else(|| vec![0xFF], String::into_bytes))
            .text("@P5", names.after)
            .number("@P6", rows(limit))
    }
}

#[async_trait]
impl UserStore for MssqlStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        let call = Call::procedure(Arc::clone(&self.sql().users.create))
            .id("@id", user.id)
            .text("@username", user.username.as_str())
            .text("@display_name", user.display_name.content.to_text()?)
            .bytes("@display_folded", folded(user.display_name.key))
            .bytes("@email", user.email.content.0)
            .bytes("@email_key", user.email.key)
            .text("@password_hash", user.password_hash)
            .time("@created_at", user.created_at)
            .id("@session", session.id)
            .bytes("@token_hash", session.token_hash.0)
            .optional_text("@device", session.device.as_ref().map(Content::to_text).transpose()?)
            .time("@session_at", session.created_at)
            .time("@expires_at", session.expires_at);
        match self.done(call.clone()).await {
            // Taken by a concurrent call: the index that reported it need not be the one that the port reports first.
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
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        // No name begins with this character, and some engines accept no text with it.
        if prefix.contains('\0') {
            return Ok(vec![]);
        }
        // A list shorter than the limit would be taken for the last page.
        for _ in 0..LOOKS {
            let found = self.all(self.find(prefix, after, limit), found_user).await?;
            if let Some(all) = found.into_iter().collect() {
                return Ok(all);
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        let (name, name_key) = update.display_name.map(|name| (name.content, name.key)).unzip();
        let (content, key) = update.email.map(|email| (email.content.0, email.key)).unzip();
        let call = Call::procedure(Arc::clone(&self.sql().users.update))
            .id("@id", update.id)
            .number("@expected", integer(update.expected))
            .optional_text("@display_name", name.as_ref().map(Content::to_text).transpose()?)
            .optional_bytes("@display_folded", name_key.map(folded))
            .optional_bytes("@email", content)
            .optional_bytes("@email_key", key)
            .optional_flag("@notify_email", update.notify_email)
            .flag("@preferences", update.preferences.is_some());
        let (language, time_zone, quiet_from, quiet_to) = stored_preferences(update.preferences.as_ref());
        let call = call
            .optional_text("@language", language)
            .optional_text("@time_zone", time_zone)
            .optional_number("@quiet_from", quiet_from.map(i64::from))
            .optional_number("@quiet_to", quiet_to.map(i64::from));
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

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        let call = Call::statement(Arc::clone(&self.sql().users.upgrade_password));
        let call = call.id("@P1", user).text("@P2", former).text("@P3", hash);
        let upgraded = self.one(call, |columns| columns.id::<messenger_core::User>()).await?;
        Ok(upgraded.is_some())
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        let call = Call::procedure(Arc::clone(&self.sql().users.erase))
            .id("@id", erase.id)
            .number("@expected", integer(erase.expected))
            .text("@username", erase.username.as_str())
            .text("@display_name", erase.display_name.to_text()?)
            .time("@at", erase.at);
        let call = if erase.jobs.is_empty() { call } else { with_jobs(call, &erase.jobs) };
        let rows = self.all(call, |columns| Ok((columns.integer()?, columns.id()?))).await?;
        Ok(rows.into_iter().filter(|(place, _)| *place == 0).map(|(_, id)| id).collect())
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        let sql = &self.sql().users;
        let call = match outcome {
            MailOutcome::Accepted => {
                Call::statement(Arc::clone(&sql.mail_accepted)).id("@P1", user).bytes("@P2", key)
            }
            MailOutcome::Refused { at, most } => Call::statement(Arc::clone(&sql.mail_refused))
                .id("@P1", user)
                .bytes("@P2", key)
                .time("@P3", at)
                .number("@P4", i64::from(most)),
        };
        self.done(call).await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        let call = Call::statement(Arc::clone(&self.sql().users.confirm));
        let call = call.id("@P1", user).bytes("@P2", key).time("@P3", at);
        let confirmed = self.one(call, |columns| columns.id::<messenger_core::User>()).await?;
        Ok(confirmed.is_some())
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let mut seen = seen.to_vec();
        // The latest time for each person.
        seen.sort_unstable_by_key(|(user, at)| (*user, std::cmp::Reverse(*at)));
        seen.dedup_by_key(|(user, _)| *user);
        fits(seen.len())?;
        let seen = numbered(seen.into_iter().map(|(user, at)| (user, at.as_micros())));
        self.done(Call::procedure(Arc::clone(&self.sql().users.see)).bytes("@seen", seen)).await
    }
}
