use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    JobId, Timestamp,
    ports::{
        ClaimJobs, ClaimedJob, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter, JobKind,
        JobRecord, JobStore, NewJob, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::rows,
    jobs::{self, Counted, End, ends},
};

use crate::{
    call::Call,
    enqueue::enqueue,
    sql::{Bytes, fits, int, numbered},
    store::MssqlStore,
};

#[async_trait]
impl JobStore for MssqlStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        enqueue(self, jobs).await
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        fits(claim.kinds.len())?;
        if claim.kinds.is_empty() {
            return Ok(vec![]);
        }
        let (mut kinds, mut bytes) = (vec![], Bytes::default());
        for (kind, limit) in &claim.kinds {
            kinds.extend_from_slice(&int(bytes.push(kind.as_str().as_bytes())));
            kinds.extend_from_slice(&int(kind.as_str().len()));
            kinds.extend_from_slice(&rows(*limit).to_be_bytes());
        }
        let call = Call::procedure(Arc::clone(&self.sql().jobs.claim))
            .bytes("@kinds", kinds)
            .bytes("@bytes", bytes.into_bytes())
            .time("@now", claim.now)
            .time("@until", claim.until)
            .bytes("@abandoned", JobRecord::ABANDONED.as_bytes());
        Ok(jobs::in_order(claim, self.all(call, |columns| columns.claimed_job()).await?))
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        fits(claims.len())?;
        if claims.is_empty() {
            return Ok(vec![]);
        }
        let asked = jobs::by_id(claims);
        let asked = numbered(asked.iter().map(|claim| (claim.job, i64::from(claim.number))));
        let call =
            Call::procedure(Arc::clone(&self.sql().jobs.renew)).bytes("@claims", asked).time("@until", until);
        Ok(jobs::held_in_order(claims, self.all(call, |columns| columns.job_claim()).await?))
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        fits(finished.len())?;
        if finished.is_empty() {
            return Ok(vec![]);
        }
        let (ends, bytes) = packed(&ends(finished));
        let call = Call::procedure(Arc::clone(&self.sql().jobs.finish))
            .bytes("@ends", ends)
            .bytes("@bytes", bytes)
            .time("@now", now);
        Ok(jobs::were_held(finished, self.all(call, |columns| columns.job_claim()).await?))
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        let call = Call::statement(Arc::clone(&self.sql().jobs.by_id)).id("@P1", id);
        self.one(call, |columns| columns.job()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        let before = before.unwrap_or_else(|| JobId::from_bytes([0xff; 16]));
        let call = Call::statement(Arc::clone(self.sql().jobs.lists.of(filter)));
        let call = call.id("@P1", before).number("@P2", rows(limit));
        let call = match &filter.kind {
            Some(kind) => call.bytes("@P3", kind.as_str().as_bytes()),
            None => call,
        };
        self.all(call, |columns| columns.job()).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        let change = match change {
            JobChange::Retry => 0,
            JobChange::Cancel => 1,
            JobChange::Drop => 2,
        };
        let call = Call::procedure(Arc::clone(&self.sql().jobs.change));
        let call = call.id("@id", id).number("@change", change).time("@now", now);
        self.one(call, |columns| columns.job()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        let sql = &self.sql().jobs;
        let call = Call::statement(Arc::clone(if paused { &sql.pause } else { &sql.resume }));
        match self.done(call.bytes("@P1", kind.as_str().as_bytes())).await {
            // Others have paused it at the same time.
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) => Ok(()),
            done => done,
        }
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        let call = Call::statement(Arc::clone(&self.sql().jobs.count));
        let call = call.time("@P1", now).number("@P2", rows(JobCounts::MOST));
        Ok(jobs::counts(self.all(call, Counted::read).await?))
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        let call = Call::statement(Arc::clone(&self.sql().jobs.prune));
        let call = call.time("@P1", before).number("@P2", rows(limit));
        Ok(self.all(call, |columns| columns.id::<()>()).await?.len())
    }
}

/// The ends, as `messenger_unpack_ends` takes them, and the bytes that they refer to.
fn packed(ends: &[End<'_>]) -> (Vec<u8>, Vec<u8>) {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for end in ends {
        list.extend_from_slice(end.claim.job.as_bytes());
        list.extend_from_slice(&i64::from(end.claim.number).to_be_bytes());
        list.push(u8::try_from(end.outcome).unwrap_or(u8::MAX));
        list.extend_from_slice(&end.run_at.map_or(0, |at| at.as_micros()).to_be_bytes());
        // Position 0 stands for null.
        let reason = end.reason.map(str::as_bytes);
        list.extend_from_slice(&int(reason.map_or(0, |reason| bytes.push(reason))));
        list.extend_from_slice(&int(reason.map_or(0, <[u8]>::len)));
    }
    (list, bytes.into_bytes())
}
