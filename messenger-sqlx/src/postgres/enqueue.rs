//! Stores a batch of jobs: one round trip to the server.

use std::collections::HashSet;

use messenger_core::{
    JobId,
    ports::{Enqueued, NewJob, StoreErrorKind, StoreResult},
};
use messenger_sql::jobs::rounds;
use sqlx::SqlStr;

use super::{
    connections::Session,
    sql::{Bind as _, Columns, Query},
    statements::Statements,
};

/// How a batch is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Jobs that have nothing to do with others, by a plain statement.
    Plain,
    /// Any jobs, by a function.
    Any,
}

/// What the server says of a job.
pub(super) enum Said {
    /// It was stored.
    Stored(JobId),
    /// The job at this place was not stored: this one is there.
    Existing(usize, JobId),
}

impl Way {
    pub(super) fn of(jobs: &[NewJob]) -> Self {
        let mut ids = HashSet::with_capacity(jobs.len());
        let plain = |job: &NewJob| job.unique.is_none() && job.after.is_none() && ids.insert(job.id);
        if jobs.iter().all(plain) { Self::Plain } else { Self::Any }
    }

    pub(super) const fn statement(self, statements: &Statements) -> &SqlStr {
        match self {
            Self::Plain => &statements.jobs.insert,
            Self::Any => &statements.jobs.enqueue,
        }
    }

    pub(super) fn bind(self, query: Query, jobs: &[NewJob]) -> Query {
        match self {
            Self::Plain => {
                // Ordered, so that two who store the same jobs don't wait for each other.
                let mut jobs: Vec<_> = jobs.iter().collect();
                jobs.sort_by_key(|job| job.id);
                let jobs = jobs.into_iter();
                bind_created(bind_first(query, jobs.clone()), jobs)
            }
            Self::Any => {
                let query = bind_first(query.bind(rounds(jobs)), jobs.iter());
                bind_created(bind_relations(query, jobs), jobs.iter())
            }
        }
    }

    pub(super) fn read(self, columns: &mut Columns<'_>) -> StoreResult<Said> {
        match self {
            Self::Plain => columns.id().map(Said::Stored),
            Self::Any => Ok(Said::Existing(columns.place()?, columns.id()?)),
        }
    }

    pub(super) fn answers(self, jobs: &[NewJob], said: Vec<Said>) -> StoreResult<Vec<Enqueued>> {
        let mut answers = vec![Enqueued::New; jobs.len()];
        if self == Self::Plain && said.len() < jobs.len() {
            answers = jobs.iter().map(|job| Enqueued::Existing(job.id)).collect();
            let stored =
                said.iter().filter_map(|said| if let Said::Stored(id) = said { Some(*id) } else { None });
            let stored: HashSet<_> = stored.collect();
            let stored = jobs.iter().zip(&mut answers).filter(|(job, _)| stored.contains(&job.id));
            stored.for_each(|(_, answer)| *answer = Enqueued::New);
        }
        for said in said {
            if let Said::Existing(place, job) = said {
                *answers.get_mut(place).ok_or(StoreErrorKind::Corrupt)? = Enqueued::Existing(job);
            }
        }
        Ok(answers)
    }
}

/// Stores jobs in the transaction that the session has.
pub(super) async fn enqueue(session: &mut Session, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
    if jobs.is_empty() {
        return Ok(vec![]);
    }
    let way = Way::of(jobs);
    let query = way.bind(session.query(way.statement(&session.statements)), jobs);
    let said = session.all(query, move |columns| way.read(columns)).await?;
    way.answers(jobs, said)
}

/// Binds the columns from the id to the attempts.
fn bind_first<'j>(query: Query, jobs: impl Iterator<Item = &'j NewJob> + Clone) -> Query {
    query
        .ids(jobs.clone().map(|job| &job.id))
        .bind(jobs.clone().map(|job| job.kind.as_str()).collect::<Vec<_>>())
        .bind(jobs.clone().map(|job| job.priority.as_number()).collect::<Vec<_>>())
        .bind(jobs.clone().map(|job| job.run_at.as_micros()).collect::<Vec<_>>())
        .bind(jobs.map(|job| i64::from(job.max_attempts)).collect::<Vec<_>>())
}

fn bind_relations(query: Query, jobs: &[NewJob]) -> Query {
    let uniques = jobs.iter().map(|job| job.unique.as_ref());
    let sinces = uniques.clone().map(|unique| unique.and_then(|unique| unique.since));
    query
        .bind(uniques.map(|unique| unique.map(|unique| unique.key.as_str())).collect::<Vec<_>>())
        .bind(sinces.map(|since| since.map(|since| since.as_micros())).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.after.map(|after| after.as_uuid())).collect::<Vec<_>>())
}

fn bind_created<'j>(query: Query, jobs: impl Iterator<Item = &'j NewJob> + Clone) -> Query {
    query
        .bind(jobs.clone().map(|job| job.created_at.as_micros()).collect::<Vec<_>>())
        .bind(jobs.map(|job| job.payload.0.as_slice()).collect::<Vec<_>>())
}
