//! Jobs as JSON: what they are about is not shown, only how long it is.

use messenger_core::{
    JobId, Timestamp,
    ports::{JobCounts, JobPriority, JobRecord, JobState},
};
use serde::Serialize;

/// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobLine {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) state: &'static str,
    /// How often it was tried.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) created_at: Timestamp,
    /// When it is due, or was when it was begun last.
    pub(crate) run_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leased_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
    /// Why it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A job on its own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobDetail {
    #[serde(flatten)]
    pub(crate) line: JobLine,
    pub(crate) priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unique_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<JobId>,
    pub(crate) payload_bytes: usize,
}

/// How many jobs of a kind there are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountsView {
    pub(crate) kind: String,
    pub(crate) paused: bool,
    pub(crate) due: u64,
    pub(crate) scheduled: u64,
    pub(crate) blocked: u64,
    pub(crate) running: u64,
    pub(crate) done: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_due: Option<Timestamp>,
}

impl From<JobRecord> for JobLine {
    fn from(job: JobRecord) -> Self {
        Self {
            id: job.id,
            kind: job.kind.as_str().to_owned(),
            state: state_name(job.state),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            created_at: job.created_at,
            run_at: job.run_at,
            leased_until: job.leased_until,
            ended_at: job.ended_at,
            reason: job.reason,
        }
    }
}

impl From<JobRecord> for JobDetail {
    fn from(mut job: JobRecord) -> Self {
        Self {
            priority: priority_name(job.priority),
            unique_key: job.unique_key.take(),
            after: job.after,
            payload_bytes: job.payload.0.len(),
            line: job.into(),
        }
    }
}

impl From<JobCounts> for CountsView {
    fn from(counts: JobCounts) -> Self {
        let JobCounts { kind, paused, due, scheduled, blocked, running, done, dead, cancelled, oldest_due } =
            counts;
        let kind = kind.as_str().to_owned();
        Self { kind, paused, due, scheduled, blocked, running, done, dead, cancelled, oldest_due }
    }
}

const fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Blocked => "blocked",
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Dead => "dead",
        JobState::Cancelled => "cancelled",
    }
}

/// The state of this name, or what names there are.
pub(crate) fn state_of(name: &str) -> Result<JobState, String> {
    let found = JobState::ALL.into_iter().find(|state| state_name(*state) == name);
    found.ok_or_else(|| {
        let names = JobState::ALL.map(state_name).join(", ");
        format!("there are {names}")
    })
}

const fn priority_name(priority: JobPriority) -> &'static str {
    match priority {
        JobPriority::High => "high",
        JobPriority::Normal => "normal",
        JobPriority::Low => "low",
    }
}
