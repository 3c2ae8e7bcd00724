use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::{
    JobId, Timestamp,
    ports::{
        ClaimJobs, ClaimedJob, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter, JobKind,
        JobPriority, JobRecord, JobStore, NewJob, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::rows,
    jobs::{self, CLAIMED, Counted, Dialect, End, JOB, Lists, ends},
};
use sqlx::SqliteConnection;

use super::{
    enqueue::enqueue_jobs_in,
    sql::{self, Batched, Bind as _, json_ids, values},
    store::SqliteStore,
};

static DIALECT: LazyLock<Dialect> = LazyLock::new(|| Dialect {
    jobs: "messenger_jobs".to_owned(),
    pauses: "messenger_job_pauses".to_owned(),
    parameters: ["$1", "$2", "$3"],
    top: "",
    limit: "LIMIT $2",
});

pub(super) static BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {JOB} FROM messenger_jobs AS j WHERE j.id = $1"));

pub(super) static LISTS: LazyLock<Lists<String>> = LazyLock::new(|| Lists::new(&DIALECT, |text| text));

pub(super) static COUNT: LazyLock<String> = LazyLock::new(|| jobs::count(&DIALECT, "count(*)"));

/// Those of one kind that are due: of each priority, and of the abandoned ones, no more than are asked for.
pub(super) static DUE: LazyLock<String> = LazyLock::new(|| {
    let waiting = |priority: JobPriority| {
        format!(
            "SELECT * FROM (
                SELECT j.id, j.priority, j.run_at FROM messenger_jobs AS j
                WHERE j.state = 0 AND j.kind = $1 AND j.priority = {} AND j.run_at <= $2
                ORDER BY j.run_at, j.id LIMIT $3
            )",
            priority.as_number()
        )
    };
    let waiting = JobPriority::ALL.map(waiting).join(" UNION ALL ");
    format!(
        "SELECT id FROM (
            {waiting}
            UNION ALL SELECT j.id, j.priority, j.run_at FROM messenger_jobs AS j
            WHERE j.state = 2 AND j.kind = $1 AND j.leased_until < $2
        )
        WHERE NOT EXISTS (SELECT 1 FROM messenger_job_pauses WHERE kind = $1)
        ORDER BY priority, run_at, id LIMIT $3"
    )
});

pub(super) const GIVE_UP: &str = "UPDATE messenger_jobs
    SET state = 4, leased_until = NULL, ended_at = $2, reason = $3
    WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND attempt >= max_attempts";

pub(super) static CLAIM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_jobs
        SET state = 2, attempt = attempt + 1, claims = claims + 1, leased_until = $2
        WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND state IN (0, 2)
        RETURNING {CLAIMED}"
    )
});

pub(super) static RENEW: Batched = Batched::new(|size| {
    format!(
        "UPDATE messenger_jobs AS j SET leased_until = max(j.leased_until, v.column3)
        FROM (VALUES {}) AS v WHERE j.id = +v.column1 AND j.claims = +v.column2 AND j.state = 2
        RETURNING id, claims",
        values(size, 3)
    )
});

/// The outcomes have the numbers of [`End`].
pub(super) static FINISH: Batched = Batched::new(|size| {
    format!(
        "UPDATE messenger_jobs AS j SET
            state = CASE WHEN v.column3 = 0 THEN 3
                WHEN v.column3 = 2 OR v.column3 = 1 AND j.attempt >= j.max_attempts THEN 4 ELSE 0 END,
            ended_at = CASE WHEN v.column3 IN (0, 2) OR v.column3 = 1 AND j.attempt >= j.max_attempts
                THEN v.column6 END,
            run_at = CASE WHEN v.column3 = 3 OR v.column3 = 1 AND j.attempt < j.max_attempts
                THEN v.column4 ELSE j.run_at END,
            attempt = j.attempt - (v.column3 = 3),
            reason = coalesce(v.column5, j.reason),
            leased_until = NULL
        FROM (VALUES {}) AS v WHERE j.id = +v.column1 AND j.claims = +v.column2 AND j.state = 2
        RETURNING id, claims",
        values(size, 6)
    )
});

pub(super) const GO_ON: &str = "UPDATE messenger_jobs SET state = 0
    WHERE state = 1 AND after_id IN (SELECT unhex(value) FROM json_each($1))";

pub(super) const CANCEL: &str = "UPDATE messenger_jobs SET state = 5, leased_until = NULL, ended_at = $2
    WHERE id = $1";

pub(super) const CANCEL_AFTER: &str = "UPDATE messenger_jobs SET state = 5, ended_at = $2
    WHERE state = 1 AND after_id IN (SELECT unhex(value) FROM json_each($1)) RETURNING id";

pub(super) const RETRY: &str = "UPDATE messenger_jobs SET state = 0, run_at = $2,
        attempt = CASE WHEN state >= 3 THEN 0 ELSE attempt END, ended_at = NULL
    WHERE id = $1";

pub(super) const PRUNE: &str = "DELETE FROM messenger_jobs WHERE id IN (
        SELECT id FROM messenger_jobs WHERE state IN (3, 5) AND ended_at < $1 ORDER BY ended_at LIMIT $2
    )";

#[async_trait]
impl JobStore for SqliteStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        if jobs.is_empty() {
            return Ok(vec![]);
        }
        let jobs = jobs.to_vec();
        self.writer.transaction(|conn| Box::pin(async move { enqueue_jobs_in(conn, &jobs).await })).await
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        if claim.kinds.is_empty() {
            return Ok(vec![]);
        }
        let claim = claim.clone();
        self.writer.transaction(|conn| Box::pin(async move { claim_due(conn, &claim).await })).await
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        if claims.is_empty() {
            return Ok(vec![]);
        }
        let asked = jobs::by_id(claims);
        let held =
            self.writer.transaction(move |conn| Box::pin(async move { renew(conn, &asked, until).await }));
        Ok(jobs::held_in_order(claims, held.await?))
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        if finished.is_empty() {
            return Ok(vec![]);
        }
        let finished = finished.to_vec();
        self.writer.transaction(move |conn| Box::pin(async move { finish(conn, &finished, now).await })).await
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        let query = sqlx::query(BY_ID.as_str()).id(id);
        self.one(query, |columns| columns.job()).await?.ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        let before = before.unwrap_or_else(|| JobId::from_bytes([0xff; 16]));
        let query = sqlx::query(LISTS.of(filter).as_str()).id(before).bind(rows(limit));
        let query = match &filter.kind {
            Some(kind) => query.bind(kind.as_str().to_owned()),
            None => query,
        };
        self.all(query, |columns| columns.job()).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        self.writer.transaction(move |conn| Box::pin(self::change(conn, id, change, now))).await
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        let set = if paused {
            "INSERT OR IGNORE INTO messenger_job_pauses (kind) VALUES ($1)"
        } else {
            "DELETE FROM messenger_job_pauses WHERE kind = $1"
        };
        let set = sqlx::query(set).bind(kind.as_str().to_owned());
        self.writer.transaction(|conn| Box::pin(async move { sql::run(conn, set).await.map(drop) })).await
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        let count = sqlx::query(COUNT.as_str()).time(now).bind(rows(JobCounts::MOST));
        Ok(jobs::counts(self.all(count, Counted::read).await?))
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        let prune = sqlx::query(PRUNE).time(before).bind(rows(limit));
        let pruned =
            self.writer.transaction(|conn| Box::pin(async move { sql::run(conn, prune).await })).await?;
        Ok(usize::try_from(pruned).unwrap_or(limit))
    }
}

async fn claim_due(conn: &mut SqliteConnection, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
    let mut due: Vec<JobId> = vec![];
    for (kind, limit) in &claim.kinds {
        let query = sqlx::query(DUE.as_str()).bind(kind.as_str()).time(claim.now).bind(rows(*limit));
        due.append(&mut sql::all(conn, query, |columns| columns.id()).await?);
    }
    if due.is_empty() {
        return Ok(vec![]);
    }
    let due = json_ids(&due);
    let give_up = sqlx::query(GIVE_UP).bind(due.as_str()).time(claim.now).bind(JobRecord::ABANDONED);
    sql::run(conn, give_up).await?;
    let query = sqlx::query(CLAIM.as_str()).bind(due).time(claim.until);
    let claimed = sql::all(conn, query, |columns| columns.claimed_job()).await?;
    Ok(jobs::in_order(claim, claimed))
}

async fn renew(
    conn: &mut SqliteConnection,
    claims: &[JobClaim],
    until: Timestamp,
) -> StoreResult<Vec<JobClaim>> {
    let mut held = vec![];
    for part in claims.chunks(Batched::MAX) {
        let size = Batched::size(part.len());
        let mut query = sqlx::query(RENEW.of(size));
        for claim in part {
            query = query.id(claim.job).bind(i64::from(claim.number)).time(until);
        }
        let query = query.nulls((size - part.len()) * 3);
        held.append(&mut sql::all(conn, query, |columns| columns.job_claim()).await?);
    }
    Ok(held)
}

async fn finish(
    conn: &mut SqliteConnection,
    finished: &[FinishedJob],
    now: Timestamp,
) -> StoreResult<Vec<bool>> {
    let mut held = vec![];
    let ends = ends(finished);
    for part in ends.chunks(Batched::MAX) {
        let size = Batched::size(part.len());
        let mut query = sqlx::query(FINISH.of(size));
        for end in part {
            query = query
                .id(end.claim.job)
                .bind(i64::from(end.claim.number))
                .bind(end.outcome)
                .bind(end.run_at.map(|at| at.as_micros()))
                .bind(end.reason)
                .time(now);
        }
        let query = query.nulls((size - part.len()) * 6);
        held.append(&mut sql::all(conn, query, |columns| columns.job_claim()).await?);
    }
    let done = ends.iter().filter(|end| end.outcome == End::DONE && held.contains(&end.claim));
    let done: Vec<_> = done.map(|end| end.claim.job).collect();
    if !done.is_empty() {
        sql::run(conn, sqlx::query(GO_ON).bind(json_ids(&done))).await?;
    }
    Ok(jobs::were_held(finished, held))
}

async fn change(
    conn: &mut SqliteConnection,
    id: JobId,
    change: JobChange,
    now: Timestamp,
) -> StoreResult<JobRecord> {
    let before = sql::one(conn, sqlx::query(BY_ID.as_str()).id(id), |columns| columns.job()).await?;
    let before = before.ok_or(StoreErrorKind::NotFound)?;
    if !change.is_possible(&before, now) {
        return Err(StoreErrorKind::Conflict.into());
    }
    match change {
        JobChange::Retry => sql::run(conn, sqlx::query(RETRY).id(id).time(now)).await.map(drop)?,
        JobChange::Cancel => {
            sql::run(conn, sqlx::query(CANCEL).id(id).time(now)).await?;
            cancel_after(conn, id, now).await?;
        }
        JobChange::Drop => {
            sql::run(conn, sqlx::query("DELETE FROM messenger_jobs WHERE id = $1").id(id)).await?;
            cancel_after(conn, id, now).await?;
        }
    }
    Ok(before)
}

/// Cancels those that wait for this one, those that wait for them, and so on.
async fn cancel_after(conn: &mut SqliteConnection, id: JobId, now: Timestamp) -> StoreResult<()> {
    let mut cancelled = vec![id];
    while !cancelled.is_empty() {
        let cancel = sqlx::query(CANCEL_AFTER).bind(json_ids(&cancelled)).time(now);
        cancelled = sql::all(conn, cancel, |columns| columns.id()).await?;
    }
    Ok(())
}
