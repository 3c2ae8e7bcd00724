use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{JobId, Timestamp},
    ports::{Enqueued, MoveSchedule, ScheduleName, ScheduleRecord, ScheduleStore, StoreResult},
};

/// A schedule, but for its name.
#[derive(Debug)]
pub(super) struct Schedule {
    rule: String,
    next_at: Timestamp,
    last_job: Option<JobId>,
}

#[async_trait]
impl ScheduleStore for MemoryStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let schedule = state.schedules.get(&moved.name);
        if schedule.map(|schedule| schedule.next_at) != moved.expected {
            return Ok(false);
        }
        let last_job = schedule.and_then(|schedule| schedule.last_job);
        let new = moved.job.as_ref().filter(|job| state.jobs.enqueue(job) == Enqueued::New);
        let last_job = new.map(|job| job.id).or(last_job);
        let schedule = Schedule { rule: moved.rule.clone(), next_at: moved.next_at, last_job };
        state.schedules.insert(moved.name.clone(), schedule);
        Ok(true)
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        let state = self.lock()?;
        let record = |(name, schedule): (&ScheduleName, &Schedule)| ScheduleRecord {
            name: name.clone(),
            rule: schedule.rule.clone(),
            next_at: schedule.next_at,
            last_job: schedule.last_job,
        };
        Ok(state.schedules.iter().map(record).collect())
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        Ok(self.lock()?.schedules.remove(name).is_some())
    }
}
