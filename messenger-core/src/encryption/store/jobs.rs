use async_trait::async_trait;

use super::SealedStore;
use crate::{
    domain::{JobId, Timestamp},
    encryption::{place::Place, sealer::Sealer},
    ports::{
        ClaimJobs, ClaimedJob, Content, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter,
        JobKind, JobOutcome, JobRecord, JobStore, MoveSchedule, NewJob, ScheduleName, ScheduleRecord,
        ScheduleStore, StoreResult,
    },
};

impl SealedStore {
    pub(super) async fn seal_job(&self, job: &NewJob) -> StoreResult<NewJob> {
        let payload = self.sealer.seal(&Place::Payload { job: job.id }, &job.payload).await?;
        Ok(NewJob { payload, ..job.clone() })
    }

    pub(super) async fn seal_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<NewJob>> {
        let mut sealed = Vec::with_capacity(jobs.len());
        for job in jobs {
            sealed.push(self.seal_job(job).await?);
        }
        Ok(sealed)
    }

    async fn seal_reason(&self, job: JobId, reason: &str) -> StoreResult<String> {
        self.sealer.seal_text(&Place::Reason { job }, &Content::from(reason)).await?.into_text()
    }

    async fn seal_outcome(&self, finished: &FinishedJob) -> StoreResult<FinishedJob> {
        let FinishedJob { claim, outcome } = finished.clone();
        let outcome = match outcome {
            JobOutcome::Failed { retry_at, reason } => {
                JobOutcome::Failed { retry_at, reason: self.seal_reason(claim.job, &reason).await? }
            }
            JobOutcome::Dead { reason } => {
                JobOutcome::Dead { reason: self.seal_reason(claim.job, &reason).await? }
            }
            outcome @ (JobOutcome::Done | JobOutcome::Snoozed { .. }) => outcome,
        };
        Ok(FinishedJob { claim, outcome })
    }

    fn open_payload(&self, job: JobId, payload: &mut Content) -> StoreResult<()> {
        self.sealer.open_in_place(&self.sealer.shared_key(), &Place::Payload { job }, payload)
    }

    fn open_job(&self, mut job: JobRecord) -> StoreResult<JobRecord> {
        self.open_payload(job.id, &mut job.payload)?;
        // A store has a reason of its own, which is not sealed.
        if let Some(reason) = job.reason.take() {
            let mut reason = Content::from(reason);
            if Sealer::is_sealed(&reason) {
                self.sealer.open_text(
                    &self.sealer.shared_key(),
                    &Place::Reason { job: job.id },
                    &mut reason,
                )?;
            }
            job.reason = Some(reason.into_text().unwrap_or_else(|_| UNREADABLE.to_owned()));
        }
        Ok(job)
    }
}

/// Stands for a reason that does not open.
const UNREADABLE: &str = "the reason can't be read";

#[async_trait]
impl JobStore for SealedStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        self.inner.enqueue_jobs(&self.seal_jobs(jobs).await?).await
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        let mut claimed = self.inner.claim_jobs(claim).await?;
        for job in &mut claimed {
            self.open_payload(job.claim.job, &mut job.payload)?;
        }
        Ok(claimed)
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        self.inner.renew_jobs(claims, until).await
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        let mut sealed = Vec::with_capacity(finished.len());
        for finished in finished {
            sealed.push(self.seal_outcome(finished).await?);
        }
        self.inner.finish_jobs(&sealed, now).await
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        self.open_job(self.inner.job(id).await?)
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        let jobs = self.inner.jobs(filter, before, limit).await?;
        jobs.into_iter().map(|job| self.open_job(job)).collect()
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        self.open_job(self.inner.change_job(id, change, now).await?)
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        self.inner.pause_jobs(kind, paused).await
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        self.inner.job_counts(now).await
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.inner.prune_jobs(before, limit).await
    }
}

#[async_trait]
impl ScheduleStore for SealedStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let job = match &moved.job {
            Some(job) => Some(self.seal_job(job).await?),
            None => None,
        };
        self.inner.move_schedule(&MoveSchedule { job, ..moved.clone() }).await
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.inner.schedules().await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        self.inner.remove_schedule(name).await
    }
}
