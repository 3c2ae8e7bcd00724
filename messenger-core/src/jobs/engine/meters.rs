//! Metrics of jobs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{
    domain::Timestamp,
    ports::{JobCounts, JobKind},
};

/// What a node does of one kind.
pub(super) struct KindMeters {
    pub(super) claimed: Counter,
    pub(super) running: Gauge,
    /// From when a job is due until it is begun.
    pub(super) wait: Histogram,
    durations: BTreeMap<Ending, Histogram>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Done,
    Retried,
    Dead,
    Snoozed,
    /// The claim was lost, or the job was cancelled.
    Lost,
    /// This node stops.
    GivenBack,
}

impl Ending {
    const ALL: [Self; 6] =
        [Self::Done, Self::Retried, Self::Dead, Self::Snoozed, Self::Lost, Self::GivenBack];

    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Snoozed => "snoozed",
            Self::Lost => "lost",
            Self::GivenBack => "givenBack",
        }
    }
}

impl KindMeters {
    pub(super) fn new(kind: &JobKind) -> Self {
        let name = || kind.as_str().to_owned();
        let duration = |ending: Ending| {
            let outcome = ending.name();
            histogram!("messenger_job_duration_seconds", "kind" => name(), "outcome" => outcome)
        };
        Self {
            claimed: counter!("messenger_jobs_claimed_total", "kind" => name()),
            running: gauge!("messenger_jobs_running", "kind" => name()),
            wait: histogram!("messenger_job_wait_seconds", "kind" => name()),
            durations: Ending::ALL.into_iter().map(|ending| (ending, duration(ending))).collect(),
        }
    }

    pub(super) fn ended(&self, ending: Ending, after: Duration) {
        if let Some(histogram) = self.durations.get(&ending) {
            histogram.record(after.as_secs_f64());
        }
    }
}

/// How many jobs there are in the store.
#[derive(Default)]
pub(super) struct Counts {
    /// The kinds that were counted last: one of which there are none any more has 0.
    known: BTreeSet<JobKind>,
}

impl Counts {
    pub(super) fn set(&mut self, counts: &[JobCounts], now: Timestamp) {
        for gone in std::mem::take(&mut self.known) {
            if !counts.iter().any(|counts| counts.kind == gone) {
                set_kind(&gone, [0; 7], Duration::ZERO);
            }
        }
        for counts in counts {
            let JobCounts { due, scheduled, blocked, running, done, dead, cancelled, .. } = *counts;
            let age = counts.oldest_due.map_or(Duration::ZERO, |oldest| now.since(oldest));
            set_kind(&counts.kind, [due, scheduled, blocked, running, done, dead, cancelled], age);
            self.known.insert(counts.kind.clone());
        }
    }
}

fn set_kind(kind: &JobKind, counts: [u64; 7], age: Duration) {
    const STATES: [&str; 7] = ["due", "scheduled", "blocked", "running", "done", "dead", "cancelled"];
    let name = || kind.as_str().to_owned();
    for (state, count) in STATES.into_iter().zip(counts) {
        gauge!("messenger_jobs", "kind" => name(), "state" => state).set(count as f64);
    }
    gauge!("messenger_jobs_oldest_due_seconds", "kind" => name()).set(age.as_secs_f64());
}
