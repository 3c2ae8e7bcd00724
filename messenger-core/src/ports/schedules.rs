use std::fmt;

use async_trait::async_trait;

use super::{NewJob, StoreResult, jobs::is_name};
use crate::domain::{JobId, Timestamp};

/// Schedules of jobs that recur.
///
/// A schedule has the time at which it is due next. Whoever finds that this has come enqueues the job and sets the time
/// after it, in one step that depends on the time from which it set out: so of many nodes one does it, and a time that
/// was missed is made up for once.
#[async_trait]
pub trait ScheduleStore: Send + Sync + 'static {
    /// Sets the next time of a schedule and enqueues its job, both or nothing, and tells whether it did: only if the
    /// schedule is where it is [expected](MoveSchedule::expected) to be. A job that
    /// [`enqueue_jobs`](super::JobStore::enqueue_jobs) would pass over is passed over, and the time is set all the same.
    ///
    /// # Behavior
    /// - `move_schedule_enqueues_its_job`
    /// - `move_schedule_without_a_job_sets_its_time`
    /// - `move_schedule_from_another_time_is_nothing`
    /// - `move_schedule_passes_over_a_job_whose_key_is_in_use`
    /// - `move_schedule_of_many_racers_is_done_by_one`
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool>;

    /// All schedules, by name.
    ///
    /// # Behavior
    /// - `schedules_lists_by_name`
    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>>;

    /// Forgets a schedule, and tells whether there was one. Jobs that it has enqueued stay.
    ///
    /// # Behavior
    /// - `remove_schedule_forgets_it`
    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool>;
}

/// The name of a schedule: 1 to 64 of the characters `a` to `z`, `0` to `9`, `.`, `-` and `_`.
///
/// ```
/// use messenger_core::ports::ScheduleName;
///
/// let name: ScheduleName = "invoices.monthly".parse()?;
/// assert_eq!(name.as_str(), "invoices.monthly");
/// assert!("Every month".parse::<ScheduleName>().is_err());
/// # Ok::<(), messenger_core::ports::InvalidScheduleName>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(text: &str) -> Result<Self, InvalidScheduleName> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidScheduleName) }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a schedule is 1 to 64 of the characters a-z, 0-9, `.`, `-` and `_`")]
pub struct InvalidScheduleName;

/// A step of a schedule from one time to the next.
#[derive(Debug, Clone)]
pub struct MoveSchedule {
    /// Which.
    pub name: ScheduleName,
    /// The time at which it is due as far as is known; `None` if there is no such schedule yet.
    pub expected: Option<Timestamp>,
    /// When it is due next.
    pub next_at: Timestamp,
    /// How its times follow each other, for people and for those who want to know whether it was changed; 1 to 200
    /// bytes of ASCII.
    pub rule: String,
    /// The job whose time has come; `None` to set the time alone, for instance when the schedule is made.
    pub job: Option<NewJob>,
}

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRecord {
    /// Its name.
    pub name: ScheduleName,
    /// How its times follow each other.
    pub rule: String,
    /// When it is due next.
    pub next_at: Timestamp,
    /// The job that it has enqueued last, which may have been removed since.
    pub last_job: Option<JobId>,
}
