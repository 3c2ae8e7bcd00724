//! What handlers did, as they themselves write it down.

use std::{
    collections::BTreeMap,
    ops::AddAssign,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use messenger_core::{
    JobId,
    ports::{JobRecord, JobState},
};

use crate::record::Record;

/// One process: a node from its start to its end.
pub(super) type Life = u64;

#[derive(Clone)]
pub(super) struct Ledger {
    record: Record,
    entries: Arc<Mutex<BTreeMap<JobId, Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    at_work: Option<Life>,
    begun: usize,
    succeeded: usize,
    gave_up: usize,
    dropped: usize,
}

/// How much of what has been seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) jobs: usize,
    pub(super) done: usize,
    pub(super) dead: usize,
    pub(super) abandoned: usize,
    pub(super) cancelled: usize,
    /// Begun more than once.
    again: usize,
    dropped: usize,
}

impl Found {
    /// Whether everything that may happen has happened.
    pub(super) const fn is_varied(&self) -> bool {
        self.done > 0
            && self.dead > 0
            && self.abandoned > 0
            && self.cancelled > 0
            && self.again > 0
            && self.dropped > 0
    }
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.done += other.done;
        self.dead += other.dead;
        self.abandoned += other.abandoned;
        self.cancelled += other.cancelled;
        self.again += other.again;
        self.dropped += other.dropped;
    }
}

impl Ledger {
    pub(super) fn new(record: Record) -> Self {
        Self { record, entries: Arc::default() }
    }

    /// A handler is at work until the answer is dropped.
    pub(super) fn begin(&self, job: JobId, life: Life, attempt: u32, max_attempts: u32) -> AtWork {
        self.record.log(format!("    job {job} is begun by process {life}, attempt {attempt}"));
        let other = {
            let mut entries = self.entries();
            let entry = entries.entry(job).or_default();
            entry.begun += 1;
            entry.at_work.replace(life)
        };
        if let Some(other) = other {
            self.record.wrong(format!("job {job} is at work in process {other} and in process {life}"));
        }
        if attempt > max_attempts {
            self.record.wrong(format!("job {job} is tried {attempt} times"));
        }
        AtWork { ledger: self.clone(), job, life, ended: false }
    }

    /// What a process that was killed had at work is no longer.
    pub(super) fn killed(&self, life: Life) {
        self.entries()
            .values_mut()
            .filter(|entry| entry.at_work == Some(life))
            .for_each(|entry| entry.at_work = None);
    }

    /// Compares what is stored in the end with what was done.
    pub(super) fn check(&self, stored: &JobRecord) -> Found {
        let entries = self.entries();
        let none = Entry::default();
        let entry = entries.get(&stored.id).unwrap_or(&none);
        let is_abandoned = stored.reason.as_deref() == Some(JobRecord::ABANDONED);
        let was_late = stored.reason.as_ref().is_some_and(|reason| reason.starts_with("it took longer"));
        let wrong = match stored.state {
            JobState::Done if entry.succeeded == 0 => Some("is done, and nobody did it"),
            JobState::Dead if is_abandoned && stored.attempt < stored.max_attempts => {
                Some("is abandoned, and has attempts left")
            }
            JobState::Dead if !is_abandoned && !was_late && entry.gave_up == 0 => {
                Some("is dead, and nobody gave it up")
            }
            JobState::Waiting | JobState::Running => Some("is forgotten"),
            _ if entry.at_work.is_some() => Some("has ended, and is at work"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.record.wrong(format!("job {} {wrong}: {stored:?}, {entry:?}", stored.id));
        }
        let is = |state| usize::from(stored.state == state);
        Found {
            jobs: 1,
            done: is(JobState::Done),
            dead: is(JobState::Dead),
            abandoned: usize::from(is_abandoned),
            cancelled: is(JobState::Cancelled),
            again: usize::from(entry.begun > 1),
            dropped: entry.dropped,
        }
    }

    /// How often a job was begun, and how often it was done.
    pub(super) fn counts(&self, job: JobId) -> (usize, usize) {
        self.entries().get(&job).map_or((0, 0), |entry| (entry.begun, entry.succeeded))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct AtWork {
    ledger: Ledger,
    job: JobId,
    life: Life,
    ended: bool,
}

impl AtWork {
    pub(super) fn succeeded(mut self) {
        self.ended = true;
        self.ledger.entries().entry(self.job).or_default().succeeded += 1;
    }

    /// It will not be tried again.
    pub(super) fn gave_up(mut self) {
        self.ended = true;
        self.ledger.entries().entry(self.job).or_default().gave_up += 1;
    }

    pub(super) fn failed(mut self) {
        self.ended = true;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut entries = self.ledger.entries();
        let entry = entries.entry(self.job).or_default();
        if entry.at_work == Some(self.life) {
            entry.at_work = None;
        }
        entry.dropped += usize::from(!self.ended);
        drop(entries);
        if !self.ended {
            self.ledger.record.log(format!("    job {} is dropped by process {}", self.job, self.life));
        }
    }
}
