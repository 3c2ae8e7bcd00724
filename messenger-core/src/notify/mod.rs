//! Telling people outside of the chat: of what they have not read, and about their accounts.
//!
//! A host gives a [`Notifier`](crate::ports::Notifier) to [`Builder::notifier`](crate::Builder::notifier), which says *how* people are told;
//! this says *when*, and of *what*. Each notification is a background job, so it survives a crash and is tried again.

mod deciding;
mod delivering;
mod digest;
mod looking;
mod meters;
mod outbox;
mod quiet;
mod settings;
#[cfg(test)]
mod tests;
mod watching;

use std::{fmt, sync::Arc};

pub use self::settings::NotifySettings;
pub(crate) use self::{
    delivering::{Desk, registrations},
    watching::start,
};
use crate::{
    context::Context,
    jobs::Jobs,
    ports::{Notifier, PresenceStore, Store},
};

/// How a deployment tells people outside of the chat.
pub(crate) struct Notifications {
    notifier: Arc<dyn Notifier>,
    pub(crate) settings: NotifySettings,
}

impl Notifications {
    pub(crate) fn new(notifier: Arc<dyn Notifier>, settings: NotifySettings) -> Self {
        Self { notifier, settings: settings.clamped() }
    }

    /// What its work is done with.
    pub(crate) fn desk(
        self: &Arc<Self>,
        store: &Arc<dyn Store>,
        presence: &Arc<dyn PresenceStore>,
        context: &Context,
        jobs: &Jobs,
    ) -> Desk {
        let (store, presence) = (Arc::clone(store), Arc::clone(presence));
        Desk {
            notifications: Arc::clone(self),
            store,
            presence,
            context: context.clone(),
            jobs: jobs.clone(),
            began: context.now(),
        }
    }
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("settings", &self.settings).finish_non_exhaustive()
    }
}
