//! Background jobs: work that is done later, by whichever node comes to it, until it has been done.
//!
//! A job is stored before [`Jobs::enqueue`] answers, and done at least once: one that fails, or whose node dies, is
//! tried again, up to [`Retry::max_attempts`] times, and is among the dead after that, where an operator finds it. So a
//! handler may be called twice for one job, and what it does outside should be made to happen once, for instance by the
//! [id of the job](JobCx::id).
//!
//! A host defines a [`Job`], gives its handler to [`Builder::job`](crate::Builder::job), and enqueues with
//! [`Messenger::jobs`](crate::Messenger::jobs). Jobs that recur have a [`Schedule`] and are given to
//! [`Builder::recurring`](crate::Builder::recurring).
//!
//! * Jobs of a kind are begun in the order of their priority, then of their time. A kind has no other order, and no
//!   kind waits for another.
//! * While a handler works, its node holds the job by a lease, which it renews. A node that is away for longer than
//!   [`JobSettings::lease`] drops the work, and another one takes over; what the first still wants to store of the job
//!   changes nothing.
//! * A handler is dropped at an await when its job is cancelled, when it takes longer than [`Job::TIMEOUT`], when the
//!   lease is lost, and when the node stops and it does not end in time. One that panics has failed.

mod cx;
mod engine;
mod handle;
mod job;
mod outcome;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use self::outcome::Why;
pub use self::{
    cx::JobCx,
    handle::{Enqueue, EnqueuedJob, Jobs},
    job::{Job, Retry},
    outcome::{JobError, JobResult},
    schedule::{InvalidSchedule, Schedule},
    settings::JobSettings,
};
pub(crate) use self::{
    cx::{Home, recurring, registration},
    engine::{Parts, Recurring, Registration, start},
};
