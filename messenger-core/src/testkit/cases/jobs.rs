use std::{slice::from_ref, time::Duration};

use crate::{
    domain::{JobId, Timestamp},
    ports::{
        ClaimJobs, ClaimedJob, Content, Enqueued, FinishedJob, JobChange, JobClaim, JobCounts, JobFilter,
        JobKind, JobOutcome, JobPriority, JobRecord, JobState, NewJob, StoreErrorKind, Unique, UniqueJob,
    },
    testkit::{World, error_kind, race, world::sealed_text},
};

const LEASE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

fn kind(name: &str) -> JobKind {
    name.parse().unwrap()
}

/// A job that is due at once, and tried three times.
fn job(world: &World, name: &str) -> NewJob {
    world.job(name)
}

fn keyed(world: &World, name: &str, key: &str) -> NewJob {
    NewJob { unique: Some(UniqueJob { key: key.to_owned(), since: None }), ..job(world, name) }
}

async fn enqueue(world: &World, jobs: &[NewJob]) {
    let answers = world.store.enqueue_jobs(jobs).await.unwrap();
    assert_eq!(answers, vec![Enqueued::New; jobs.len()]);
}

async fn enqueued(world: &World, name: &str) -> JobId {
    let job = job(world, name);
    enqueue(world, from_ref(&job)).await;
    job.id
}

async fn claim(world: &World, kinds: &[(&str, usize)]) -> Vec<ClaimedJob> {
    let now = world.tick();
    let kinds = kinds.iter().map(|(name, limit)| (kind(name), *limit)).collect();
    world.store.claim_jobs(&ClaimJobs { kinds, now, until: now.after(LEASE) }).await.unwrap()
}

async fn claim_one(world: &World, name: &str) -> ClaimedJob {
    let [claimed] = claim(world, &[(name, 10)]).await.try_into().unwrap();
    claimed
}

async fn finish(world: &World, claim: JobClaim, outcome: JobOutcome) -> bool {
    let [held] = world.store.finish_jobs(&[FinishedJob { claim, outcome }], world.tick()).await.unwrap()[..]
    else {
        panic!("one answer for one claim")
    };
    held
}

async fn finish_next(world: &World, name: &str, outcome: JobOutcome) -> JobId {
    let claimed = claim_one(world, name).await;
    assert!(finish(world, claimed.claim, outcome).await);
    claimed.claim.job
}

async fn state(world: &World, job: JobId) -> JobState {
    world.store.job(job).await.unwrap().state
}

fn failed(retry_at: Timestamp) -> JobOutcome {
    JobOutcome::Failed { retry_at, reason: "the server said no: 🦀".to_owned() }
}

fn dead() -> JobOutcome {
    JobOutcome::Dead { reason: "no such address".to_owned() }
}

fn expected(job: &NewJob) -> JobRecord {
    JobRecord {
        id: job.id,
        kind: job.kind.clone(),
        payload: job.payload.clone(),
        priority: job.priority,
        state: JobState::Waiting,
        run_at: job.run_at,
        attempt: 0,
        max_attempts: job.max_attempts,
        unique_key: job.unique.as_ref().map(|unique| unique.key.clone()),
        after: job.after,
        created_at: job.created_at,
        leased_until: None,
        ended_at: None,
        reason: None,
    }
}

pub async fn enqueue_jobs_can_be_read_back(world: &World) {
    let plain = job(world, "a");
    let jobs = [
        plain.clone(),
        NewJob {
            priority: JobPriority::High,
            payload: Content(vec![0, 255, 10]),
            ..job(world, &"k".repeat(64))
        },
        NewJob { priority: JobPriority::Low, payload: sealed_text(200 * 1024), ..job(world, "a.b-c_d0") },
        NewJob {
            run_at: plain.created_at.after(HOUR),
            max_attempts: 1,
            ..keyed(world, "a", &"k".repeat(200))
        },
        NewJob { payload: Content::from(""), max_attempts: 1_000_000, ..job(world, "a") },
    ];
    enqueue(world, &jobs).await;
    for job in &jobs {
        assert_eq!(world.store.job(job.id).await.unwrap(), expected(job));
    }
}

pub async fn enqueue_jobs_of_an_empty_batch_is_nothing(world: &World) {
    assert_eq!(world.store.enqueue_jobs(&[]).await.unwrap(), []);
    assert_eq!(claim(world, &[]).await, []);
    assert_eq!(world.store.renew_jobs(&[], world.tick()).await.unwrap(), []);
    assert_eq!(world.store.finish_jobs(&[], world.tick()).await.unwrap(), [] as [bool; 0]);
    assert_eq!(world.store.job_counts(world.tick()).await.unwrap(), []);
}

pub async fn enqueue_jobs_again_changes_nothing(world: &World) {
    let first = job(world, "a");
    enqueue(world, from_ref(&first)).await;
    let claimed = claim_one(world, "a").await;
    let (again, other) = (NewJob { payload: Content::from("2"), ..first.clone() }, job(world, "a"));
    let answers = world.store.enqueue_jobs(&[again, other.clone(), other.clone()]).await.unwrap();
    assert_eq!(answers, [Enqueued::Existing(first.id), Enqueued::New, Enqueued::Existing(other.id)]);
    assert!(finish(world, claimed.claim, JobOutcome::Done).await);
    let stored = world.store.job(first.id).await.unwrap();
    assert_eq!((stored.payload, stored.state), (first.payload, JobState::Done));
}

pub async fn enqueue_jobs_passes_over_what_is_there_already(world: &World) {
    let first = keyed(world, "a", "k");
    let others = [keyed(world, "a", "K"), keyed(world, "b", "k"), job(world, "a"), job(world, "a")];
    enqueue(world, from_ref(&first)).await;
    enqueue(world, &others).await;
    let is_there = async |job: NewJob| {
        let [answer] = world.store.enqueue_jobs(&[job]).await.unwrap()[..] else { panic!("one answer") };
        answer == Enqueued::Existing(first.id)
    };
    assert!(is_there(keyed(world, "a", "k")).await, "one waits");
    let claimed = claim(world, &[("a", 1)]).await.remove(0);
    assert_eq!(claimed.claim.job, first.id);
    assert!(is_there(keyed(world, "a", "k")).await, "one is at work");
    assert!(finish(world, claimed.claim, JobOutcome::Done).await);
    let since = |since| {
        let unique = Some(UniqueJob { key: "k".to_owned(), since: Some(since) });
        NewJob { unique, ..job(world, "a") }
    };
    assert!(is_there(since(first.created_at)).await, "one was done since then");
    assert!(!is_there(since(first.created_at.after(Duration::from_micros(1)))).await, "none since then");
    // Two of a key in one batch.
    let [one, two] = [keyed(world, "c", "k"), keyed(world, "c", "k")];
    let answers = world.store.enqueue_jobs(&[one.clone(), two.clone()]).await.unwrap();
    assert_eq!(answers, [Enqueued::New, Enqueued::Existing(one.id)]);
    assert_eq!(error_kind(world.store.job(two.id).await), StoreErrorKind::NotFound);
}

pub async fn enqueue_jobs_of_many_racers_keeps_one_of_a_key(world: &World) {
    let jobs: Vec<_> = (0..16).map(|_| keyed(world, "a", "k")).collect();
    let racers = jobs.into_iter().map(|job| {
        let store = std::sync::Arc::clone(&world.store);
        async move { store.enqueue_jobs(&[job]).await.unwrap().remove(0) }
    });
    let answers = race(racers).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Enqueued::New).count(), 1);
    let stored = claim_one(world, "a").await.claim.job;
    assert!(answers.iter().all(|answer| matches!(answer, Enqueued::New | Enqueued::Existing(_))));
    let existing = answers.iter().filter(|answer| **answer != Enqueued::New);
    existing.for_each(|answer| assert_eq!(*answer, Enqueued::Existing(stored)));
}

pub async fn claim_jobs_takes_the_urgent_first_and_then_the_longest_due(world: &World) {
    let priorities = [JobPriority::Low, JobPriority::Normal, JobPriority::High];
    let mut jobs: Vec<_> =
        (0..9).map(|n| NewJob { priority: priorities[n % 3], ..job(world, "a") }).collect();
    // One that was enqueued last has been due longest.
    jobs[7].run_at = jobs[0].run_at;
    enqueue(world, &jobs).await;
    let claimed: Vec<_> =
        claim(world, &[("a", 100)]).await.into_iter().map(|claimed| claimed.claim.job).collect();
    let in_order = [2, 5, 8, 7, 1, 4, 0, 3, 6].map(|n| jobs[n].id);
    assert_eq!(claimed, in_order);
}

pub async fn claim_jobs_takes_no_more_than_asked_for_of_each_kind(world: &World) {
    for name in ["a", "b", "c"] {
        let jobs: Vec<_> = (0..5).map(|_| job(world, name)).collect();
        enqueue(world, &jobs).await;
    }
    let of =
        |claimed: &[ClaimedJob], name| claimed.iter().filter(|claimed| claimed.kind == kind(name)).count();
    let claimed = claim(world, &[("a", 2), ("b", 10), ("d", 3), ("c", 0)]).await;
    assert_eq!((of(&claimed, "a"), of(&claimed, "b"), claimed.len()), (2, 5, 7));
    assert!(claimed[..2].iter().all(|claimed| claimed.kind == kind("a")), "by kind");
    assert_eq!(claim(world, &[("a", 10)]).await.len(), 3, "the others are held");
}

pub async fn claim_jobs_leaves_what_is_not_due_yet(world: &World) {
    let now = world.tick();
    let early = NewJob { run_at: now.after(HOUR), ..job(world, "a") };
    // The most urgent one, so that it is the first to be looked at.
    let late = NewJob {
        run_at: early.run_at.after(Duration::from_micros(1)),
        priority: JobPriority::High,
        ..job(world, "a")
    };
    enqueue(world, &[early.clone(), late]).await;
    assert_eq!(claim(world, &[("a", 10)]).await, []);
    let at = ClaimJobs { kinds: vec![(kind("a"), 10)], now: early.run_at, until: early.run_at.after(LEASE) };
    let claimed = world.store.claim_jobs(&at).await.unwrap();
    let wanted = ClaimedJob {
        claim: JobClaim { job: early.id, number: claimed[0].claim.number },
        kind: kind("a"),
        payload: early.payload,
        attempt: 1,
        max_attempts: 3,
        run_at: early.run_at,
        created_at: early.created_at,
    };
    assert_eq!(claimed, [wanted]);
    let stored = world.store.job(early.id).await.unwrap();
    assert_eq!((stored.state, stored.attempt, stored.leased_until), (JobState::Running, 1, Some(at.until)));
}

pub async fn claim_jobs_leaves_kinds_that_were_not_asked_for(world: &World) {
    let new = enqueued(world, "newer-release").await;
    assert_eq!(claim(world, &[("newer", 10), ("newer-release.b", 10)]).await, []);
    assert_eq!(state(world, new).await, JobState::Waiting);
}

pub async fn claim_jobs_of_racing_workers_takes_each_once(world: &World) {
    let jobs: Vec<_> = (0..60).map(|_| job(world, "a")).collect();
    enqueue(world, &jobs).await;
    let now = world.tick();
    let claims = (0..8).map(|_| {
        let store = std::sync::Arc::clone(&world.store);
        async move {
            let mut all = vec![];
            // Others may hold for a moment what this one would have taken.
            for _ in 0..100 {
                let claim = ClaimJobs { kinds: vec![(kind("a"), 7)], now, until: now.after(LEASE) };
                all.extend(store.claim_jobs(&claim).await.unwrap());
            }
            all
        }
    });
    let mut claimed: Vec<_> =
        race(claims).await.into_iter().flatten().map(|claimed| claimed.claim.job).collect();
    claimed.sort();
    assert_eq!(claimed, jobs.iter().map(|job| job.id).collect::<Vec<_>>());
}

pub async fn claim_jobs_takes_over_what_a_dead_worker_had(world: &World) {
    let id = enqueued(world, "a").await;
    let first = claim_one(world, "a").await;
    let end = world.store.job(id).await.unwrap().leased_until.unwrap();
    let claim_at = async |now: Timestamp| {
        let claim = ClaimJobs { kinds: vec![(kind("a"), 10)], now, until: now.after(LEASE) };
        world.store.claim_jobs(&claim).await.unwrap()
    };
    assert_eq!(claim_at(end).await, [], "to its last microsecond");
    let [second] = claim_at(end.after(Duration::from_micros(1))).await.try_into().unwrap();
    assert_eq!((second.claim.job, second.attempt), (id, 2));
    assert!(second.claim.number > first.claim.number);
    assert!(!finish(world, first.claim, JobOutcome::Done).await, "its lease is lost");
    assert_eq!(state(world, id).await, JobState::Running);
    assert!(finish(world, second.claim, JobOutcome::Done).await);
}

pub async fn claim_jobs_gives_up_what_killed_its_worker_each_time(world: &World) {
    let id = enqueued(world, "a").await;
    for attempt in 1..=3 {
        assert_eq!(claim_one(world, "a").await.attempt, attempt);
        world.advance(LEASE);
    }
    assert_eq!(claim(world, &[("a", 10)]).await, []);
    let stored = world.store.job(id).await.unwrap();
    assert_eq!((stored.state, stored.attempt), (JobState::Dead, 3));
    assert_eq!(stored.reason.as_deref(), Some(JobRecord::ABANDONED));
    assert!(stored.ended_at.is_some() && stored.leased_until.is_none());
}

pub async fn claim_jobs_leaves_paused_kinds(world: &World) {
    for name in ["a", "b"] {
        enqueued(world, name).await;
    }
    world.store.pause_jobs(&kind("a"), true).await.unwrap();
    let claimed = claim(world, &[("a", 10), ("b", 10)]).await;
    assert_eq!(claimed.iter().map(|claimed| &claimed.kind).collect::<Vec<_>>(), [&kind("b")]);
}

pub async fn renew_jobs_keeps_others_away(world: &World) {
    let id = enqueued(world, "a").await;
    let claimed = claim_one(world, "a").await;
    let until = world.tick().after(HOUR);
    assert_eq!(world.store.renew_jobs(&[claimed.claim], until).await.unwrap(), [id]);
    world.advance(2 * LEASE);
    assert_eq!(claim(world, &[("a", 10)]).await, []);
    assert_eq!(world.store.renew_jobs(&[claimed.claim], world.tick()).await.unwrap(), [id]);
    assert_eq!(world.store.job(id).await.unwrap().leased_until, Some(until), "it is not shortened");
}

pub async fn renew_jobs_of_lost_claims_is_nothing(world: &World) {
    let ids = [enqueued(world, "a").await, enqueued(world, "b").await, enqueued(world, "c").await];
    let claims = [
        claim_one(world, "a").await.claim,
        claim_one(world, "b").await.claim,
        claim_one(world, "c").await.claim,
    ];
    assert!(finish(world, claims[0], JobOutcome::Done).await);
    world.store.change_job(ids[1], JobChange::Cancel, world.tick()).await.unwrap();
    let unknown = JobClaim { job: world.id(), number: 1 };
    let of_another = JobClaim { number: claims[2].number + 1, ..claims[2] };
    let until = world.tick().after(HOUR);
    let lost = [claims[0], claims[1], unknown, of_another];
    assert_eq!(world.store.renew_jobs(&lost, until).await.unwrap(), []);
    assert_eq!(
        [state(world, ids[0]).await, state(world, ids[1]).await],
        [JobState::Done, JobState::Cancelled]
    );
    assert_ne!(world.store.job(ids[2]).await.unwrap().leased_until, Some(until));
}

pub async fn finish_jobs_ends_a_job_as_its_worker_says(world: &World) {
    let jobs: Vec<_> = (0..4).map(|_| job(world, "a")).collect();
    enqueue(world, &jobs).await;
    let claims: Vec<_> = claim(world, &[("a", 10)]).await.into_iter().map(|claimed| claimed.claim).collect();
    let now = world.tick();
    let (retry_at, until) = (now.after(HOUR), now.after(2 * HOUR));
    let outcomes = [JobOutcome::Done, failed(retry_at), dead(), JobOutcome::Snoozed { until }];
    let finished: Vec<_> = claims
        .iter()
        .zip(&outcomes)
        .map(|(claim, outcome)| FinishedJob { claim: *claim, outcome: outcome.clone() })
        .collect();
    assert_eq!(world.store.finish_jobs(&finished, now).await.unwrap(), [true; 4]);
    let base = |n: usize| JobRecord { attempt: 1, ..expected(&jobs[n]) };
    let wanted = [
        JobRecord { state: JobState::Done, ended_at: Some(now), ..base(0) },
        JobRecord { run_at: retry_at, reason: Some("the server said no: 🦀".to_owned()), ..base(1) },
        JobRecord {
            state: JobState::Dead,
            ended_at: Some(now),
            reason: Some("no such address".to_owned()),
            ..base(2)
        },
        JobRecord { run_at: until, attempt: 0, ..base(3) },
    ];
    for wanted in wanted {
        assert_eq!(world.store.job(wanted.id).await.unwrap(), wanted);
    }
}

pub async fn finish_jobs_of_lost_claims_is_nothing(world: &World) {
    let id = enqueued(world, "a").await;
    let claimed = claim_one(world, "a").await;
    let other = JobClaim { number: claimed.claim.number + 1, ..claimed.claim };
    assert!(!finish(world, other, JobOutcome::Done).await);
    assert!(!finish(world, JobClaim { job: world.id(), number: 1 }, JobOutcome::Done).await);
    assert_eq!(state(world, id).await, JobState::Running);
    assert!(finish(world, claimed.claim, failed(world.tick())).await);
    assert!(!finish(world, claimed.claim, JobOutcome::Done).await, "it is not held twice");
    assert_eq!(state(world, id).await, JobState::Waiting);
    let again = claim_one(world, "a").await;
    world.store.change_job(id, JobChange::Cancel, world.tick()).await.unwrap();
    assert!(!finish(world, again.claim, JobOutcome::Done).await, "it was cancelled");
    assert_eq!(state(world, id).await, JobState::Cancelled);
}

pub async fn finish_jobs_lets_a_job_be_tried_again_until_its_last_attempt(world: &World) {
    let id = enqueued(world, "a").await;
    for attempt in 1..=3 {
        let claimed = claim_one(world, "a").await;
        assert_eq!(claimed.attempt, attempt);
        assert!(finish(world, claimed.claim, failed(world.tick())).await);
    }
    let stored = world.store.job(id).await.unwrap();
    assert_eq!((stored.state, stored.attempt), (JobState::Dead, 3));
    assert_eq!(stored.reason.as_deref(), Some("the server said no: 🦀"));
    assert_eq!(claim(world, &[("a", 10)]).await, []);
}

pub async fn finish_jobs_counts_no_attempt_for_a_snooze(world: &World) {
    let id = enqueued(world, "a").await;
    let mut numbers = vec![];
    for _ in 0..5 {
        let claimed = claim_one(world, "a").await;
        assert_eq!(claimed.attempt, 1);
        numbers.push(claimed.claim.number);
        assert!(finish(world, claimed.claim, JobOutcome::Snoozed { until: world.tick() }).await);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "each claim has a number of its own");
    assert_eq!(world.store.job(id).await.unwrap().attempt, 0);
}

pub async fn finish_jobs_frees_the_key(world: &World) {
    for outcome in [JobOutcome::Done, dead()] {
        let first = keyed(world, "a", "k");
        enqueue(world, from_ref(&first)).await;
        assert_eq!(finish_next(world, "a", outcome).await, first.id);
    }
    let first = keyed(world, "a", "k");
    enqueue(world, from_ref(&first)).await;
    finish_next(world, "a", failed(world.tick())).await;
    let answers = world.store.enqueue_jobs(&[keyed(world, "a", "k")]).await.unwrap();
    assert_eq!(answers, [Enqueued::Existing(first.id)], "it is to be tried again");
}

pub async fn finish_jobs_lets_those_go_on_that_waited_for_it(world: &World) {
    let first = job(world, "a");
    let second = NewJob { after: Some(first.id), ..job(world, "b") };
    let third = NewJob { after: Some(second.id), ..job(world, "c") };
    enqueue(world, &[first.clone(), second.clone(), third.clone()]).await;
    let all = [("a", 10), ("b", 10), ("c", 10)];
    assert_eq!([state(world, second.id).await, state(world, third.id).await], [JobState::Blocked; 2]);
    for (outcome, blocked) in [(failed(world.tick()), true), (dead(), true), (JobOutcome::Done, false)] {
        let [claimed] = claim(world, &all).await.try_into().unwrap();
        assert_eq!(claimed.claim.job, first.id);
        assert!(finish(world, claimed.claim, outcome.clone()).await);
        assert_eq!(state(world, second.id).await == JobState::Blocked, blocked, "{outcome:?}");
        if outcome == dead() {
            world.store.change_job(first.id, JobChange::Retry, world.tick()).await.unwrap();
        }
    }
    let [claimed] = claim(world, &all).await.try_into().unwrap();
    assert_eq!(claimed.claim.job, second.id);
    // What comes after one that has been done, or is not there, waits for nothing.
    for after in [first.id, world.id()] {
        let late = NewJob { after: Some(after), ..job(world, "d") };
        enqueue(world, from_ref(&late)).await;
        assert_eq!(claim_one(world, "d").await.claim.job, late.id);
    }
    world.store.change_job(second.id, JobChange::Cancel, world.tick()).await.unwrap();
    assert_eq!(state(world, third.id).await, JobState::Cancelled);
    let late = NewJob { after: Some(second.id), ..job(world, "d") };
    enqueue(world, from_ref(&late)).await;
    assert_eq!(state(world, late.id).await, JobState::Cancelled);
}

pub async fn job_of_unknown_id_is_not_found(world: &World) {
    enqueued(world, "a").await;
    assert_eq!(error_kind(world.store.job(world.id()).await), StoreErrorKind::NotFound);
}

pub async fn jobs_lists_by_kind_and_state_and_page(world: &World) {
    let mut jobs = vec![];
    for n in 0..10 {
        jobs.push(enqueued(world, ["a", "b"][n % 2]).await);
    }
    let done = finish_next_of(world, "a", 2).await;
    let listed = async |name: Option<&str>, state: Option<JobState>, before: Option<JobId>, limit: usize| {
        let filter = JobFilter { kind: name.map(kind), state };
        let jobs = world.store.jobs(&filter, before, limit).await.unwrap();
        jobs.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = jobs.iter().rev().copied().collect();
    assert_eq!(listed(None, None, None, 100).await, newest_first);
    assert_eq!(listed(None, None, None, 3).await, newest_first[..3]);
    assert_eq!(listed(None, None, Some(newest_first[2]), 3).await, newest_first[3..6]);
    assert_eq!(listed(Some("b"), None, None, 2).await, [jobs[9], jobs[7]]);
    assert_eq!(listed(Some("a"), Some(JobState::Done), None, 100).await, [done[1], done[0]]);
    assert_eq!(listed(None, Some(JobState::Done), Some(done[1]), 100).await, [done[0]]);
    assert_eq!(listed(Some("b"), Some(JobState::Done), None, 100).await, []);
    assert_eq!(listed(Some("c"), None, None, 100).await, []);
    let whole = world.store.jobs(&JobFilter::default(), None, 1).await.unwrap();
    assert_eq!(whole, [world.store.job(newest_first[0]).await.unwrap()]);
}

async fn finish_next_of(world: &World, name: &str, count: usize) -> Vec<JobId> {
    let claimed = claim(world, &[(name, count)]).await;
    let mut done = vec![];
    for claimed in claimed {
        assert!(finish(world, claimed.claim, JobOutcome::Done).await);
        done.push(claimed.claim.job);
    }
    done
}

pub async fn change_job_puts_back_what_has_ended(world: &World) {
    let id = enqueued(world, "a").await;
    for outcome in [dead(), JobOutcome::Done] {
        assert_eq!(finish_next(world, "a", outcome).await, id);
        let ended = world.store.job(id).await.unwrap();
        let now = world.tick();
        assert_eq!(world.store.change_job(id, JobChange::Retry, now).await.unwrap(), ended);
        let wanted = JobRecord { state: JobState::Waiting, run_at: now, attempt: 0, ended_at: None, ..ended };
        assert_eq!(world.store.job(id).await.unwrap(), wanted);
    }
    // One that waits for its time is due at once, with the attempts that it has left.
    finish_next(world, "a", failed(world.tick().after(HOUR))).await;
    let now = world.tick();
    world.store.change_job(id, JobChange::Retry, now).await.unwrap();
    let stored = world.store.job(id).await.unwrap();
    assert_eq!((stored.state, stored.run_at, stored.attempt), (JobState::Waiting, now, 1));
    claim_one(world, "a").await;
    let answer = world.store.change_job(id, JobChange::Retry, world.tick()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict, "it is at work");
}

pub async fn change_job_does_not_put_back_what_has_been_enqueued_again(world: &World) {
    let [first, second] = [keyed(world, "a", "k"), keyed(world, "a", "k")];
    enqueue(world, from_ref(&first)).await;
    finish_next(world, "a", dead()).await;
    enqueue(world, from_ref(&second)).await;
    let answer = world.store.change_job(first.id, JobChange::Retry, world.tick()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::AlreadyExists(Unique::Job));
    assert_eq!(state(world, first.id).await, JobState::Dead);
    finish_next(world, "a", JobOutcome::Done).await;
    world.store.change_job(first.id, JobChange::Retry, world.tick()).await.unwrap();
}

pub async fn change_job_cancels_what_has_not_ended(world: &World) {
    let first = job(world, "a");
    let second = NewJob { after: Some(first.id), ..job(world, "a") };
    let third = NewJob { after: Some(second.id), ..job(world, "a") };
    let [waiting, other] = [job(world, "b"), NewJob { after: Some(first.id), ..job(world, "b") }];
    enqueue(world, &[first.clone(), second.clone(), third.clone(), waiting.clone(), other.clone()]).await;
    claim_one(world, "a").await;
    let now = world.tick();
    let before = world.store.change_job(first.id, JobChange::Cancel, now).await.unwrap();
    assert_eq!(before.state, JobState::Running);
    let wanted =
        JobRecord { state: JobState::Cancelled, attempt: 1, ended_at: Some(now), ..expected(&first) };
    assert_eq!(world.store.job(first.id).await.unwrap(), wanted);
    for job in [&second, &third, &other] {
        let stored = world.store.job(job.id).await.unwrap();
        assert_eq!((stored.state, stored.ended_at), (JobState::Cancelled, Some(now)));
    }
    assert_eq!(state(world, waiting.id).await, JobState::Waiting);
    world.store.change_job(waiting.id, JobChange::Cancel, world.tick()).await.unwrap();
    let answer = world.store.change_job(waiting.id, JobChange::Cancel, world.tick()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict, "it has ended");
    assert_eq!(claim(world, &[("a", 10), ("b", 10)]).await, []);
}

pub async fn change_job_drops_what_is_not_at_work(world: &World) {
    let [first, second] = [job(world, "a"), job(world, "b")];
    let [after_first, after_second] =
        [&first, &second].map(|job_before| NewJob { after: Some(job_before.id), ..job(world, "c") });
    enqueue(world, &[first.clone(), second.clone(), after_first.clone(), after_second.clone()]).await;
    let now = world.tick();
    world.store.change_job(first.id, JobChange::Drop, now).await.unwrap();
    assert_eq!(error_kind(world.store.job(first.id).await), StoreErrorKind::NotFound);
    assert_eq!(state(world, after_first.id).await, JobState::Cancelled);
    claim_one(world, "b").await;
    let answer = world.store.change_job(second.id, JobChange::Drop, world.tick()).await;
    assert_eq!(error_kind(answer), StoreErrorKind::Conflict, "it is at work");
    assert_eq!(state(world, after_second.id).await, JobState::Blocked);
    world.advance(LEASE);
    world.store.change_job(second.id, JobChange::Drop, world.tick()).await.unwrap();
    assert_eq!(error_kind(world.store.job(second.id).await), StoreErrorKind::NotFound);
}

pub async fn change_job_of_unknown_id_is_not_found(world: &World) {
    for change in [JobChange::Retry, JobChange::Cancel, JobChange::Drop] {
        let answer = world.store.change_job(world.id(), change, world.tick()).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound);
    }
}

pub async fn pause_jobs_can_be_taken_back(world: &World) {
    let a = kind("a");
    let id = enqueued(world, "a").await;
    for _ in 0..2 {
        world.store.pause_jobs(&a, true).await.unwrap();
    }
    assert_eq!(claim(world, &[("a", 10)]).await, []);
    for _ in 0..2 {
        world.store.pause_jobs(&a, false).await.unwrap();
    }
    assert_eq!(claim_one(world, "a").await.claim.job, id);
    world.store.pause_jobs(&kind("b"), false).await.unwrap();
}

pub async fn job_counts_tells_the_states_apart(world: &World) {
    let now = world.tick();
    let a = |run_at| NewJob { run_at, ..job(world, "a") };
    let jobs: Vec<_> = (0..8).map(|n| a(now.after(Duration::from_secs(n)))).collect();
    enqueue(world, &jobs).await;
    enqueue(world, &[a(now.after(2 * HOUR)), a(now.after(HOUR)), a(now.after(HOUR))]).await;
    enqueue(world, &[NewJob { after: Some(jobs[7].id), ..job(world, "a") }]).await;
    for outcome in [JobOutcome::Done, dead()] {
        let claimed = claim(world, &[("a", 1)]).await.remove(0);
        assert!(finish(world, claimed.claim, outcome).await);
    }
    claim(world, &[("a", 1)]).await;
    world.store.change_job(jobs[3].id, JobChange::Cancel, world.tick()).await.unwrap();
    world.store.pause_jobs(&kind("b"), true).await.unwrap();
    enqueued(world, "c").await;
    let none = JobCounts { paused: true, ..JobCounts::none(kind("b")) };
    let counts = world.store.job_counts(now.after(HOUR)).await.unwrap();
    let of_a = JobCounts {
        kind: kind("a"),
        paused: false,
        due: 6,
        scheduled: 1,
        blocked: 1,
        running: 1,
        done: 1,
        dead: 1,
        cancelled: 1,
        oldest_due: Some(jobs[4].run_at),
    };
    assert_eq!(counts[..2], [of_a, none]);
    assert_eq!((counts.len(), &counts[2].kind, counts[2].due), (3, &kind("c"), 1));
}

pub async fn prune_jobs_keeps_the_dead_and_those_that_have_not_ended(world: &World) {
    let mut done = vec![];
    for outcome in
        [JobOutcome::Done, JobOutcome::Done, JobOutcome::Done, dead(), failed(Timestamp::from_micros(1))]
    {
        let id = enqueued(world, "a").await;
        assert_eq!(finish_next(world, "a", outcome).await, id);
        done.push(id);
    }
    // It is tried once more, and stays at work.
    claim_one(world, "a").await;
    let cancelled = enqueued(world, "a").await;
    world.store.change_job(cancelled, JobChange::Cancel, world.tick()).await.unwrap();
    enqueued(world, "a").await;
    let third = world.store.job(done[2]).await.unwrap().ended_at.unwrap();
    assert_eq!(world.store.prune_jobs(third, 100).await.unwrap(), 2, "those before");
    let later = world.tick();
    assert_eq!(world.store.prune_jobs(later, 1).await.unwrap(), 1);
    assert_eq!(world.store.prune_jobs(later, 100).await.unwrap(), 1);
    assert_eq!(world.store.prune_jobs(later, 100).await.unwrap(), 0);
    let left = world.store.jobs(&JobFilter::default(), None, 100).await.unwrap();
    let states: Vec<_> = left.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Waiting, JobState::Running, JobState::Dead]);
}
