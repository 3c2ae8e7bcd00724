//! Stores a batch of jobs, each of which sees those before it.

use std::collections::HashMap;

use messenger_core::{
    JobId,
    ports::{Enqueued, JobKind, JobState, NewJob, StoreErrorKind, StoreResult},
};
use sqlx::SqliteConnection;

use super::sql::{self, Batched, Bind as _, numbered_values, values};

/// For each job: the job that is there already or has its key, and the state of the job that it waits for.
pub(super) static LOOK: Batched = Batched::new(|size| {
    format!(
        "SELECT v.column1, coalesce(
            (SELECT j.id FROM messenger_jobs AS j WHERE j.id = v.column2),
            (SELECT j.id FROM messenger_jobs AS j
                WHERE j.state < 3 AND j.kind = v.column3 AND j.unique_key = v.column4),
            (SELECT j.id FROM messenger_jobs AS j
                WHERE j.state = 3 AND j.kind = v.column3 AND j.unique_key = v.column4 AND j.created_at >= v.column5
                ORDER BY j.created_at LIMIT 1)
        ), (SELECT j.state FROM messenger_jobs AS j WHERE j.id = v.column6)
        FROM (VALUES {}) AS v WHERE v.column2 IS NOT NULL",
        numbered_values(size, 5)
    )
});

pub(super) static INSERT: Batched = Batched::new(|size| {
    format!(
        "INSERT INTO messenger_jobs (id, kind, priority, state, run_at, attempt, max_attempts, claims, created_at,
            ended_at, after_id, unique_key, payload)
        SELECT column1, column2, column3, column4, column5, 0, column6, 0, column7, column8, column9, column10,
            column11
        FROM (VALUES {}) WHERE column1 IS NOT NULL",
        values(size, 11)
    )
});

/// Stores jobs in the transaction that the connection has.
///
/// The transaction must have begun with `BEGIN IMMEDIATE`, in a file that has the tables of this release, such as one
/// that was opened with [`SqliteStore::open`](super::SqliteStore::open). If the transaction is rolled back, so are the
/// jobs.
///
/// # Errors
/// As [`enqueue_jobs`](messenger_core::ports::JobStore::enqueue_jobs). After an error the transaction should be rolled
/// back.
///
/// ```
/// use messenger_core::{context::Context, ports::{Content, Enqueued, JobPriority, JobState, JobStore, NewJob, Store}};
/// use messenger_sqlx::{SqliteStore, sqlite::enqueue_jobs_in};
/// use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
/// # use messenger_sqlx::sqlx;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("chat.db");
/// let store = SqliteStore::builder(&path).shared(true).open().await?;
/// let mut conn = SqliteConnectOptions::new().filename(&path).connect().await?;
/// sqlx::query("CREATE TABLE orders (number INTEGER NOT NULL PRIMARY KEY)").execute(&mut conn).await?;
///
/// let context = Context::system();
/// let job = NewJob {
///     id: context.id(),
///     kind: "invoices.send".parse()?,
///     payload: Content::from(r#"{"order": 7}"#),
///     priority: JobPriority::Normal,
///     run_at: context.now(),
///     max_attempts: 20,
///     unique: None,
///     after: None,
///     created_at: context.now(),
/// };
/// // The order and its job: both or none.
/// let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
/// sqlx::query("INSERT INTO orders (number) VALUES (7)").execute(&mut *transaction).await?;
/// assert_eq!(enqueue_jobs_in(&mut transaction, &[job.clone()]).await?, [Enqueued::New]);
/// transaction.commit().await?;
/// assert_eq!(store.job(job.id).await?.state, JobState::Waiting);
/// # conn.close().await?;
/// # store.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn enqueue_jobs_in(conn: &mut SqliteConnection, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
    let mut answers = Vec::with_capacity(jobs.len());
    for part in jobs.chunks(Batched::MAX) {
        enqueue_part(conn, part, &mut answers).await?;
    }
    Ok(answers)
}

async fn enqueue_part(
    conn: &mut SqliteConnection,
    jobs: &[NewJob],
    answers: &mut Vec<Enqueued>,
) -> StoreResult<()> {
    let found = look(conn, jobs).await?;
    let mut batch = Batch::default();
    let mut new = Vec::with_capacity(jobs.len());
    for (job, found) in jobs.iter().zip(found) {
        let answer = batch.take(job, found);
        if let Ok(state) = answer {
            new.push((job, state));
        }
        answers.push(answer.map_or_else(Enqueued::Existing, |_| Enqueued::New));
    }
    if new.is_empty() { Ok(()) } else { insert(conn, &new).await }
}

/// What is stored that concerns a job.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    existing: Option<JobId>,
    parent: Option<JobState>,
}

async fn look(conn: &mut SqliteConnection, jobs: &[NewJob]) -> StoreResult<Vec<Found>> {
    let size = Batched::size(jobs.len());
    let mut query = sqlx::query(LOOK.of(size));
    for job in jobs {
        let unique = job.unique.as_ref();
        query = query
            .id(job.id)
            .bind(job.kind.as_str())
            .bind(unique.map(|unique| unique.key.as_str()))
            .bind(unique.and_then(|unique| unique.since).map(|since| since.as_micros()))
            .bind(job.after.as_ref().map(|after| after.as_bytes().as_slice()));
    }
    let query = query.nulls((size - jobs.len()) * 5);
    let rows = sql::all(conn, query, |columns| {
        let place = columns.index()?;
        Ok((place, Found { existing: columns.optional_id()?, parent: columns.optional_job_state()? }))
    });
    let mut found = vec![Found::default(); jobs.len()];
    for (place, of_job) in rows.await? {
        *found.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = of_job;
    }
    Ok(found)
}

/// What the jobs of a batch have done so far.
#[derive(Default)]
struct Batch<'j> {
    states: HashMap<JobId, JobState>,
    keys: HashMap<(&'j JobKind, &'j str), JobId>,
}

impl<'j> Batch<'j> {
    /// The state of the next job of the batch, or the job that is there in its place.
    fn take(&mut self, job: &'j NewJob, found: Found) -> Result<JobState, JobId> {
        let key = job.unique.as_ref().map(|unique| (&job.kind, unique.key.as_str()));
        let earlier = self.states.contains_key(&job.id).then_some(job.id);
        let of_key = key.and_then(|key| self.keys.get(&key).copied());
        if let Some(existing) = earlier.or(found.existing).or(of_key) {
            return Err(existing);
        }
        let of_batch = job.after.and_then(|after| self.states.get(&after).copied());
        let state = JobState::after(of_batch.or(found.parent));
        self.states.insert(job.id, state);
        if let Some(key) = key.filter(|_| !state.has_ended()) {
            self.keys.insert(key, job.id);
        }
        Ok(state)
    }
}

async fn insert(conn: &mut SqliteConnection, jobs: &[(&NewJob, JobState)]) -> StoreResult<()> {
    let size = Batched::size(jobs.len());
    let mut query = sqlx::query(INSERT.of(size));
    for (job, state) in jobs {
        query = query
            .id(job.id)
            .bind(job.kind.as_str())
            .bind(job.priority.as_number())
            .bind(state.as_number())
            .time(job.run_at)
            .bind(i64::from(job.max_attempts))
            .time(job.created_at)
            .bind(state.has_ended().then_some(job.created_at.as_micros()))
            .bind(job.after.as_ref().map(|after| after.as_bytes().as_slice()))
            .bind(job.unique.as_ref().map(|unique| unique.key.as_str()))
            .bytes(&job.payload.0);
    }
    sql::run(conn, query.nulls((size - jobs.len()) * 11)).await.map(drop)
}
