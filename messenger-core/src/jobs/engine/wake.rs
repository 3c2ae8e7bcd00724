//! What makes a node ask for jobs: that some were enqueued here, and that the time of some has come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    domain::{JobId, Timestamp},
    ports::JobKind,
};

/// Maximum number of times, and of jobs that wait for others, that are remembered. What does not fit is found by asking
/// at intervals.
const KNOWN: usize = 1024;

/// What is known on this node of jobs that are or will be due.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    due: Mutex<BTreeSet<(Timestamp, JobKind)>>,
    /// The kinds of those that wait for a job to be done.
    after: Mutex<BTreeMap<JobId, BTreeSet<JobKind>>>,
    changed: Notify,
}

impl Wake {
    /// A job of this kind is due at this time, or is already.
    pub(crate) fn note(&self, kind: &JobKind, due: Timestamp) {
        let mut known = self.due();
        known.insert((due, kind.clone()));
        if known.len() > KNOWN {
            known.pop_last();
        }
        drop(known);
        self.changed.notify_one();
    }

    /// A job of this kind waits for this one.
    pub(crate) fn note_after(&self, other: JobId, kind: &JobKind) {
        let mut after = self.after();
        after.entry(other).or_default().insert(kind.clone());
        if after.len() > KNOWN {
            // The oldest.
            after.pop_first();
        }
    }

    /// This job is done: those that waited for it are due now, as far as it depends on that.
    pub(super) fn note_done(&self, job: JobId, now: Timestamp) {
        let kinds = self.after().remove(&job);
        kinds.into_iter().flatten().for_each(|kind| self.note(&kind, now));
    }

    /// Takes the kinds of which there is something due.
    pub(super) fn take_due(&self, now: Timestamp) -> BTreeSet<JobKind> {
        let mut known = self.due();
        let mut kinds = BTreeSet::new();
        while let Some((due, kind)) = known.pop_first() {
            if due > now {
                known.insert((due, kind));
                break;
            }
            kinds.insert(kind);
        }
        kinds
    }

    /// How long until something is due, as far as is known.
    pub(super) fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.due().first().map(|(due, _)| due.since(now))
    }

    /// Waits until something has been noted.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn due(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, JobKind)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after(&self) -> MutexGuard<'_, BTreeMap<JobId, BTreeSet<JobKind>>> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soonest_are_remembered() {
        let wake = Wake::default();
        let kind = |name: &str| name.parse::<JobKind>().unwrap();
        let at = |micros: usize| Timestamp::from_micros(micros as i64);
        assert_eq!(wake.time_left(at(0)), None);
        for micros in (1..=KNOWN + 5).rev() {
            wake.note(&kind(if micros % 2 == 0 { "even" } else { "odd" }), at(micros));
        }
        assert_eq!(wake.due().len(), KNOWN);
        assert_eq!(wake.time_left(at(0)), Some(Duration::from_micros(1)));
        assert_eq!(wake.time_left(at(9)), Some(Duration::ZERO));
        assert_eq!(wake.take_due(at(0)), [].into());
        assert_eq!(wake.take_due(at(1)), [kind("odd")].into());
        assert_eq!(wake.take_due(at(4)), [kind("even"), kind("odd")].into());
        assert_eq!(wake.time_left(at(4)), Some(Duration::from_micros(1)));
    }
    #[test]
    fn what_waits_for_a_job_is_due_once_that_is_done() {
        let (wake, context) = (Wake::default(), crate::context::Context::fixed());
        let [mail, print] = ["mail", "print"].map(|name| name.parse::<JobKind>().unwrap());
        let [first, second] = [context.id(), context.id()];
        wake.note_after(first, &mail);
        wake.note_after(first, &print);
        let now = context.now();
        wake.note_done(second, now);
        assert_eq!(wake.time_left(now), None);
        wake.note_done(first, now);
        assert_eq!(wake.take_due(now), [mail.clone(), print].into());
        wake.note_done(first, now);
        assert_eq!(wake.time_left(now), None);
        wake.note_after(first, &mail);
        (0..KNOWN).for_each(|_| wake.note_after(context.id(), &mail));
        wake.note_done(first, now);
        assert_eq!(wake.time_left(now), None, "the oldest is forgotten");
    }
}
