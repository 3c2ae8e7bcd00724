use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{SessionId, Timestamp, UserId, Username},
    ports::{
        Content, EraseUser, FoundUser, LoginKey, MailOutcome, MailState, NamePlace, NewSession, NewUser,
        Preferences, StoreErrorKind, StoreResult, StoredAddress, StoredName, Unique, UpdateUser, UserRecord,
        UserStore,
    },
};

#[async_trait]
impl UserStore for MemoryStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        let mut state = self.lock()?;
        state.users.check_free(&user)?;
        state.sessions.check_free(&session)?;
        state.users.insert(user);
        state.sessions.insert(session);
        Ok(())
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        self.lock()?.users.by_id.get(&user).cloned().ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        let state = self.lock()?;
        Ok(distinct(users).filter_map(|id| state.users.by_id.get(&id)).cloned().collect())
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        let state = self.lock()?;
        let id = match login {
            LoginKey::Username(username) => state.users.by_name.get(username),
            LoginKey::Email(key) => state.users.by_address.get(key),
        };
        id.and_then(|id| state.users.live(*id)).cloned().ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        let state = self.lock()?;
        let first = NamePlace { name: prefix.to_owned(), username: Username::trusted("") };
        let after = after.filter(|after| **after > first).unwrap_or(&first);
        let names = state.users.names.range((Bound::Excluded(after), Bound::Unbounded));
        let found =
            names.take_while(|(place, _)| place.name.starts_with(prefix)).filter_map(|(place, id)| {
                let user = state.users.live(*id)?.clone();
                Some(FoundUser { name: place.name.clone(), user })
            });
        Ok(found.take(limit).collect())
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        let mut state = self.lock()?;
        state.users.expect(update.id, update.expected)?;
        if let Some(email) = &update.email {
            state.users.move_address(update.id, email)?;
        }
        if let Some(name) = update.display_name {
            state.users.rename(update.id, name)?;
        }
        let user = state.users.live_mut(update.id)?;
        if let Some(notify) = update.notify_email {
            user.notify_email = notify;
        }
        if let Some(preferences) = update.preferences {
            user.preferences = preferences;
        }
        if update.email.is_some() {
            user.mail = MailState { told: user.mail.told, ..MailState::default() };
        }
        user.version += 1;
        Ok(user.clone())
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        let mut state = self.lock()?;
        let record = state.users.expect(user, expected)?;
        record.password_hash = Some(hash.to_owned());
        record.version += 1;
        Ok(state.sessions.end_all(user, keep))
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let user = state.users.live_mut(user).ok();
        let user = user.filter(|user| user.password_hash.as_deref() == Some(former));
        Ok(user.map(|user| user.password_hash = Some(hash.to_owned())).is_some())
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        let mut state = self.lock()?;
        state.users.expect(erase.id, erase.expected)?;
        state.retained.expect_free(erase.id)?;
        state.users.erase(erase)?;
        for job in &erase.jobs {
            state.jobs.enqueue(job);
        }
        Ok(state.sessions.end_all(erase.id, None))
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        let mut state = self.lock()?;
        let Ok(user) = state.users.live_mut(user) else { return Ok(()) };
        if user.email.as_ref().is_none_or(|email| email.key != key) {
            return Ok(());
        }
        match outcome {
            MailOutcome::Accepted => user.mail.refusals = 0,
            MailOutcome::Refused { at, most } => {
                user.mail.refusals += 1;
                if user.mail.refusals >= most {
                    user.mail.suppressed_at = user.mail.suppressed_at.or(Some(at));
                }
            }
        }
        Ok(())
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let user = state.users.live_mut(user).ok();
        let is_it = |user: &&mut UserRecord| user.email.as_ref().is_some_and(|email| email.key == key);
        let confirmed = user.filter(is_it).map(|user| user.email_confirmed_at.get_or_insert(at));
        Ok(confirmed.is_some())
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        let mut state = self.lock()?;
        for (user, at) in seen {
            if let Ok(user) = state.users.live_mut(*user) {
                user.last_seen_at = user.last_seen_at.max(Some(*at));
            }
        }
        Ok(())
    }
}

/// The accounts and their indexes. Erased accounts stay in `by_id` and `by_name`.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) by_id: HashMap<UserId, UserRecord>,
    by_name: BTreeMap<Username, UserId>,
    pub(super) by_address: HashMap<Vec<u8>, UserId>,
    /// The names that live accounts are found by.
    names: BTreeMap<NamePlace, UserId>,
    /// The lookup keys of their display names.
    keys: HashMap<UserId, String>,
}

impl Users {
    /// Returns the account, even an erased one.
    pub(super) fn get(&self, user: UserId) -> Option<&UserRecord> {
        self.by_id.get(&user)
    }

    /// `NotFound` unless all of them exist and none is erased.
    pub(super) fn check_live(&self, users: &[UserId]) -> StoreResult<()> {
        let all = users.iter().all(|user| self.live(*user).is_some());
        if all { Ok(()) } else { Err(StoreErrorKind::NotFound.into()) }
    }

    pub(super) fn count_membership(&mut self, user: UserId) {
        if let Some(user) = self.by_id.get_mut(&user) {
            user.memberships += 1;
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &UserRecord> {
        self.by_id.values()
    }

    pub(super) fn live(&self, user: UserId) -> Option<&UserRecord> {
        self.by_id.get(&user).filter(|user| user.erased_at.is_none())
    }

    pub(super) fn live_mut(&mut self, user: UserId) -> StoreResult<&mut UserRecord> {
        let user = self.by_id.get_mut(&user).filter(|user| user.erased_at.is_none());
        user.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    pub(super) fn expect(&mut self, user: UserId, version: u64) -> StoreResult<&mut UserRecord> {
        let user = self.live_mut(user)?;
        if user.version == version { Ok(user) } else { Err(StoreErrorKind::Conflict.into()) }
    }

    fn check_free(&self, user: &NewUser) -> StoreResult<()> {
        let taken = if self.by_name.contains_key(&user.username) {
            Unique::Username
        } else if self.by_address.contains_key(&user.email.key) {
            Unique::Email
        } else if self.by_id.contains_key(&user.id) {
            Unique::Id
        } else {
            return Ok(());
        };
        Err(StoreErrorKind::AlreadyExists(taken).into())
    }

    fn insert(&mut self, user: NewUser) {
        self.by_name.insert(user.username.clone(), user.id);
        self.by_address.insert(user.email.key.clone(), user.id);
        let record = UserRecord {
            id: user.id,
            username: user.username,
            display_name: user.display_name.content,
            email: Some(user.email),
            email_confirmed_at: None,
            password_hash: Some(user.password_hash),
            notify_email: true,
            preferences: Preferences::default(),
            mail: MailState::default(),
            created_at: user.created_at,
            last_seen_at: None,
            erased_at: None,
            version: 1,
            memberships: 0,
        };
        self.list(record.id, &record.username, user.display_name.key);
        self.by_id.insert(record.id, record);
    }

    fn rename(&mut self, user: UserId, name: StoredName) -> StoreResult<()> {
        let record = self.live_mut(user)?;
        record.display_name = name.content;
        let username = record.username.clone();
        self.unlist(user, &username);
        self.list(user, &username, name.key);
        Ok(())
    }

    /// Makes the account searchable by its names.
    fn list(&mut self, user: UserId, username: &Username, key: String) {
        self.names.extend(places(username, &key).map(|place| (place, user)));
        self.keys.insert(user, key);
    }

    fn unlist(&mut self, user: UserId, username: &Username) {
        let key = self.keys.remove(&user).unwrap_or_default();
        for place in places(username, &key) {
            self.names.remove(&place);
        }
    }

    fn move_address(&mut self, user: UserId, to: &StoredAddress) -> StoreResult<()> {
        if self.by_address.get(&to.key).is_some_and(|owner| *owner != user) {
            return Err(StoreErrorKind::AlreadyExists(Unique::Email).into());
        }
        let record = self.live_mut(user)?;
        let former = record.email.replace(to.clone());
        if former.as_ref().is_none_or(|former| former.key != to.key) {
            record.email_confirmed_at = None;
        }
        if let Some(former) = former {
            self.by_address.remove(&former.key);
        }
        self.by_address.insert(to.key.clone(), user);
        Ok(())
    }

    /// Puts another form of the same address in place of the expected one, and tells whether that was there.
    pub(super) fn replace_address(&mut self, user: UserId, expected: &Content, to: StoredAddress) -> bool {
        let stored = self.by_id.get_mut(&user).and_then(|user| user.email.as_mut());
        let Some(stored) = stored.filter(|stored| stored.content == *expected) else { return false };
        self.by_address.remove(&stored.key);
        self.by_address.insert(to.key.clone(), user);
        *stored = to;
        true
    }

    /// Puts another form of the same name in place of the expected one, and tells whether that was there.
    pub(super) fn replace_name(&mut self, user: UserId, expected: &Content, to: StoredName) -> bool {
        let is_it = self.live(user).is_some_and(|user| user.display_name == *expected);
        is_it && self.rename(user, to).is_ok()
    }

    fn erase(&mut self, erase: &EraseUser) -> StoreResult<()> {
        let EraseUser { id: user, username, .. } = erase;
        if self.by_name.get(username).is_some_and(|owner| owner != user) {
            return Err(StoreErrorKind::AlreadyExists(Unique::Username).into());
        }
        let record = self.live_mut(*user)?;
        let erased = UserRecord {
            username: username.clone(),
            display_name: erase.display_name.clone(),
            email: None,
            email_confirmed_at: None,
            password_hash: None,
            notify_email: false,
            preferences: Preferences::default(),
            mail: MailState::default(),
            last_seen_at: None,
            erased_at: Some(erase.at),
            version: record.version + 1,
            ..*record
        };
        let former = std::mem::replace(record, erased);
        self.unlist(*user, &former.username);
        self.by_name.remove(&former.username);
        self.by_name.insert(username.clone(), *user);
        if let Some(email) = former.email {
            self.by_address.remove(&email.key);
        }
        Ok(())
    }
}

/// An empty key makes no entry.
fn places<'n>(username: &'n Username, key: &'n str) -> impl Iterator<Item = NamePlace> + use<'n> {
    let names = [username.as_str(), key].into_iter().filter(|name| !name.is_empty());
    names.map(|name| NamePlace { name: name.to_owned(), username: username.clone() })
}

/// Yields each of the ids once.
pub(super) fn distinct<T: Copy + Ord>(ids: &[T]) -> impl Iterator<Item = T> + use<T> {
    ids.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter()
}
