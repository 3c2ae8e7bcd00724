//! What the work of notifications is done with.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{deciding::Absence, notifications::Notifications};
use crate::{
    context::Context,
    domain::{EmailAddress, Timestamp, UserId},
    jobs::Jobs,
    ports::{Notice, PresenceError, PresenceStore, Store, StoreErrorKind, StoreResult, UserRecord},
};

/// Somebody who is online for long without reading is looked at that often.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

/// What the work of notifications is done with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) notifications: Arc<Notifications>,
    pub(super) store: Arc<dyn Store>,
    pub(super) presence: Arc<dyn PresenceStore>,
    pub(super) context: Context,
    pub(super) jobs: Jobs,
    /// When this node began: who was online before is not known where presence is kept in memory, so that nobody counts as away
    /// since earlier.
    pub(super) began: Timestamp,
}

/// What is to be done with a notification, now that it is its turn.
#[derive(Debug)]
pub(super) enum Composed {
    /// It is delivered.
    Ready(Notice),
    /// As [`Ready`](Self::Ready), to another address than the account's.
    ReadyFor(EmailAddress, Notice),
    /// It is not time for it.
    NotYet(Duration, &'static str),
    /// Nothing is left to be told, for this reason.
    Nothing(&'static str),
}

impl Desk {
    pub(crate) fn new(
        notifications: &Arc<Notifications>,
        store: &Arc<dyn Store>,
        presence: &Arc<dyn PresenceStore>,
        context: &Context,
        jobs: &Jobs,
    ) -> Self {
        let (notifications, store, presence) =
            (Arc::clone(notifications), Arc::clone(store), Arc::clone(presence));
        let (context, began) = (context.clone(), context.now());
        Self { notifications, store, presence, context, jobs: jobs.clone(), began }
    }

    /// The account, unless it was erased.
    pub(super) async fn account(&self, user: UserId) -> StoreResult<Option<UserRecord>> {
        match self.store.user(user).await {
            Ok(account) => Ok(Some(account).filter(|account| account.erased_at.is_none())),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether these people are online, in their order; `None` of whom nothing is known at present.
    pub(super) async fn who_is_online(
        &self,
        people: &[UserId],
    ) -> std::result::Result<Vec<Option<bool>>, PresenceError> {
        if people.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.presence.query(people).await?;
        let known: HashMap<UserId, bool> =
            states.into_iter().map(|state| (state.user, state.online)).collect();
        Ok(people.iter().map(|user| known.get(user).copied()).collect())
    }

    pub(super) async fn is_online(&self, user: UserId) -> std::result::Result<Option<bool>, PresenceError> {
        Ok(self.who_is_online(&[user]).await?.pop().flatten())
    }

    pub(super) fn absence(&self) -> Absence {
        Absence { after: self.after(), known_since: self.began }
    }

    pub(super) fn after(&self) -> Duration {
        self.notifications.settings.after
    }

    /// Until somebody who is online is looked at again, by how long they have been waited for: who goes is found
    /// otherwise, unless the node that would have done it is gone as well.
    pub(super) fn patience(&self, waited: Duration) -> Duration {
        waited.clamp(self.after(), LONGEST_WAIT.max(self.after()))
    }
}
