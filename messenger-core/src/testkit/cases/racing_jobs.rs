use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    domain::{JobId, Timestamp},
    ports::{
        ClaimJobs, ClaimedJob, Enqueued, FinishedJob, JobChange, JobClaim, JobOutcome, JobState, NewJob,
        Store, StoreErrorKind, UniqueJob,
    },
    testkit::{World, race},
};

const ROUNDS: usize = 20;
/// Longer than the clock moves in a race: each event takes a second of it, and who is slow is not taken for dead here.
const LEASE: Duration = Duration::from_secs(3600);

fn job(world: &World) -> NewJob {
    world.job("a")
}

fn keyed(world: &World, key: &str, since: Option<Timestamp>) -> NewJob {
    NewJob { unique: Some(UniqueJob { key: key.to_owned(), since }), ..job(world) }
}

async fn claim(store: &dyn Store, now: Timestamp, limit: usize) -> Vec<ClaimedJob> {
    let kinds = vec![("a".parse().unwrap(), limit)];
    store.claim_jobs(&ClaimJobs { kinds, now, until: now.after(LEASE) }).await.unwrap()
}

/// Enqueues a job that is at work afterwards.
async fn begun(world: &World, job: &NewJob) -> JobClaim {
    assert_eq!(world.store.enqueue_jobs(std::slice::from_ref(job)).await.unwrap(), [Enqueued::New]);
    let [claimed] = claim(&*world.store, world.tick(), 1).await.try_into().unwrap();
    assert_eq!(claimed.claim.job, job.id);
    claimed.claim
}

/// What racers have been answered, if they have enqueued.
type Racer = BoxFuture<'static, Option<Enqueued>>;

fn enqueue(world: &World, job: NewJob) -> Racer {
    let store = Arc::clone(&world.store);
    Box::pin(async move { Some(store.enqueue_jobs(&[job]).await.unwrap().remove(0)) })
}

fn finish(world: &World, claim: JobClaim) -> Racer {
    let (store, now) = (Arc::clone(&world.store), world.tick());
    Box::pin(async move {
        let finished = FinishedJob { claim, outcome: JobOutcome::Done };
        assert_eq!(store.finish_jobs(&[finished], now).await.unwrap(), [true]);
        None
    })
}

fn cancel(world: &World, job: JobId) -> Racer {
    let (store, now) = (Arc::clone(&world.store), world.tick());
    Box::pin(async move {
        store.change_job(job, JobChange::Cancel, now).await.unwrap();
        None
    })
}

pub async fn enqueue_jobs_after_one_that_is_ending_leaves_none_behind(world: &World) {
    for round in 0..ROUNDS {
        let is_done = round % 2 == 0;
        let parent = job(world);
        let claim = begun(world, &parent).await;
        let after: Vec<_> = (0..4).map(|_| NewJob { after: Some(parent.id), ..job(world) }).collect();
        let mut racers: Vec<_> = after.iter().map(|job| enqueue(world, job.clone())).collect();
        racers.insert(round % 5, if is_done { finish(world, claim) } else { cancel(world, parent.id) });
        race(racers).await;
        for job in after {
            let wanted = if is_done { JobState::Waiting } else { JobState::Cancelled };
            assert_eq!(world.store.job(job.id).await.unwrap().state, wanted);
            if is_done {
                world.store.change_job(job.id, JobChange::Cancel, world.tick()).await.unwrap();
            }
        }
    }
}

pub async fn enqueue_jobs_of_a_key_that_is_given_back_keeps_one(world: &World) {
    for round in 0..ROUNDS {
        let key = round.to_string();
        let first = keyed(world, &key, None);
        let claim = begun(world, &first).await;
        let since = (round % 2 == 0).then_some(first.created_at);
        let mut racers: Vec<_> = (0..4).map(|_| enqueue(world, keyed(world, &key, since))).collect();
        racers.insert(round % 5, finish(world, claim));
        let answers: Vec<_> = race(racers).await.into_iter().flatten().collect();
        let new = answers.iter().filter(|answer| **answer == Enqueued::New).count();
        assert!(new <= usize::from(since.is_none()), "{answers:?}");
        // Those that came before the end of the first were told of it, and those that came later of the second.
        let stored = self::claim(&*world.store, world.tick(), 10).await;
        assert_eq!(stored.len(), new);
        let known: Vec<_> = stored.iter().map(|claimed| claimed.claim.job).chain([first.id]).collect();
        let is_known = |answer: &Enqueued| match answer {
            Enqueued::New => true,
            Enqueued::Existing(job) => known.contains(job),
        };
        assert!(answers.iter().all(is_known), "{answers:?}");
        for claimed in stored {
            finish(world, claimed.claim).await;
        }
    }
}

pub async fn finish_jobs_of_racing_workers_ends_each_once(world: &World) {
    let workers = (0..4).map(|n| work(world.clone(), n));
    let done: Vec<_> = race(workers).await.into_iter().flatten().collect();
    // Each worker has enqueued what others have worked off.
    let mut ended = done.clone();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), done.len(), "each once");
    let left = claim(&*world.store, world.tick(), 1000).await;
    let counts = world.store.job_counts(world.tick()).await.unwrap().remove(0);
    assert_eq!(counts.done + left.len() as u64 + counts.cancelled, (4 * ROUNDS * 8) as u64, "{counts:?}");
    assert_eq!(counts.done, done.len() as u64);
    assert_eq!((counts.dead, counts.blocked, counts.due), (0, 0, 0));
}

/// Enqueues, claims, renews and ends jobs, each time in another order, and cancels some that others have.
async fn work(world: World, n: usize) -> Vec<JobId> {
    let mut done = vec![];
    for round in 0..ROUNDS {
        let mut jobs: Vec<_> = (0..8).map(|_| job(&world)).collect();
        jobs[3].unique = Some(UniqueJob { key: format!("{n}-{round}"), since: None });
        jobs.rotate_left((n + round) % 8);
        world.store.enqueue_jobs(&jobs).await.unwrap();
        let now = world.tick();
        let mut claimed = claim(&*world.store, now, 12).await;
        let len = claimed.len().max(1);
        claimed.rotate_left((n + round) % len);
        let claims: Vec<_> = claimed.iter().map(|claimed| claimed.claim).collect();
        let backwards: Vec<_> = claims.iter().rev().copied().collect();
        let outcome = JobOutcome::Done;
        let finished: Vec<_> =
            claims.iter().map(|claim| FinishedJob { claim: *claim, outcome: outcome.clone() }).collect();
        // The jobs of a node are renewed while it ends some of them.
        let (renewed, held, cancelled) = futures::join!(
            world.store.renew_jobs(&backwards, now.after(LEASE)),
            world.store.finish_jobs(&finished, now),
            world.store.change_job(jobs[round % 8].id, JobChange::Cancel, now)
        );
        renewed.unwrap();
        if let Err(error) = cancelled {
            assert_eq!(error.kind(), StoreErrorKind::Conflict, "it has ended");
        }
        let held = claims.iter().zip(held.unwrap()).filter(|(_, held)| *held);
        done.extend(held.map(|(claim, _)| claim.job));
    }
    done
}
