use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{SessionId, Timestamp, UserId},
    encryption::place::Place,
    ports::{
        EraseUser, FoundUser, LoginKey, MailOutcome, NamePlace, NewSession, NewUser, StoreErrorKind,
        StoreResult, StoredAddress, StoredName, Unique, UpdateUser, UserRecord, UserStore,
    },
};

impl SealedStore {
    async fn seal_address(&self, user: UserId, address: &StoredAddress) -> StoreResult<StoredAddress> {
        let content = self.sealer.seal(&Place::Address { user }, &address.content).await?;
        Ok(StoredAddress { content, key: self.sealer.blind(&address.key) })
    }

    async fn seal_name(&self, user: UserId, name: StoredName) -> StoreResult<StoredName> {
        if !self.sealer.settings.display_names {
            return Ok(name);
        }
        let content = self.sealer.seal_text(&Place::DisplayName { user }, &name.content).await?;
        Ok(StoredName { content, key: String::new() })
    }

    async fn first_found(&self, looks: &[LoginKey<'_>]) -> StoreResult<UserRecord> {
        for look in looks {
            match self.inner.user_by_login(*look).await {
                Err(error) if error.kind() == StoreErrorKind::NotFound => {}
                found => return found,
            }
        }
        Err(StoreErrorKind::NotFound.into())
    }

    /// Whether an account other than `user` has this address, stored before addresses were sealed.
    async fn is_taken_in_plain(&self, user: UserId, address: &StoredAddress) -> StoreResult<bool> {
        if !self.accepts_plain() {
            return Ok(false);
        }
        match self.inner.user_by_login(LoginKey::Email(&address.key)).await {
            Ok(found) => Ok(found.id != user),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds out what is taken before a data key is made for the new account, so that attempts leave no keys behind.
    async fn check_is_free(&self, user: &NewUser) -> StoreResult<()> {
        let name = LoginKey::Username(&user.username);
        let blind = self.sealer.blind(&user.email.key);
        let taken = if self.is_taken(name).await? {
            Unique::Username
        } else if !self.is_taken(LoginKey::Email(&blind)).await?
            && !self.is_taken_in_plain(user.id, &user.email).await?
        {
            return Ok(());
        } else if self.is_taken(name).await? {
            // Both came since the first look: the name is what the store itself would say.
            Unique::Username
        } else {
            Unique::Email
        };
        Err(StoreErrorKind::AlreadyExists(taken).into())
    }

    async fn is_taken(&self, key: LoginKey<'_>) -> StoreResult<bool> {
        match self.inner.user_by_login(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl UserStore for SealedStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        self.check_is_free(&user).await?;
        let email = self.seal_address(user.id, &user.email).await?;
        let display_name = self.seal_name(user.id, user.display_name).await?;
        let session = self.seal_session(session).await?;
        self.inner.create_user(NewUser { email, display_name, ..user }, session).await
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        self.open_user(self.inner.user(user).await?).await
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        let mut found = self.inner.users(users).await?;
        self.open_users(found.iter_mut().collect()).await?;
        Ok(found)
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        let found = match login {
            LoginKey::Username(_) => self.inner.user_by_login(login).await,
            LoginKey::Email(address) => {
                let blind = self.sealer.blind(address);
                // Once more, because it may have been sealed between the first look and the second.
                let looks = [LoginKey::Email(&blind), login, LoginKey::Email(&blind)];
                self.first_found(if self.accepts_plain() { &looks } else { &looks[..1] }).await
            }
        };
        self.open_user(found?).await
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        let mut found = self.inner.find_users(prefix, after, limit).await?;
        self.open_users(found.iter_mut().map(|found| &mut found.user).collect()).await?;
        Ok(found)
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        let UpdateUser { id, display_name, email, .. } = update;
        let email = match email {
            Some(email) => {
                if self.is_taken_in_plain(id, &email).await? {
                    return Err(StoreErrorKind::AlreadyExists(Unique::Email).into());
                }
                Some(self.seal_address(id, &email).await?)
            }
            None => None,
        };
        let display_name = match display_name {
            Some(name) => Some(self.seal_name(id, name).await?),
            None => None,
        };
        self.open_user(self.inner.update_user(UpdateUser { display_name, email, ..update }).await?).await
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        self.inner.change_password(user, expected, hash, keep).await
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        self.inner.upgrade_password(user, former, hash).await
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        // The key is destroyed by itself, when none of what it opens is left.
        let jobs = self.seal_jobs(&erase.jobs).await?;
        self.inner.erase_user(&EraseUser { jobs, ..erase.clone() }).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        self.inner.set_last_seen(seen).await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        self.inner.note_mail(user, key, outcome).await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        let is_confirmed = self.inner.confirm_email(user, key, at).await?;
        if is_confirmed || !self.accepts_plain() {
            return Ok(is_confirmed);
        }
        // It may have been sealed since the account was read.
        self.inner.confirm_email(user, &self.sealer.blind(key), at).await
    }
}
