use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::ports::{Notification, Notifier, NotifyError};

/// A [`Notifier`] that keeps what it was given, and fails when it is told to: for tests.
///
/// ```
/// use messenger_core::{
///     DisplayName, EmailAddress, Language, Link, context::Context,
///     memory::MemoryNotifier, ports::{Notice, Notification, Notifier, NotifyError, PasswordReset, Recipient},
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let context = Context::fixed();
/// let notification = Notification {
///     claim: context.id(),
///     at: context.now(),
///     to: Recipient {
///         user: context.id(),
///         email: EmailAddress::trusted("ada@example.org"),
///         display_name: DisplayName::trusted("Ada"),
///         language: Language::trusted("en"),
///     },
///     notice: Notice::ResetPassword(PasswordReset {
///         link: Link::parse("https://chat.example.org/reset/abc").unwrap(),
///         valid_for: std::time::Duration::from_secs(1800),
///     }),
/// };
/// let notifier = MemoryNotifier::new();
/// notifier.fail_next(NotifyError::Unavailable("the network is down".into()));
/// assert!(notifier.notify(&notification).await.is_err());
/// notifier.notify(&notification).await.unwrap();
/// assert_eq!(notifier.delivered(), [notification]);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryNotifier {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    delivered: Vec<Notification>,
    failures: VecDeque<NotifyError>,
}

impl MemoryNotifier {
    /// Makes one that has been given nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next call that no earlier one of these is for fails with `error`, and delivers nothing.
    pub fn fail_next(&self, error: NotifyError) {
        self.lock().failures.push_back(error);
    }

    /// What it was given and has not failed with, in that order: all of it, so a test that goes on for long takes it with
    /// [`take`](Self::take).
    pub fn delivered(&self) -> Vec<Notification> {
        self.lock().delivered.clone()
    }

    /// As [`delivered`](Self::delivered), and forgets it.
    pub fn take(&self) -> Vec<Notification> {
        std::mem::take(&mut self.lock().delivered)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can be left half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let mut state = self.lock();
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        state.delivered.push(notification.clone());
        Ok(())
    }
}
