use async_trait::async_trait;
use futures::TryStreamExt as _;
use messenger_core::{
    JobId, Timestamp,
    ports::{
        ClaimJobs, ClaimedJob, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter, JobKind,
        JobRecord, JobStore, NewJob, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::rows,
    jobs::{self, Counted, ends},
};
use sqlx::PgConnection;

use super::{
    connections::{Mode, Session},
    enqueue::Way,
    errors::{is_worth_another_try, store_error},
    sql::{Bind as _, Columns, Query},
    store::PostgresStore,
};
use crate::row::Fetched;

/// How many times a write is tried when others are in its way. Locks are taken in a fixed order, so this is rare.
const ATTEMPTS: usize = 5;

#[async_trait]
impl JobStore for PostgresStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        if jobs.is_empty() {
            return Ok(vec![]);
        }
        let way = Way::of(jobs);
        let make = || way.bind(self.query(way.statement(self.sql())), jobs);
        way.answers(jobs, self.write(make, move |columns| way.read(columns)).await?)
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        if claim.kinds.is_empty() {
            return Ok(vec![]);
        }
        let make = || {
            self.query(&self.sql().jobs.claim)
                .bind(claim.kinds.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>())
                .bind(claim.kinds.iter().map(|(_, limit)| rows(*limit)).collect::<Vec<_>>())
                .time(claim.now)
                .time(claim.until)
                .bind(JobRecord::ABANDONED)
        };
        Ok(jobs::in_order(claim, self.write(make, |columns| columns.claimed_job()).await?))
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        if claims.is_empty() {
            return Ok(vec![]);
        }
        let asked = jobs::by_id(claims);
        let make = || {
            self.query(&self.sql().jobs.renew)
                .ids(asked.iter().map(|claim| &claim.job))
                .bind(asked.iter().map(|claim| i64::from(claim.number)).collect::<Vec<_>>())
                .time(until)
        };
        Ok(jobs::held_in_order(claims, self.write(make, |columns| columns.job_claim()).await?))
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        if finished.is_empty() {
            return Ok(vec![]);
        }
        let ends = ends(finished);
        let make = || {
            self.query(&self.sql().jobs.finish)
                .ids(ends.iter().map(|end| &end.claim.job))
                .bind(ends.iter().map(|end| i64::from(end.claim.number)).collect::<Vec<_>>())
                .bind(ends.iter().map(|end| end.outcome).collect::<Vec<_>>())
                .bind(ends.iter().map(|end| end.run_at.map(|at| at.as_micros())).collect::<Vec<_>>())
                .bind(ends.iter().map(|end| end.reason.map(storable)).collect::<Vec<_>>())
                .time(now)
        };
        Ok(jobs::were_held(finished, self.write(make, |columns| columns.job_claim()).await?))
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        let query = self.query(&self.sql().jobs.by_id).id(id);
        self.one(query, |columns| columns.job()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        let before = before.unwrap_or_else(|| JobId::from_bytes([0xff; 16]));
        let query = self.query(self.sql().jobs.lists.of(filter)).id(before).bind(rows(limit));
        let query = match &filter.kind {
            Some(kind) => query.bind(kind.as_str().to_owned()),
            None => query,
        };
        self.all_planned(query, |columns| columns.job()).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        let mut attempt = 1;
        loop {
            let done =
                self.run(Mode::Transaction, move |session| Box::pin(self::change(session, id, change, now)));
            match done.await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        let sql = &self.sql().jobs;
        let query = self.query(if paused { &sql.pause } else { &sql.resume }).bind(kind.as_str().to_owned());
        self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await.map(drop)
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        let query = self.query(&self.sql().jobs.count).time(now).bind(rows(JobCounts::MOST));
        Ok(jobs::counts(self.all_planned(query, Counted::read).await?))
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        let query = self.query(&self.sql().jobs.prune).time(before).bind(rows(limit));
        let pruned = self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await?;
        Ok(usize::try_from(pruned).unwrap_or(limit))
    }
}

impl PostgresStore {
    /// Stores jobs in the transaction that a connection to the same database has, such as one of the host's own: both
    /// are committed, or none. The connection needs the [rights] of the store, whose schema is used.
    ///
    /// The transaction should be `READ COMMITTED`, as is the default; in a stricter one a job whose unique key is in
    /// use by a later transaction is an error. Who enqueues a job of the same key waits until the transaction has ended.
    ///
    /// [rights]: https://www.postgresql.org/docs/current/ddl-priv.html
    ///
    /// # Errors
    /// As [`enqueue_jobs`](JobStore::enqueue_jobs). The transaction can then only be rolled back.
    ///
    /// ```no_run
    /// use messenger_core::{context::Context, ports::{Content, JobPriority, NewJob}};
    /// use messenger_sqlx::PostgresStore;
    /// use sqlx::PgPool;
    /// # use messenger_sqlx::sqlx;
    ///
    /// async fn order(pool: &PgPool, store: &PostgresStore, context: &Context) -> Result<(), Box<dyn std::error::Error>> {
    ///     let job = NewJob {
    ///         id: context.id(),
    ///         kind: "invoices.send".parse()?,
    ///         payload: Content::from(r#"{"order": 7}"#),
    ///         priority: JobPriority::Normal,
    ///         run_at: context.now(),
    ///         max_attempts: 20,
    ///         unique: None,
    ///         after: None,
    ///         created_at: context.now(),
    ///     };
    ///     // The order and its job: both or none.
    ///     let mut transaction = pool.begin().await?;
    ///     sqlx::query("INSERT INTO orders (number) VALUES (7)").execute(&mut *transaction).await?;
    ///     store.enqueue_jobs_in(&mut transaction, &[job]).await?;
    ///     transaction.commit().await?;
    ///     Ok(())
    /// }
    /// ```
    pub async fn enqueue_jobs_in(
        &self,
        conn: &mut PgConnection,
        jobs: &[NewJob],
    ) -> StoreResult<Vec<Enqueued>> {
        if jobs.is_empty() {
            return Ok(vec![]);
        }
        let way = Way::of(jobs);
        let query = way.bind(self.query(way.statement(self.sql())), jobs);
        let mut said = vec![];
        let mut rows = query.fetch(conn);
        while let Some(row) = rows.try_next().await.map_err(store_error)? {
            said.push(way.read(&mut Columns::of(&Fetched(row)))?);
        }
        way.answers(jobs, said)
    }

    /// Runs one statement, again if others were in its way.
    async fn write<T: Send + 'static>(
        &self,
        make: impl Fn() -> Query,
        read: impl FnMut(&mut Columns<'_>) -> StoreResult<T> + Clone + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        let mut attempt = 1;
        loop {
            let (query, read) = (make(), read.clone());
            match self.run(Mode::Statement, |session| Box::pin(session.all(query, read))).await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }
}

/// The server's texts have no character NUL.
fn storable(reason: &str) -> String {
    reason.replace('\0', "\u{fffd}")
}

async fn change(
    session: &mut Session,
    id: JobId,
    change: JobChange,
    now: Timestamp,
) -> StoreResult<JobRecord> {
    let look = session.query(&session.statements.jobs.lock).id(id);
    let before = session.one(look, |columns| columns.job()).await?.ok_or(StoreErrorKind::NotFound)?;
    if !change.is_possible(&before, now) {
        return Err(StoreErrorKind::Conflict.into());
    }
    let sql = &session.statements.jobs;
    let query = match change {
        JobChange::Retry => session.query(&sql.retry).id(id).time(now),
        JobChange::Cancel => session.query(&sql.cancel).id(id).time(now),
        JobChange::Drop => session.query(&sql.remove).id(id),
    };
    session.execute(query).await?;
    if change != JobChange::Retry {
        cancel_after(session, id, now).await?;
    }
    Ok(before)
}

/// Cancels those that wait for this one, those that wait for them, and so on.
async fn cancel_after(session: &mut Session, id: JobId, now: Timestamp) -> StoreResult<()> {
    let mut cancelled = vec![id];
    while !cancelled.is_empty() {
        let cancel = session.query(&session.statements.jobs.cancel_after).ids(&cancelled).time(now);
        cancelled = session.all(cancel, |columns| columns.id()).await?;
    }
    Ok(())
}
