//! Telling people outside of the chat: of what they have not read, and about their accounts.
//!
//! A host gives a [`Notifier`](crate::ports::Notifier) to [`Builder::notifier`](crate::Builder::notifier), which says *how* people are told;
//! this says *when*, and of *what*. Each notification is a background job, so it survives a crash and is tried again.

mod accounts;
mod deciding;
mod delivering;
mod desk;
mod digest;
mod looking;
mod meters;
mod notifications;
mod outbox;
mod quiet;
mod settings;
#[cfg(test)]
mod tests;
mod watching;

pub use self::settings::NotifySettings;
pub(crate) use self::{
    accounts::{address, fingerprint},
    desk::Desk,
    notifications::Notifications,
    outbox::{ACCOUNT, AboutAccount, Telling, UNREAD, UnreadIn, What},
    watching::start,
};
use crate::{error::Result, jobs::Registration};

/// The kinds of jobs that look for what is to be told, and deliver it.
pub(crate) fn registrations(desk: &Desk) -> Result<Vec<Registration>> {
    let mut registrations = delivering::registrations(desk)?;
    registrations.push(looking::registration(desk)?);
    Ok(registrations)
}
