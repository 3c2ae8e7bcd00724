//! How long messages are kept, what is exempt from that, and what was purged.

mod job;
mod purging;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub(crate) use self::job::{recurring, registration};
pub use self::purging::PurgeReport;
use crate::{
    actor::Actor,
    cx::Cx,
    domain::RetentionPeriod,
    error::{Error, OrNotFound as _, Result},
    ports::{AskOverdue, Hold, HoldSubject, OverdueChat, PurgeId, PurgeRecord},
    service::Service,
};

/// Retention and legal holds, for those who operate the service: what it does, it does for nobody, and no policy is asked.
/// Whoever has it may do all of it, so a door for operators asks for a key of its own.
///
/// Messages older than the [period of the service](crate::Builder::retention), or than that of their chat
/// ([`SetRetention`](crate::commands::SetRetention)) if it is shorter, are turned into tombstones by a background job, every
/// five minutes, in small steps.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::ports::HoldSubject;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let retention = messenger.retention();
/// assert!(retention.hold(HoldSubject::User(ada.user()?), "case 7/2026").await?);
/// assert_eq!(retention.holds(None, 10).await?[0].reason.as_str(), "case 7/2026");
/// assert!(messenger.accounts().erase(ada.user()?, |_| ()).await.is_err());
/// assert!(retention.release(HoldSubject::User(ada.user()?)).await?);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Retention {
    service: Arc<Service>,
}

impl Retention {
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// How long this service keeps messages; `None` for good.
    pub fn period(&self) -> Option<RetentionPeriod> {
        self.service.settings.retention
    }

    /// Puts a chat or a person under a legal hold, and tells whether it was not before; an earlier hold stays as it is. From
    /// this answer on nothing of the chat, or nothing that the person has sent, is purged, and the person is not erased.
    /// What people edit or delete themselves is theirs to edit and to delete.
    ///
    /// `reason` is one line of at most 200 characters, which nothing seals.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown chat, and for a person who is unknown or erased; [`Error::Invalid`] for a reason that
    /// is none; [`Error::Unavailable`].
    pub async fn hold(&self, subject: HoldSubject, reason: &str) -> Result<bool> {
        let reason = reason.parse().map_err(|error| Error::invalid("reason", format!("{error}")))?;
        let hold = Hold { subject, reason, at: self.service.context.now() };
        let unknown = match subject {
            HoldSubject::Chat(_) => Error::NotFound("chat"),
            HoldSubject::User(_) => Error::NotFound("account"),
        };
        self.service.store.hold(&hold).await.or_not_found(|| unknown)
    }

    /// Ends a hold, and tells whether there was one. What is overdue is purged by the next run of the job.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn release(&self, subject: HoldSubject) -> Result<bool> {
        Ok(self.service.store.release(subject).await?)
    }

    /// Lists holds, chats first, each by rising ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> Result<Vec<Hold>> {
        Ok(self.service.store.holds(after, limit).await?)
    }

    /// Lists the records of what was purged, the oldest first, after `after`, at most `limit`. They stay for good.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn purges(&self, after: Option<PurgeId>, limit: usize) -> Result<Vec<PurgeRecord>> {
        Ok(self.service.store.purges(after, limit).await?)
    }

    /// Lists chats in which something may be overdue now, those that have waited longest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn overdue(&self, limit: usize) -> Result<Vec<OverdueChat>> {
        let asked = AskOverdue { now: self.service.context.now(), retention: self.period() };
        Ok(self.service.store.overdue_chats(&asked, limit).await?)
    }

    /// Purges all that is overdue now, as the background job does every five minutes, and tells what it did. What is broken off
    /// stays done, and the next call goes on. Any number of them may run at the same time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it was broken off.
    pub async fn purge(&self) -> Result<PurgeReport> {
        let mut cx = Cx::new(Actor::anonymous(), Arc::clone(&self.service));
        let purged = purging::purge_overdue(&mut cx).await;
        cx.settled(purged).await
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention").finish_non_exhaustive()
    }
}
