//! Background jobs and schedules; common to all engines.

use std::collections::{BTreeMap, HashMap, HashSet};

use messenger_core::{
    JobId, Timestamp,
    ports::{
        ClaimJobs, ClaimedJob, Content, FinishedJob, JobClaim, JobCounts, JobFilter, JobKind, JobOutcome,
        JobPriority, JobRecord, JobState, NewJob, ScheduleRecord, StoreResult,
    },
};

use crate::columns::{Columns, Row, corrupt};

/// The columns of `messenger_jobs AS j`.
pub const JOB: &str = "j.id, j.kind, j.payload, j.priority, j.state, j.run_at, j.attempt, j.max_attempts, \
    j.unique_key, j.after_id, j.created_at, j.leased_until, j.ended_at, j.reason";
/// The columns of a job in `messenger_jobs` that was claimed.
pub const CLAIMED: &str = "id, claims, kind, payload, attempt, max_attempts, run_at, created_at, priority";
/// The columns of `messenger_schedules AS s`.
pub const SCHEDULE: &str = "s.name, s.rule_text, s.next_at, s.last_job";

impl<'r, R: Row + ?Sized> Columns<'r, R> {
    /// Reads the columns of [`JOB`].
    pub fn job(&mut self) -> StoreResult<JobRecord> {
        Ok(JobRecord {
            id: self.id()?,
            kind: self.job_kind()?,
            payload: self.job_payload()?,
            priority: self.job_priority()?,
            state: self.job_state()?,
            run_at: self.time()?,
            attempt: self.job_number()?,
            max_attempts: self.job_number()?,
            unique_key: self.optional_ascii()?.map(str::to_owned),
            after: self.optional_id()?,
            created_at: self.time()?,
            leased_until: self.optional_time()?,
            ended_at: self.optional_time()?,
            reason: self.optional_utf8()?.map(str::to_owned),
        })
    }

    /// Reads the columns of [`CLAIMED`].
    pub fn claimed_job(&mut self) -> StoreResult<(ClaimedJob, JobPriority)> {
        let claimed = ClaimedJob {
            claim: self.job_claim()?,
            kind: self.job_kind()?,
            payload: self.job_payload()?,
            attempt: self.job_number()?,
            max_attempts: self.job_number()?,
            run_at: self.time()?,
            created_at: self.time()?,
        };
        Ok((claimed, self.job_priority()?))
    }

    /// The id of a job and the number of its claim.
    pub fn job_claim(&mut self) -> StoreResult<JobClaim> {
        Ok(JobClaim { job: self.id()?, number: self.job_number()? })
    }

    /// The state of a job.
    pub fn job_state(&mut self) -> StoreResult<JobState> {
        self.optional_job_state()?.ok_or_else(|| corrupt("a job without a state"))
    }

    /// The state of a job, or NULL.
    pub fn optional_job_state(&mut self) -> StoreResult<Option<JobState>> {
        let state = |number| {
            let state = i16::try_from(number).ok().and_then(JobState::of_number);
            state.ok_or_else(|| corrupt("an unknown state of a job"))
        };
        self.optional_integer()?.map(state).transpose()
    }

    /// Reads the columns of [`SCHEDULE`].
    pub fn schedule(&mut self) -> StoreResult<ScheduleRecord> {
        Ok(ScheduleRecord {
            name: self.ascii()?.parse().map_err(corrupt)?,
            rule: self.ascii()?.to_owned(),
            next_at: self.time()?,
            last_job: self.optional_id()?,
        })
    }

    /// The name of a kind of jobs.
    pub fn job_kind(&mut self) -> StoreResult<JobKind> {
        self.ascii()?.parse().map_err(corrupt)
    }

    fn job_payload(&mut self) -> StoreResult<Content> {
        let bytes = self.optional_bytes()?.ok_or_else(|| corrupt("a job without a payload"))?;
        Ok(Content(bytes.to_vec()))
    }

    fn job_priority(&mut self) -> StoreResult<JobPriority> {
        let priority = i16::try_from(self.integer()?).ok().and_then(JobPriority::of_number);
        priority.ok_or_else(|| corrupt("an unknown priority of a job"))
    }

    fn job_number(&mut self) -> StoreResult<u32> {
        u32::try_from(self.integer()?).map_err(corrupt)
    }

    fn ascii(&mut self) -> StoreResult<&'r str> {
        self.optional_ascii()?.ok_or_else(|| corrupt("NULL where a name is needed"))
    }

    fn optional_utf8(&mut self) -> StoreResult<Option<&'r str>> {
        let (row, column) = self.next_column();
        row.utf8(column)
    }

    fn optional_ascii(&mut self) -> StoreResult<Option<&'r str>> {
        let (row, column) = self.next_column();
        row.ascii(column)
    }
}

/// For each job of a batch, the round in which it is stored, from 1. What a job depends on is stored in an earlier
/// round: in one round no id comes twice, nor a unique key of one kind, and no job waits for another one.
pub fn rounds(jobs: &[NewJob]) -> Vec<i32> {
    let mut ids: HashMap<JobId, i32> = HashMap::new();
    let mut keys: HashMap<(&JobKind, &str), i32> = HashMap::new();
    // A job that is waited for must not come before those that found that it was not there.
    let mut missed: HashMap<JobId, i32> = HashMap::new();
    let mut rounds = Vec::with_capacity(jobs.len());
    for NewJob { id, kind, unique, after, .. } in jobs {
        let key = unique.as_ref().map(|unique| (kind, unique.key.as_str()));
        let same_key = key.and_then(|key| keys.get(&key));
        let before = [ids.get(id), same_key, after.as_ref().and_then(|after| ids.get(after))];
        let next = before.into_iter().flatten().max().map_or(1, |last| last + 1);
        let round = missed.get(id).map_or(next, |missed| next.max(*missed));
        ids.insert(*id, round);
        if let Some(key) = key {
            keys.insert(key, round);
        }
        if let Some(after) = after {
            let missed = missed.entry(*after).or_default();
            *missed = round.max(*missed);
        }
        rounds.push(round);
    }
    rounds
}

/// Claimed jobs in the order of the kinds that were asked for, and in each kind the most urgent first, then those due
/// longest.
pub fn in_order(claim: &ClaimJobs, mut claimed: Vec<(ClaimedJob, JobPriority)>) -> Vec<ClaimedJob> {
    let place = |kind: &JobKind| claim.kinds.iter().position(|(asked, _)| asked == kind);
    claimed.sort_by_cached_key(|(job, priority)| (place(&job.kind), *priority, job.run_at, job.claim.job));
    claimed.into_iter().map(|(job, _)| job).collect()
}

/// The end of a claim, as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct End<'f> {
    /// Which claim.
    pub claim: JobClaim,
    /// 0 done, 1 failed, 2 dead, 3 snoozed.
    pub outcome: i16,
    /// When it is due again, if it is.
    pub run_at: Option<Timestamp>,
    /// Why it failed, if it did.
    pub reason: Option<&'f str>,
}

impl<'f> End<'f> {
    /// The code of a job that was done.
    pub const DONE: i16 = 0;

    fn of(finished: &'f FinishedJob) -> Self {
        let claim = finished.claim;
        let (outcome, run_at, reason) = match &finished.outcome {
            JobOutcome::Done => (Self::DONE, None, None),
            JobOutcome::Failed { retry_at, reason } => (1, Some(*retry_at), Some(reason.as_str())),
            JobOutcome::Dead { reason } => (2, None, Some(reason.as_str())),
            JobOutcome::Snoozed { until } => (3, Some(*until), None),
        };
        Self { claim, outcome, run_at, reason }
    }
}

/// The ends of claims, each claim once, ordered by the id of the job: rows are locked in this order.
pub fn ends(finished: &[FinishedJob]) -> Vec<End<'_>> {
    let mut seen = HashSet::new();
    let first = finished.iter().filter(|finished| seen.insert(finished.claim));
    let mut ends: Vec<_> = first.map(End::of).collect();
    ends.sort_by_key(|end| end.claim.job);
    ends
}

/// Whether each claim was held, of which these were. A claim can't be ended twice.
pub fn were_held(finished: &[FinishedJob], held: Vec<JobClaim>) -> Vec<bool> {
    let mut held: HashSet<_> = held.into_iter().collect();
    finished.iter().map(|finished| held.remove(&finished.claim)).collect()
}

/// Claims, ordered by the id of the job: rows are locked in this order.
pub fn by_id(claims: &[JobClaim]) -> Vec<JobClaim> {
    let mut claims = claims.to_vec();
    claims.sort_by_key(|claim| (claim.job, claim.number));
    claims.dedup();
    claims
}

/// The jobs that are held by these claims, in the order of the claims.
pub fn held_in_order(claims: &[JobClaim], held: Vec<JobClaim>) -> Vec<JobId> {
    let held: HashSet<_> = held.into_iter().collect();
    claims.iter().filter(|claim| held.contains(claim)).map(|claim| claim.job).collect()
}

/// How an engine writes what the statements about jobs need.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The table of jobs.
    pub jobs: String,
    /// The table of paused kinds.
    pub pauses: String,
    /// The first, second and third parameter.
    pub parameters: [&'static str; 3],
    /// What limits the rows by the second parameter at the beginning of a query.
    pub top: &'static str,
    /// What limits the rows by the second parameter at its end.
    pub limit: &'static str,
}

/// The statements that list jobs, one for each kind of filter. Their parameters are the id before which the jobs are,
/// how many, and the kind, if the filter has one.
#[derive(Debug)]
pub struct Lists<T> {
    all: T,
    of_kind: T,
    of_state: [T; JobState::ALL.len()],
    of_kind_and_state: [T; JobState::ALL.len()],
}

impl<T> Lists<T> {
    /// Makes all of them.
    pub fn new(dialect: &Dialect, make: impl Fn(String) -> T) -> Self {
        let of = |states: &[JobState], has_kind| make(list(dialect, states, has_kind));
        Self {
            all: make(list_all(dialect)),
            of_kind: of(&JobState::ALL, true),
            of_state: JobState::ALL.map(|state| of(&[state], false)),
            of_kind_and_state: JobState::ALL.map(|state| of(&[state], true)),
        }
    }

    /// The statement for this filter.
    pub fn of(&self, filter: &JobFilter) -> &T {
        match (filter.state, &filter.kind) {
            (None, None) => &self.all,
            (None, Some(_)) => &self.of_kind,
            (Some(state), None) => &self.of_state[state as usize],
            (Some(state), Some(_)) => &self.of_kind_and_state[state as usize],
        }
    }
}

fn list_all(dialect: &Dialect) -> String {
    let Dialect { jobs, parameters: [before, ..], top, limit, .. } = dialect;
    format!("SELECT {top} {JOB} FROM {jobs} AS j WHERE j.id < {before} ORDER BY j.id DESC {limit}")
}

/// The jobs of each state are found by an index of their own; those of several states are merged.
fn list(dialect: &Dialect, states: &[JobState], has_kind: bool) -> String {
    let Dialect { jobs, parameters: [before, _, kind], top, limit, .. } = dialect;
    let of_kind = if has_kind { format!("AND j.kind = {kind}") } else { String::new() };
    let of_state = |state: &JobState| {
        // Engines that prove little must see the condition of the index.
        let ended = if state.has_ended() { "AND j.state >= 3" } else { "" };
        let state = state.as_number();
        format!(
            "SELECT l.id FROM (SELECT {top} j.id FROM {jobs} AS j \
             WHERE j.state = {state} {ended} {of_kind} AND j.id < {before} ORDER BY j.id DESC {limit}) AS l"
        )
    };
    let found = states.iter().map(of_state).collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT {top} {JOB} FROM ({found}) AS f CROSS JOIN {jobs} AS j WHERE j.id = f.id \
         ORDER BY f.id DESC {limit}"
    )
}

/// The statement that counts jobs by kind and state, for [`counts`]. Its parameters are the present time, and how many
/// are counted of each state in which jobs have ended. `count` is the engine's function for as many as there are.
pub fn count(dialect: &Dialect, count: &str) -> String {
    let Dialect { jobs, pauses, parameters: [now, ..], top, limit } = dialect;
    let of_state = |state: JobState| {
        let state = state.as_number();
        format!(
            "SELECT j.kind, {state}, {count}, 0, NULL FROM {jobs} AS j WHERE j.state = {state} GROUP BY j.kind"
        )
    };
    // All that has ended in a day may be millions.
    let of_ended_state = |state: JobState| {
        let state = state.as_number();
        format!(
            "SELECT l.kind, {state}, {count}, 0, NULL FROM (SELECT {top} j.kind FROM {jobs} AS j \
             WHERE j.state = {state} AND j.state >= 3 ORDER BY j.id DESC {limit}) AS l GROUP BY l.kind"
        )
    };
    let ended = JobState::ALL.into_iter().filter(|state| state.has_ended()).map(of_ended_state);
    format!(
        "SELECT j.kind AS kind, 0 AS state, {count} AS number, SUM(CASE WHEN j.run_at <= {now} THEN 1 ELSE 0 END) AS due, \
             MIN(j.run_at) AS oldest
         FROM {jobs} AS j WHERE j.state = 0 GROUP BY j.kind
         UNION ALL {} UNION ALL {} UNION ALL {}
         UNION ALL SELECT p.kind, -1, 0, 0, NULL FROM {pauses} AS p",
        of_state(JobState::Blocked),
        of_state(JobState::Running),
        ended.collect::<Vec<_>>().join(" UNION ALL "),
    )
}

/// A row of [`count`].
#[derive(Debug)]
pub struct Counted {
    kind: JobKind,
    /// `None` for a kind that is paused.
    state: Option<JobState>,
    number: u64,
    due: u64,
    oldest: Option<Timestamp>,
}

impl Counted {
    /// Reads it.
    pub fn read<R: Row + ?Sized>(columns: &mut Columns<'_, R>) -> StoreResult<Self> {
        Ok(Self {
            kind: columns.job_kind()?,
            state: i16::try_from(columns.integer()?).ok().and_then(JobState::of_number),
            number: columns.number()?,
            due: columns.number()?,
            oldest: columns.optional_time()?,
        })
    }
}

/// The counts by kind.
pub fn counts(counted: Vec<Counted>) -> Vec<JobCounts> {
    let mut counts: BTreeMap<JobKind, JobCounts> = BTreeMap::new();
    for Counted { kind, state, number, due, oldest } in counted {
        let of_kind = counts.entry(kind.clone()).or_insert_with(|| JobCounts::none(kind));
        match state {
            None => of_kind.paused = true,
            Some(JobState::Waiting) => {
                of_kind.due = due;
                of_kind.scheduled = number.saturating_sub(due);
                of_kind.oldest_due = oldest.filter(|_| due > 0);
            }
            Some(JobState::Blocked) => of_kind.blocked = number,
            Some(JobState::Running) => of_kind.running = number,
            Some(JobState::Done) => of_kind.done = number,
            Some(JobState::Dead) => of_kind.dead = number,
            Some(JobState::Cancelled) => of_kind.cancelled = number,
        }
    }
    counts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use messenger_core::{Id, ports::UniqueJob};

    use super::*;

    fn id(byte: u8) -> JobId {
        Id::from_bytes([byte; 16])
    }

    fn job(byte: u8, key: Option<&str>, after: Option<u8>) -> NewJob {
        NewJob {
            id: id(byte),
            kind: "a".parse().unwrap(),
            payload: Content::from(""),
            priority: JobPriority::Normal,
            run_at: Timestamp::from_micros(0),
            max_attempts: 1,
            unique: key.map(|key| UniqueJob { key: key.to_owned(), since: None }),
            after: after.map(id),
            created_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn what_a_job_depends_on_is_stored_in_an_earlier_round() {
        for (jobs, wanted) in [
            (vec![], vec![]),
            (vec![job(1, None, None), job(2, Some("k"), None), job(3, Some("l"), Some(9))], vec![1, 1, 1]),
            (vec![job(1, None, None), job(1, None, None), job(1, None, None)], vec![1, 2, 3]),
            (vec![job(1, Some("k"), None), job(2, None, None), job(3, Some("k"), None)], vec![1, 1, 2]),
            (vec![job(1, None, None), job(2, None, Some(1)), job(3, None, Some(2))], vec![1, 2, 3]),
            // The second is stored in the second round, and does not know the third, which comes after it.
            (vec![job(1, Some("k"), None), job(2, Some("k"), Some(3)), job(3, None, None)], vec![1, 2, 2]),
        ] {
            assert_eq!(rounds(&jobs), wanted, "{jobs:?}");
        }
        let other_kind = NewJob { kind: "b".parse().unwrap(), ..job(2, Some("k"), None) };
        assert_eq!(rounds(&[job(1, Some("k"), None), other_kind]), [1, 1]);
    }

    #[test]
    fn a_claim_is_ended_once() {
        let claim = |byte, number| JobClaim { job: id(byte), number };
        let done = |claim| FinishedJob { claim, outcome: JobOutcome::Done };
        let dead = FinishedJob { claim: claim(1, 1), outcome: JobOutcome::Dead { reason: "why".to_owned() } };
        let finished = [done(claim(2, 1)), dead, done(claim(1, 1)), done(claim(2, 2))];
        let ends = ends(&finished);
        let kept: Vec<_> = ends.iter().map(|end| (end.claim, end.outcome, end.reason)).collect();
        assert_eq!(kept, [(claim(1, 1), 2, Some("why")), (claim(2, 1), 0, None), (claim(2, 2), 0, None)]);
        assert_eq!(were_held(&finished, vec![claim(1, 1), claim(2, 2)]), [false, true, false, true]);
    }

    #[test]
    fn held_jobs_are_told_in_the_order_of_their_claims() {
        let claims = [3, 1, 2].map(|byte| JobClaim { job: id(byte), number: 1 });
        assert_eq!(by_id(&claims), [claims[1], claims[2], claims[0]]);
        assert_eq!(held_in_order(&claims, vec![claims[1], claims[0]]), [id(3), id(1)]);
    }
}
