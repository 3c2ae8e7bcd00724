//! Stores a batch of jobs: one round trip to the server.

use std::{collections::HashSet, sync::Arc};

use messenger_core::{
    JobId,
    ports::{Enqueued, NewJob, StoreErrorKind, StoreResult},
};

use crate::{
    call::Call,
    sql::{Bytes, fits, int},
    store::MssqlStore,
};

/// How many times a batch is tried when others store the same keys or ids at the same time.
pub(crate) const ATTEMPTS: usize = 10;

pub(crate) async fn enqueue(store: &MssqlStore, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
    fits(jobs.len())?;
    if jobs.is_empty() {
        return Ok(vec![]);
    }
    let mut attempt = 1;
    loop {
        let done = if is_plain(jobs) { insert(store, jobs).await } else { sort_out(store, jobs).await };
        match done {
            // Others have stored the same.
            Err(error) if matches!(error.kind(), StoreErrorKind::AlreadyExists(_)) && attempt < ATTEMPTS => {
                attempt += 1;
            }
            done => return done,
        }
    }
}

/// Whether no job has to do with others.
fn is_plain(jobs: &[NewJob]) -> bool {
    let mut ids = HashSet::with_capacity(jobs.len());
    jobs.iter().all(|job| job.unique.is_none() && job.after.is_none() && ids.insert(job.id))
}

async fn insert(store: &MssqlStore, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
    let call = with_jobs(Call::procedure(Arc::clone(&store.sql().jobs.insert)), jobs);
    let new: HashSet<JobId> = store.all(call, |columns| columns.id()).await?.into_iter().collect();
    let answer =
        |job: &NewJob| if new.contains(&job.id) { Enqueued::New } else { Enqueued::Existing(job.id) };
    Ok(jobs.iter().map(answer).collect())
}

async fn sort_out(store: &MssqlStore, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
    let call = with_jobs(Call::procedure(Arc::clone(&store.sql().jobs.enqueue)), jobs);
    let mut answers = vec![Enqueued::New; jobs.len()];
    for (place, existing) in store.all(call, |columns| Ok((columns.place()?, columns.id()?))).await? {
        *answers.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = Enqueued::Existing(existing);
    }
    Ok(answers)
}

/// Adds the jobs, as `messenger_unpack_jobs` takes them.
pub(crate) fn with_jobs(call: Call, jobs: &[NewJob]) -> Call {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for job in jobs {
        list.extend_from_slice(job.id.as_bytes());
        list.extend_from_slice(&int(bytes.push(job.kind.as_str().as_bytes())));
        list.extend_from_slice(&int(job.kind.as_str().len()));
        list.push(job.priority as u8);
        list.extend_from_slice(&job.run_at.as_micros().to_be_bytes());
        list.extend_from_slice(&i64::from(job.max_attempts).to_be_bytes());
        // Position 0 stands for null.
        let key = job.unique.as_ref().map(|unique| unique.key.as_bytes());
        list.extend_from_slice(&int(key.map_or(0, |key| bytes.push(key))));
        list.extend_from_slice(&int(key.map_or(0, <[u8]>::len)));
        let since = job.unique.as_ref().and_then(|unique| unique.since);
        list.push(u8::from(since.is_some()));
        list.extend_from_slice(&since.map_or(0, |since| since.as_micros()).to_be_bytes());
        list.extend_from_slice(&int(job.after.map_or(0, |after| bytes.push(after.as_bytes()))));
        list.extend_from_slice(&job.created_at.as_micros().to_be_bytes());
        list.extend_from_slice(&int(bytes.push(&job.payload.0)));
        list.extend_from_slice(&int(job.payload.0.len()));
    }
    call.bytes("@jobs", list).bytes("@bytes", bytes.into_bytes())
}
