use async_trait::async_trait;
use messenger_core::{
    SessionId, Timestamp, UserId,
    ports::{
        Content, EraseUser, FoundUser, LoginKey, MailOutcome, NamePlace, NewSession, NewUser, StoreErrorKind,
        StoreResult, Unique, UpdateUser, UserRecord, UserStore,
    },
};
use messenger_sql::{columns::rows, prefix::Names, unread::stored_preferences};

use super::{
    connections::{Mode, Session},
    enqueue::enqueue,
    holds,
    sql::{Bind as _, uuids},
    store::PostgresStore,
};

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
            .bind(user.display_name.content.into_text()?)
            .bind(user.display_name.key)
            .bytes(&user.email.content.0)
            .bytes(&user.email.key)
            .bind(user.password_hash)
            .time(user.created_at)
            .bytes(&session.token_hash.0)
            .id(session.id)
            .id(session.user_id)
            .bind(session.device.map(Content::into_text).transpose()?)
            .time(session.created_at)
            .time(session.expires_at);
        let created = self
            .run(Mode::Statement, |session| Box::pin(async move { session.execute(create).await.map(drop) }));
        match created.await {
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => {
                // Checks what is taken in the order that the port promises, which differs from that of the indexes.
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
        // PostgreSQL does not accept texts with this character, so no name begins with it.
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
        let (name, key) = update.display_name.map(|name| (name.content.into_text(), name.key)).unzip();
        let name = name.transpose()?;
        let email = update.email.as_ref();
        let change = self
            .query(&self.sql().users.update)
            .id(update.id)
            .number(update.expected)
            .bind(name)
            .bind(key)
            .bind(email.map(|email| email.content.0.clone()))
            .bind(email.map(|email| email.key.clone()))
            .bind(update.notify_email);
        let (language, time_zone, quiet_from, quiet_to) = stored_preferences(update.preferences.as_ref());
        let change = change
            .bind(update.preferences.is_some())
            .bind(language.map(str::to_owned))
            .bind(time_zone.map(str::to_owned))
            .bind(quiet_from)
            .bind(quiet_to);
        self.run(Mode::Statement, move |session| {
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
        self.run(Mode::Transaction, move |session| {
            Box::pin(async move {
                if session.execute(change).await? == 0 {
                    return Err(why_not(session, user).await?.into());
                }
                session.all(end, |columns| columns.id()).await
            })
        })
        .await
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        let query = self.query(&self.sql().users.upgrade_password).id(user).bind(former).bind(hash);
        self.run(Mode::Statement, |session| {
            Box::pin(async move { session.execute(query).await.map(|rows| rows == 1) })
        })
        .await
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        let (user, jobs) = (erase.id, erase.jobs.clone());
        let mark = self
            .query(&self.sql().users.erase)
            .id(user)
            .number(erase.expected)
            .bind(erase.username.as_str().to_owned())
            .bind(erase.display_name.to_text()?.to_owned())
            .time(erase.at);
        let end = self.query(&self.sql().sessions.end_all).id(user).optional_id(None::<SessionId>);
        self.run(Mode::Transaction, move |session| {
            Box::pin(async move {
                // Before the account is locked: whoever sets a hold does not wait for it while others wait for them.
                let is_held = holds::is_held(session, user).await?;
                if session.execute(mark).await? == 0 {
                    return Err(why_not(session, user).await?.into());
                }
                if is_held {
                    return Err(StoreErrorKind::Held.into());
                }
                enqueue(session, &jobs).await?;
                session.all(end, |columns| columns.id()).await
            })
        })
        .await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        let sql = &self.sql().users;
        let query = match outcome {
            MailOutcome::Accepted => self.query(&sql.mail_accepted).id(user).bytes(key),
            MailOutcome::Refused { at, most } => {
                self.query(&sql.mail_refused).id(user).bytes(key).time(at).bind(i64::from(most))
            }
        };
        self.run(Mode::Statement, |session| Box::pin(async move { session.execute(query).await.map(drop) }))
            .await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        let query = self.query(&self.sql().users.confirm).id(user).bytes(key).time(at);
        self.run(Mode::Statement, |session| {
            Box::pin(async move { session.execute(query).await.map(|rows| rows == 1) })
        })
        .await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let query = self
            .query(&self.sql().users.see)
            .bind(uuids(seen.iter().map(|(user, _)| user)))
            .bind(seen.iter().map(|(_, at)| at.as_micros()).collect::<Vec<_>>());
        self.run(Mode::Statement, |session| Box::pin(async move { session.execute(query).await.map(drop) }))
            .await
    }
}

/// Finds out why there was no account to change: it is unknown or erased, or has another version.
async fn why_not(session: &mut Session, user: UserId) -> StoreResult<StoreErrorKind> {
    let query = session.query(&session.statements.users.by_id).id(user);
    let found = session.one(query, |columns| columns.user()).await?;
    let is_live = found.is_some_and(|user| user.erased_at.is_none());
    Ok(if is_live { StoreErrorKind::Conflict } else { StoreErrorKind::NotFound })
}

/// `NotFound` unless all of these different people exist and none is erased. Locks the accounts, so that nobody else
/// changes or erases them until the transaction ends.
pub(super) async fn lock_live(session: &mut Session, users: &[UserId]) -> StoreResult<()> {
    if users.is_empty() {
        return Ok(());
    }
    let query = session.query(&session.statements.users.lock_live).ids(users);
    let live = session.all(query, |columns| columns.id::<()>()).await?;
    if live.len() == users.len() { Ok(()) } else { Err(StoreErrorKind::NotFound.into()) }
}

/// `NotFound` for an account that is unknown or erased, `Conflict` for another version. Locks the account, so that nobody
/// else changes or erases it until the transaction ends.
pub(super) async fn lock_version(session: &mut Session, user: UserId, version: u64) -> StoreResult<()> {
    let query = session.query(&session.statements.users.lock_version).id(user);
    match session.one(query, |columns| columns.number()).await? {
        None => Err(StoreErrorKind::NotFound.into()),
        Some(found) if found == version => Ok(()),
        Some(_) => Err(StoreErrorKind::Conflict.into()),
    }
}

/// Counts that these people, whose accounts are locked, were added to a chat.
pub(super) async fn count_memberships(session: &mut Session, users: &[UserId]) -> StoreResult<()> {
    let query = session.query(&session.statements.users.count_memberships).ids(users);
    session.execute(query).await.map(drop)
}

/// A text that sorts after every name: no name has so many characters.
fn after_all_names() -> String {
    char::MAX.to_string().repeat(1024)
}
