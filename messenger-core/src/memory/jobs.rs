use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{JobId, Timestamp},
    ports::{
        ClaimJobs, ClaimedJob, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter, JobKind,
        JobOutcome, JobRecord, JobState, JobStore, NewJob, StoreErrorKind, StoreResult, Unique,
    },
};

#[async_trait]
impl JobStore for MemoryStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        let mut state = self.lock()?;
        Ok(jobs.iter().map(|job| state.jobs.enqueue(job)).collect())
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        let mut state = self.lock()?;
        Ok(claim.kinds.iter().flat_map(|(kind, limit)| state.jobs.claim(kind, *limit, claim)).collect())
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        let mut state = self.lock()?;
        let renew = |claim: &JobClaim| {
            let job = state.jobs.held(*claim)?;
            job.record.leased_until = job.record.leased_until.max(Some(until));
            Some(claim.job)
        };
        Ok(claims.iter().filter_map(renew).collect())
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        let mut state = self.lock()?;
        Ok(finished.iter().map(|finished| state.jobs.finish(finished, now)).collect())
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        let state = self.lock()?;
        let job = state.jobs.by_id.get(&id);
        job.map(|job| job.record.clone()).ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        let state = self.lock()?;
        let newest_first = state.jobs.by_id.values().rev().map(|job| &job.record);
        let wanted = newest_first.filter(|job| {
            filter.kind.as_ref().is_none_or(|kind| *kind == job.kind)
                && filter.state.is_none_or(|state| state == job.state)
                && before.is_none_or(|before| job.id < before)
        });
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        let mut state = self.lock()?;
        let jobs = &mut state.jobs;
        let before = jobs.by_id.get(&id).ok_or(StoreErrorKind::NotFound)?.record.clone();
        if !change.is_possible(&before, now) {
            return Err(StoreErrorKind::Conflict.into());
        }
        match change {
            JobChange::Retry => jobs.retry(&before, now)?,
            JobChange::Cancel => jobs.cancel(id, now),
            JobChange::Drop => {
                jobs.cancel_those_after(id, now);
                jobs.by_id.remove(&id);
            }
        }
        Ok(before)
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        let mut state = self.lock()?;
        if paused {
            state.jobs.paused.insert(kind.clone());
        } else {
            state.jobs.paused.remove(kind);
        }
        Ok(())
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        Ok(self.lock()?.jobs.counts(now))
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        let mut state = self.lock()?;
        let jobs = state.jobs.by_id.values().map(|job| &job.record);
        let old = jobs.filter(|job| {
            matches!(job.state, JobState::Done | JobState::Cancelled) && job.ended_at < Some(before)
        });
        let old: Vec<_> = old.map(|job| job.id).take(limit).collect();
        old.iter().for_each(|id| drop(state.jobs.by_id.remove(id)));
        Ok(old.len())
    }
}

/// The jobs, and the kinds that are paused.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_id: BTreeMap<JobId, Stored>,
    paused: BTreeSet<JobKind>,
}

#[derive(Debug)]
struct Stored {
    record: JobRecord,
    /// The number of the last claim.
    claims: u32,
}

impl Jobs {
    pub(super) fn enqueue(&mut self, job: &NewJob) -> Enqueued {
        if self.by_id.contains_key(&job.id) {
            return Enqueued::Existing(job.id);
        }
        if let Some(unique) = &job.unique {
            let since = |existing: &JobRecord| {
                existing.state == JobState::Done
                    && unique.since.is_some_and(|since| existing.created_at >= since)
            };
            if let Some(existing) = self.of_key(&job.kind, &unique.key, since) {
                return Enqueued::Existing(existing);
            }
        }
        let state = self.state_after(job.after);
        let record = JobRecord {
            id: job.id,
            kind: job.kind.clone(),
            payload: job.payload.clone(),
            priority: job.priority,
            state,
            run_at: job.run_at,
            attempt: 0,
            max_attempts: job.max_attempts,
            unique_key: job.unique.as_ref().map(|unique| unique.key.clone()),
            after: job.after,
            created_at: job.created_at,
            leased_until: None,
            ended_at: state.has_ended().then_some(job.created_at),
            reason: None,
        };
        self.by_id.insert(job.id, Stored { record, claims: 0 });
        Enqueued::New
    }

    /// The job that has this key: one that has not ended, or another that `counts`.
    fn of_key(&self, kind: &JobKind, key: &str, counts: impl Fn(&JobRecord) -> bool) -> Option<JobId> {
        let jobs = self.by_id.values().map(|job| &job.record);
        let mut of_key = jobs.filter(|job| job.kind == *kind && job.unique_key.as_deref() == Some(key));
        of_key.find(|job| !job.state.has_ended() || counts(job)).map(|job| job.id)
    }

    /// The state of a job that waits for this one.
    fn state_after(&self, other: Option<JobId>) -> JobState {
        JobState::after(other.and_then(|other| self.by_id.get(&other)).map(|other| other.record.state))
    }

    fn claim(&mut self, kind: &JobKind, limit: usize, claim: &ClaimJobs) -> Vec<ClaimedJob> {
        if self.paused.contains(kind) {
            return vec![];
        }
        let of_kind = self.by_id.values_mut().filter(|job| job.record.kind == *kind);
        let mut due: Vec<_> = of_kind
            .filter(|job| match job.record.state {
                JobState::Waiting => job.record.run_at <= claim.now,
                JobState::Running => job.record.leased_until < Some(claim.now),
                _ => false,
            })
            .collect();
        due.sort_by_key(|job| (job.record.priority, job.record.run_at, job.record.id));
        let taken = due.into_iter().take(limit);
        taken.filter_map(|job| job.claim(claim)).collect()
    }

    fn held(&mut self, claim: JobClaim) -> Option<&mut Stored> {
        let job = self.by_id.get_mut(&claim.job)?;
        (job.record.state == JobState::Running && job.claims == claim.number).then_some(job)
    }

    fn finish(&mut self, finished: &FinishedJob, now: Timestamp) -> bool {
        let Some(job) = self.held(finished.claim) else { return false };
        job.record.leased_until = None;
        match &finished.outcome {
            JobOutcome::Done => job.end(JobState::Done, now),
            JobOutcome::Failed { reason, .. } if job.record.attempt >= job.record.max_attempts => {
                job.record.reason = Some(reason.clone());
                job.end(JobState::Dead, now);
            }
            JobOutcome::Failed { retry_at, reason } => {
                job.record.reason = Some(reason.clone());
                job.wait(*retry_at);
            }
            JobOutcome::Dead { reason } => {
                job.record.reason = Some(reason.clone());
                job.end(JobState::Dead, now);
            }
            JobOutcome::Snoozed { until } => {
                job.record.attempt -= 1;
                job.wait(*until);
            }
        }
        if finished.outcome == JobOutcome::Done {
            self.blocked_by(finished.claim.job).for_each(|job| job.record.state = JobState::Waiting);
        }
        true
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &JobRecord> {
        self.by_id.values().map(|stored| &stored.record)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut JobRecord> {
        self.by_id.get_mut(&job).map(|stored| &mut stored.record)
    }

    fn blocked_by(&mut self, other: JobId) -> impl Iterator<Item = &mut Stored> {
        let jobs = self.by_id.values_mut();
        jobs.filter(move |job| job.record.state == JobState::Blocked && job.record.after == Some(other))
    }

    fn retry(&mut self, before: &JobRecord, now: Timestamp) -> StoreResult<()> {
        if let Some(key) = before.unique_key.as_deref().filter(|_| before.state.has_ended())
            && self.of_key(&before.kind, key, |_| false).is_some()
        {
            return Err(StoreErrorKind::AlreadyExists(Unique::Job).into());
        }
        if let Some(job) = self.by_id.get_mut(&before.id) {
            if before.state.has_ended() {
                job.record.attempt = 0;
                job.record.ended_at = None;
            }
            job.wait(now);
        }
        Ok(())
    }

    fn cancel(&mut self, id: JobId, now: Timestamp) {
        if let Some(job) = self.by_id.get_mut(&id) {
            job.end(JobState::Cancelled, now);
        }
        self.cancel_those_after(id, now);
    }

    fn cancel_those_after(&mut self, id: JobId, now: Timestamp) {
        let blocked: Vec<_> = self.blocked_by(id).map(|job| job.record.id).collect();
        blocked.into_iter().for_each(|id| self.cancel(id, now));
    }

    fn counts(&self, now: Timestamp) -> Vec<JobCounts> {
        let mut counts: BTreeMap<&JobKind, JobCounts> = BTreeMap::new();
        for kind in &self.paused {
            counts.insert(kind, JobCounts { paused: true, ..JobCounts::none(kind.clone()) });
        }
        for job in self.by_id.values().map(|job| &job.record) {
            let of_kind = counts.entry(&job.kind).or_insert_with(|| JobCounts::none(job.kind.clone()));
            let is_due = job.state == JobState::Waiting && job.run_at <= now;
            let count = match job.state {
                JobState::Waiting if is_due => &mut of_kind.due,
                JobState::Waiting => &mut of_kind.scheduled,
                JobState::Blocked => &mut of_kind.blocked,
                JobState::Running => &mut of_kind.running,
                JobState::Done => &mut of_kind.done,
                JobState::Dead => &mut of_kind.dead,
                JobState::Cancelled => &mut of_kind.cancelled,
            };
            *count += 1;
            if is_due {
                let oldest = of_kind.oldest_due.map_or(Reverse(job.run_at), Reverse).max(Reverse(job.run_at));
                of_kind.oldest_due = Some(oldest.0);
            }
        }
        counts.into_values().collect()
    }
}

impl Stored {
    /// `None` if it has had its last attempt, and its worker died in it.
    fn claim(&mut self, claim: &ClaimJobs) -> Option<ClaimedJob> {
        if self.record.attempt >= self.record.max_attempts {
            self.record.reason = Some(JobRecord::ABANDONED.to_owned());
            self.end(JobState::Dead, claim.now);
            return None;
        }
        self.record.attempt += 1;
        self.claims += 1;
        self.record.state = JobState::Running;
        self.record.leased_until = Some(claim.until);
        Some(ClaimedJob {
            claim: JobClaim { job: self.record.id, number: self.claims },
            kind: self.record.kind.clone(),
            payload: self.record.payload.clone(),
            attempt: self.record.attempt,
            max_attempts: self.record.max_attempts,
            run_at: self.record.run_at,
            created_at: self.record.created_at,
        })
    }

    fn wait(&mut self, run_at: Timestamp) {
        self.record.state = JobState::Waiting;
        self.record.run_at = run_at;
    }

    fn end(&mut self, state: JobState, now: Timestamp) {
        self.record.state = state;
        self.record.leased_until = None;
        self.record.ended_at = Some(now);
    }
}
