use std::fmt;

use async_trait::async_trait;

use super::{Content, StoreResult};
use crate::domain::{JobId, Timestamp};

/// Background jobs: work that is done later, by whichever node comes to it, until it has been done.
///
/// A job is claimed by a worker for as long as its lease lasts, which the worker renews while it works. What ends a
/// claim carries its number, so that a worker whose lease was lost changes nothing.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Stores jobs, all or none, but passes over those whose [unique key](NewJob::unique) is in use. Answers in order.
    ///
    /// # Behavior
    /// - `enqueue_jobs_can_be_read_back`
    /// - `enqueue_jobs_of_an_empty_batch_is_nothing`
    /// - `enqueue_jobs_again_changes_nothing`: a job whose id is known is passed over.
    /// - `enqueue_jobs_passes_over_what_is_there_already`
    /// - `enqueue_jobs_of_many_racers_keeps_one_of_a_key`
    /// - `enqueue_jobs_of_a_key_that_is_given_back_keeps_one`
    /// - `enqueue_jobs_after_one_that_is_ending_leaves_none_behind`: neither blocked by what is done, nor waiting for what
    ///   was cancelled.
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>>;

    /// Claims jobs that are due: those whose time has come, and those of workers whose lease has ended. Gives them by
    /// kind, in each kind the most urgent first, then those due longest.
    ///
    /// # Behavior
    /// - `claim_jobs_takes_the_urgent_first_and_then_the_longest_due`
    /// - `claim_jobs_takes_no_more_than_asked_for_of_each_kind`
    /// - `claim_jobs_leaves_what_is_not_due_yet`
    /// - `claim_jobs_leaves_kinds_that_were_not_asked_for`
    /// - `claim_jobs_of_racing_workers_takes_each_once`
    /// - `claim_jobs_takes_over_what_a_dead_worker_had`
    /// - `claim_jobs_gives_up_what_killed_its_worker_each_time`: a job whose lease ends in its last attempt is dead.
    /// - `claim_jobs_leaves_paused_kinds`
    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>>;

    /// Extends the leases of claims, never shortens them, and returns the jobs that are still held by them.
    ///
    /// # Behavior
    /// - `renew_jobs_keeps_others_away`
    /// - `renew_jobs_of_lost_claims_is_nothing`
    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>>;

    /// Ends claims. Tells of each, in order, whether it was still held; what was not is left as it is.
    ///
    /// # Behavior
    /// - `finish_jobs_ends_a_job_as_its_worker_says`
    /// - `finish_jobs_of_lost_claims_is_nothing`
    /// - `finish_jobs_lets_a_job_be_tried_again_until_its_last_attempt`
    /// - `finish_jobs_counts_no_attempt_for_a_snooze`
    /// - `finish_jobs_frees_the_key`
    /// - `finish_jobs_lets_those_go_on_that_waited_for_it`
    /// - `finish_jobs_of_racing_workers_ends_each_once`: also while they renew leases and others cancel, without a deadlock.
    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>>;

    /// A job by its id.
    ///
    /// # Behavior
    /// - `job_of_unknown_id_is_not_found`
    async fn job(&self, id: JobId) -> StoreResult<JobRecord>;

    /// Lists jobs, the newest first, those before `before` if it is given, at most `limit`.
    ///
    /// # Behavior
    /// - `jobs_lists_by_kind_and_state_and_page`
    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>>;

    /// Changes a job by hand, and returns it as it was before. `Conflict` if it is in a state in which that can't be
    /// done.
    ///
    /// # Behavior
    /// - `change_job_puts_back_what_has_ended`
    /// - `change_job_does_not_put_back_what_has_been_enqueued_again`: `AlreadyExists` if its unique key is in use.
    /// - `change_job_cancels_what_has_not_ended`
    /// - `change_job_drops_what_is_not_at_work`
    /// - `change_job_of_unknown_id_is_not_found`
    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord>;

    /// Pauses a kind, or resumes it: while it is paused, no node claims any of its jobs.
    ///
    /// # Behavior
    /// - `pause_jobs_can_be_taken_back`
    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()>;

    /// Counts the jobs of each kind of which there are any, and of each that is paused, by kind. Of those that have
    /// ended, [`JobCounts::MOST`] of each state have to be counted, the newest.
    ///
    /// # Behavior
    /// - `job_counts_tells_the_states_apart`
    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>>;

    /// Removes at most `limit` jobs that were done or cancelled before this time, and returns how many were removed.
    ///
    /// # Behavior
    /// - `prune_jobs_keeps_the_dead_and_those_that_have_not_ended`
    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize>;
}

/// What kind of work a job is, which says who does it. Each kind has a queue of its own.
///
/// 1 to 64 of the characters `a` to `z`, `0` to `9`, `.`, `-` and `_`.
///
/// ```
/// use messenger_core::ports::JobKind;
///
/// let kind: JobKind = "invoices.send".parse()?;
/// assert_eq!(kind.as_str(), "invoices.send");
/// assert!("Send invoices".parse::<JobKind>().is_err());
/// # Ok::<(), messenger_core::ports::InvalidJobKind>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKind(String);

impl JobKind {
    /// Maximum length.
    pub const MAX: usize = 64;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for JobKind {
    type Err = InvalidJobKind;

    fn from_str(text: &str) -> Result<Self, InvalidJobKind> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidJobKind) }
    }
}

/// Whether this is a name of a kind or of a schedule.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=JobKind::MAX).contains(&text.len()) && text.bytes().all(fits)
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a kind of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kind of jobs is 1 to 64 of the characters a-z, 0-9, `.`, `-` and `_`")]
pub struct InvalidJobKind;

/// How urgent a job is among those of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobPriority {
    /// Before all others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// When there is nothing else.
    Low,
}

impl JobPriority {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// As it is stored: 0, 1, 2.
    pub const fn as_number(self) -> i16 {
        self as i16
    }

    /// As it was stored; `None` if there is no such.
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_number() == number)
    }
}

/// What has become of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// It waits for its time, or for a worker.
    Waiting,
    /// It waits for another job to be done.
    Blocked,
    /// A worker has claimed it.
    Running,
    /// It has been done.
    Done,
    /// It has failed for good.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Blocked, Self::Running, Self::Done, Self::Dead, Self::Cancelled];

    /// Whether nothing more happens to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }

    /// The state of a new job that is to be done after one that is in this state, or after one that is not known.
    pub const fn after(other: Option<Self>) -> Self {
        match other {
            None | Some(Self::Done) => Self::Waiting,
            Some(Self::Cancelled) => Self::Cancelled,
            Some(_) => Self::Blocked,
        }
    }

    /// As it is stored: 0 to 5, of which 0 to 2 have not ended.
    pub const fn as_number(self) -> i16 {
        self as i16
    }

    /// As it was stored; `None` if there is no such.
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_number() == number)
    }
}

/// A job to store.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// What the work is about, as its kind understands it: plain, or sealed by a wrapper. At most 256 KiB.
    pub payload: Content,
    /// How urgent it is.
    pub priority: JobPriority,
    /// When it is due.
    pub run_at: Timestamp,
    /// How often it is tried at most; at least 1.
    pub max_attempts: u32,
    /// What must not be twice.
    pub unique: Option<UniqueJob>,
    /// The job that must have been done before. One that is not known counts as done; where it was cancelled, this one
    /// is, too.
    pub after: Option<JobId>,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

/// What must not be twice among the jobs of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueJob {
    /// 1 to 200 bytes of ASCII.
    pub key: String,
    /// Jobs that were enqueued at this time or later keep the key when they have been done, too; without it,
    /// only those that have not ended.
    pub since: Option<Timestamp>,
}

/// Whether a job was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It was.
    New,
    /// This one has its key.
    Existing(JobId),
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct ClaimJobs {
    /// The kinds that it can do, and how many of each at most. No kind is named twice.
    pub kinds: Vec<(JobKind, usize)>,
    /// What is due by now is claimed.
    pub now: Timestamp,
    /// The end of the lease.
    pub until: Timestamp,
}

/// A claim of a job: its id, and a number that rises with each claim of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobClaim {
    /// The job.
    pub job: JobId,
    /// The number of the claim.
    pub number: u32,
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedJob {
    /// The claim.
    pub claim: JobClaim,
    /// What kind of work it is.
    pub kind: JobKind,
    /// What the work is about.
    pub payload: Content,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there are.
    pub max_attempts: u32,
    /// When it was due.
    pub run_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
}

/// The end of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedJob {
    /// Which.
    pub claim: JobClaim,
    /// How it ended.
    pub outcome: JobOutcome,
}

/// How a job's attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// The work has been done.
    Done,
    /// It failed, and is tried again; after the last attempt it is dead.
    Failed {
        /// When.
        retry_at: Timestamp,
        /// Why, for people who operate the service. At most 2,000 bytes.
        reason: String,
    },
    /// It failed in a way that no other attempt would change.
    Dead {
        /// Why, as in [`Failed`](Self::Failed).
        reason: String,
    },
    /// It is not time for it. This does not count as an attempt.
    Snoozed {
        /// When it is due again.
        until: Timestamp,
    },
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What kind of work it is.
    pub kind: JobKind,
    /// What the work is about.
    pub payload: Content,
    /// How urgent it is.
    pub priority: JobPriority,
    /// What has become of it.
    pub state: JobState,
    /// When it is due, or was when it was claimed last.
    pub run_at: Timestamp,
    /// How often it was tried.
    pub attempt: u32,
    /// How often it is tried at most.
    pub max_attempts: u32,
    /// Its unique key.
    pub unique_key: Option<String>,
    /// The job that must have been done before.
    pub after: Option<JobId>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When the lease ends, while it is at work.
    pub leased_until: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed last.
    pub reason: Option<String>,
}

impl JobRecord {
    /// The reason of a job whose worker died in its last attempt.
    pub const ABANDONED: &str = "the lease of its last attempt ended before the work did";
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this kind only.
    pub kind: Option<JobKind>,
    /// In this state only.
    pub state: Option<JobState>,
}

/// A change by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobChange {
    /// A job that has ended is due now, with all its attempts. One that waits is due now.
    Retry,
    /// A job that has not ended ends; a worker that is at it learns of it when it renews its lease. Those that wait
    /// for it are cancelled as well.
    Cancel,
    /// A job that is not at work is removed. Those that wait for it are cancelled.
    Drop,
}

impl JobChange {
    /// Whether this can be done with a job that is in this state, unless its unique key is in use.
    pub fn is_possible(self, job: &JobRecord, now: Timestamp) -> bool {
        match self {
            Self::Retry => !matches!(job.state, JobState::Running | JobState::Blocked),
            Self::Cancel => !job.state.has_ended(),
            Self::Drop => job.leased_until.is_none_or(|until| until < now),
        }
    }
}

/// How many jobs of a kind there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCounts {
    /// Which kind.
    pub kind: JobKind,
    /// Whether it is paused.
    pub paused: bool,
    /// Those that wait, and are due.
    pub due: u64,
    /// Those that wait for their time.
    pub scheduled: u64,
    /// Those that wait for another.
    pub blocked: u64,
    /// Those at work, abandoned ones included.
    pub running: u64,
    /// Those that were done and are still there, as far as they are [counted](Self::MOST).
    pub done: u64,
    /// Those that failed for good, likewise.
    pub dead: u64,
    /// Those that were cancelled and are still there, likewise.
    pub cancelled: u64,
    /// Since when the one that is due longest has been due.
    pub oldest_due: Option<Timestamp>,
}

impl JobCounts {
    /// How many of the jobs that were done are counted, over all kinds, and as many of those that failed for good, and of
    /// those that were cancelled: the newest. Counting all of them would take the longer, the more is done in a day.
    pub const MOST: usize = 100_000;

    /// No jobs of a kind that is not paused.
    pub const fn none(kind: JobKind) -> Self {
        Self {
            kind,
            paused: false,
            due: 0,
            scheduled: 0,
            blocked: 0,
            running: 0,
            done: 0,
            dead: 0,
            cancelled: 0,
            oldest_due: None,
        }
    }
}
