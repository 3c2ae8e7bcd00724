//! A job that recurs, and the step from one of its times to the next.

use crate::{
    context::Context,
    domain::Timestamp,
    jobs::schedule::Schedule,
    ports::{Content, JobKind, JobPriority, MoveSchedule, NewJob, ScheduleName, ScheduleRecord, UniqueJob},
};

/// A job that recurs.
#[derive(Debug, Clone)]
pub(crate) struct Recurring {
    pub(crate) name: ScheduleName,
    pub(crate) schedule: Schedule,
    pub(crate) kind: JobKind,
    pub(crate) payload: Content,
    pub(crate) priority: JobPriority,
    pub(crate) max_attempts: u32,
}

impl Recurring {
    /// What is to be done now.
    pub(super) fn step(&self, known: Option<&ScheduleRecord>, context: &Context) -> Option<MoveSchedule> {
        let now = context.now();
        let due = known.filter(|known| known.next_at <= now).map(|known| known.next_at);
        // What is due is enqueued whatever its rule was: of two releases that differ in it, each sets its own.
        if due.is_none() && known.is_some_and(|known| known.rule == self.schedule.rule()) {
            return None;
        }
        Some(MoveSchedule {
            name: self.name.clone(),
            expected: known.map(|known| known.next_at),
            next_at: self.schedule.next_after(now)?,
            rule: self.schedule.rule().to_owned(),
            job: due.map(|due| self.job(due, context)),
        })
    }

    fn job(&self, due: Timestamp, context: &Context) -> NewJob {
        NewJob {
            id: context.id(),
            kind: self.kind.clone(),
            payload: self.payload.clone(),
            priority: self.priority,
            run_at: due,
            max_attempts: self.max_attempts,
            // One that is not over yet is not overtaken by the next one.
            unique: Some(UniqueJob { key: format!("schedule {}", self.name), since: None }),
            after: None,
            created_at: context.now(),
        }
    }
}
