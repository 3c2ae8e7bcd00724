use std::{slice, sync::Arc};

use async_trait::async_trait;
use messenger_core::ports::{
    MoveSchedule, ScheduleName, ScheduleRecord, ScheduleStore, StoreErrorKind, StoreResult,
};

use crate::{
    call::Call,
    enqueue::{ATTEMPTS, with_jobs},
    store::MssqlStore,
};

#[async_trait]
impl ScheduleStore for MssqlStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let call = Call::procedure(Arc::clone(&self.sql().jobs.move_schedule))
            .bytes("@name", moved.name.as_str().as_bytes())
            .bytes("@rule", moved.rule.as_bytes())
            .time("@next_at", moved.next_at);
        let call = match moved.expected {
            Some(expected) => call.time("@expected", expected),
            None => call,
        };
        let call = match &moved.job {
            Some(job) => with_jobs(call.id("@job", job.id), slice::from_ref(job)),
            None => call,
        };
        let mut attempt = 1;
        loop {
            let Err(error) = self.done(call.clone()).await else { return Ok(true) };
            match error.kind() {
                StoreErrorKind::Conflict => return Ok(false),
                // Others have made it, or stored a job of the same key, at the same time.
                StoreErrorKind::AlreadyExists(_) if attempt < ATTEMPTS => attempt += 1,
                _ => return Err(error),
            }
        }
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.all(Call::statement(Arc::clone(&self.sql().jobs.schedules)), |columns| columns.schedule()).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        let call = Call::statement(Arc::clone(&self.sql().jobs.remove_schedule));
        let removed = self.one(call.bytes("@P1", name.as_str().as_bytes()), |columns| columns.time()).await?;
        Ok(removed.is_some())
    }
}
