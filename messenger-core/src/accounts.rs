//! What operators do with accounts.

use std::{fmt, sync::Arc};

use crate::{
    actor::Actor,
    commands::{self, Erasure, Listener},
    cx::Cx,
    domain::{Cursor, DisplayName, Timestamp, UserId, Username},
    error::{Error, OrNotFound as _, Result},
    ports::{LoginKey, UserRecord},
    queries::{self, ExportPart},
    service::Service,
};

/// The accounts, for those who operate the service: what it does, it does for nobody, and no policy is asked. Whoever has
/// it may do all of it, so a door for operators asks for a key of its own.
#[derive(Clone)]
pub struct Accounts {
    service: Arc<Service>,
}

/// An account, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// The username; of an erased account one that nobody had.
    pub username: Username,
    /// The name that others see.
    pub display_name: DisplayName,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
}

/// An account that was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErasedAccount {
    /// Whether it had been erased before: then this call has looked for what was left of it.
    pub was_erased: bool,
    /// What this call has done.
    pub done: Erasure,
}

impl Accounts {
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// Finds an account by its id, its username or its mail address; an erased one by its id alone.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn find(&self, name: &str) -> Result<Account> {
        let unknown = || Error::NotFound("account");
        let store = &self.service.store;
        if let Ok(user) = name.parse::<UserId>() {
            return account(store.user(user).await.or_not_found(unknown)?);
        }
        let folded = name.to_lowercase();
        let username;
        let key = if folded.contains('@') {
            LoginKey::Email(folded.as_bytes())
        } else {
            username = Username::parse(&folded, &self.service.limits).map_err(|_| unknown())?;
            LoginKey::Username(&username)
        };
        account(store.user_by_login(key).await.or_not_found(unknown)?)
    }

    /// Erases an account as [`EraseMe`](crate::commands::EraseMe) does, without its password, or goes on with one that was
    /// erased and of which something may be left; answers when nothing is left. `listener` is told how far it has come.
    ///
    /// What is broken off is finished by a background job, or by another call. Those who are online are told as of any
    /// change; from a process that is not on the bus of the nodes within seconds.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown account; [`Error::Forbidden`] for one that is under a legal
    /// [hold](crate::Retention::hold); [`Error::Unavailable`] and [`Error::Conflict`] if it was broken off: then
    /// the account may be erased already.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let messenger = messenger_core::Messenger::in_memory();
    /// # messenger_core::doc::register(&messenger, "ada").await;
    /// let accounts = messenger.accounts();
    /// let ada = accounts.find("ada@example.org").await?;
    /// let erased = accounts.erase(ada.id, |so_far| println!("{} of {} chats", so_far.chats_done, so_far.chats)).await?;
    /// assert!(!erased.was_erased);
    /// assert!(accounts.find("ada").await.is_err());
    /// assert!(accounts.find(&ada.id.to_string()).await?.erased_at.is_some());
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    pub async fn erase(
        &self,
        user: UserId,
        listener: impl Fn(&Erasure) + Send + Sync,
    ) -> Result<ErasedAccount> {
        let mut cx = self.cx(user);
        let erased = commands::erase(&mut cx, user, &listener).await;
        let (was_erased, done) = cx.settled(erased).await?;
        Ok(ErasedAccount { was_erased, done })
    }

    /// Reads a part of everything that is held about a person, as [`ExportMe`](crate::queries::ExportMe) does.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown or erased account; [`Error::Invalid`] for a cursor that is none of an export;
    /// [`Error::Unavailable`].
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let messenger = messenger_core::Messenger::in_memory();
    /// # messenger_core::doc::register(&messenger, "ada").await;
    /// let accounts = messenger.accounts();
    /// let ada = accounts.find("ada").await?;
    /// let first = accounts.export(ada.id, None).await?;
    /// assert!(first.lines.contains("ada@example.org"));
    /// assert!(accounts.export(ada.id, first.next_cursor.as_ref()).await?.count > 0);
    /// # Ok::<(), messenger_core::Error>(()) }).unwrap();
    /// ```
    pub async fn export(&self, user: UserId, cursor: Option<&Cursor>) -> Result<ExportPart> {
        let part = queries::export_part_of(&self.cx(user), user, cursor).await;
        part.map_err(|error| match error {
            Error::NotFound(_) | Error::Unauthenticated => Error::NotFound("account"),
            other => other,
        })
    }

    /// Goes on with an account that was erased; does nothing to others.
    pub(crate) async fn finish_erasing(&self, user: UserId) -> Result<()> {
        let account = self.service.store.user(user).await.or_not_found(|| Error::NotFound("account"))?;
        if account.erased_at.is_none() {
            return Err(Error::NotFound("erased account"));
        }
        let listener: Listener<'_> = &|_| ();
        let mut cx = self.cx(user);
        let finished = commands::finish_erasure(&mut cx, user, listener).await;
        cx.settled(finished).await.map(drop)
    }

    fn cx(&self, user: UserId) -> Cx {
        Cx::new(Actor::on_behalf_of(user), Arc::clone(&self.service))
    }
}

fn account(record: UserRecord) -> Result<Account> {
    let display_name = DisplayName::trusted(record.display_name.to_text()?);
    let UserRecord { id, username, created_at, erased_at, .. } = record;
    Ok(Account { id, username, display_name, created_at, erased_at })
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}
