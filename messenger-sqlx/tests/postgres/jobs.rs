//! Jobs that a host enqueues in transactions of its own, and what others do meanwhile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{slice::from_ref, sync::Arc, time::Duration};

use crate::support::postgres::fresh;
use messenger_core::{
    JobId, Timestamp,
    context::Context,
    ports::{
        ClaimJobs, Content, Enqueued, FinishedJob, JobOutcome, JobPriority, JobState, JobStore as _,
        MoveSchedule, NewJob, StoreErrorKind, UniqueJob,
    },
    testkit::World,
};
use messenger_sqlx::PostgresStore;
use messenger_testing::{connect, execute};
use sqlx::Connection as _;
use tokio::time::timeout;

/// What waits for a lock waits for longer than this.
const SOON: Duration = Duration::from_secs(3);

fn job(context: &Context) -> NewJob {
    let now = context.now();
    NewJob {
        id: context.id(),
        kind: "mail".parse().unwrap(),
        payload: Content::from("{}"),
        priority: JobPriority::Normal,
        run_at: now,
        max_attempts: 3,
        unique: None,
        after: None,
        created_at: now,
    }
}

fn keyed(context: &Context) -> NewJob {
    NewJob { unique: Some(UniqueJob { key: "k".to_owned(), since: None }), ..job(context) }
}

async fn claim(store: &PostgresStore, now: Timestamp) -> Vec<JobId> {
    let kinds = vec![("mail".parse().unwrap(), 10)];
    let until = now.after(Duration::from_secs(30));
    let claimed = store.claim_jobs(&ClaimJobs { kinds, now, until }).await.unwrap();
    claimed.into_iter().map(|claimed| claimed.claim.job).collect()
}

#[tokio::test]
async fn a_host_enqueues_in_its_own_transaction_or_not_at_all() {
    let (store, database) = fresh().await;
    let context = Context::system();
    let mut conn = connect(&database.url()).await;
    execute(&mut conn, "CREATE TABLE public.orders (number integer)").await;
    for is_committed in [false, true] {
        let jobs = [job(&context), keyed(&context), NewJob { after: Some(context.id()), ..job(&context) }];
        let mut transaction = conn.begin().await.unwrap();
        sqlx::query("INSERT INTO public.orders (number) VALUES (7)")
            .execute(&mut *transaction)
            .await
            .unwrap();
        for part in [&jobs[..1], &jobs[1..], &[]] {
            let answers = store.enqueue_jobs_in(&mut transaction, part).await.unwrap();
            assert_eq!(answers, vec![Enqueued::New; part.len()]);
        }
        let again = store.enqueue_jobs_in(&mut transaction, &jobs[..2]).await.unwrap();
        assert_eq!(again, [Enqueued::Existing(jobs[0].id), Enqueued::Existing(jobs[1].id)]);
        assert_eq!(claim(&store, context.now()).await, [], "nobody sees them yet");
        if is_committed {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let mut claimed = claim(&store, context.now()).await;
        claimed.sort();
        let wanted: Vec<_> = jobs.iter().map(|job| job.id).filter(|_| is_committed).collect();
        assert_eq!(claimed, wanted);
    }
}

#[tokio::test]
async fn who_enqueues_a_key_that_a_host_has_not_committed_waits_for_the_host() {
    let (store, database) = fresh().await;
    let context = Context::system();
    let mut conn = connect(&database.url()).await;
    for is_committed in [false, true] {
        let (first, second) = (keyed(&context), keyed(&context));
        let mut transaction = conn.begin().await.unwrap();
        store.enqueue_jobs_in(&mut transaction, from_ref(&first)).await.unwrap();
        let other = (Arc::clone(&store), second.clone());
        let waiting = tokio::spawn(async move { other.0.enqueue_jobs(&[other.1]).await.unwrap() });
        while !waiting.is_finished() && blocked(&database.url()).await == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        if is_committed {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let wanted = if is_committed { Enqueued::Existing(first.id) } else { Enqueued::New };
        assert_eq!(waiting.await.unwrap(), [wanted]);
        let (stored, other) = if is_committed { (first.id, second.id) } else { (second.id, first.id) };
        assert_eq!(store.job(stored).await.unwrap().state, JobState::Waiting);
        assert_eq!(store.job(other).await.unwrap_err().kind(), StoreErrorKind::NotFound);
        execute(&mut conn, "DELETE FROM messenger.messenger_jobs").await;
    }
}

#[tokio::test]
async fn a_job_that_is_done_while_its_key_is_waited_for_keeps_the_key() {
    let (store, database) = fresh().await;
    let context = Context::system();
    let first = keyed(&context);
    store.enqueue_jobs(from_ref(&first)).await.unwrap();
    let mut conn = connect(&database.url()).await;
    let mut transaction = conn.begin().await.unwrap();
    execute(&mut transaction, "UPDATE messenger.messenger_jobs SET state = 3, ended_at = 1").await;
    let since = Some(UniqueJob { key: "k".to_owned(), since: Some(first.created_at) });
    let second = NewJob { unique: since, ..job(&context) };
    let other = (Arc::clone(&store), second.clone());
    let waiting = tokio::spawn(async move { other.0.enqueue_jobs(&[other.1]).await.unwrap() });
    while !waiting.is_finished() && blocked(&database.url()).await == 0 {
        tokio::task::yield_now().await;
    }
    transaction.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap(), [Enqueued::Existing(first.id)]);
    assert_eq!(store.job(second.id).await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

/// What needs rights on the tables of jobs.
pub(crate) async fn use_rights(world: &World) {
    let first = keyed(&world.context);
    let second = NewJob { after: Some(first.id), ..job(&world.context) };
    let (kind, now) = (first.kind.clone(), world.tick());
    let name = "daily".parse().unwrap();
    let step =
        MoveSchedule { name, expected: None, next_at: now, rule: "@daily".to_owned(), job: Some(first) };
    assert!(world.store.move_schedule(&step).await.unwrap());
    world.store.enqueue_jobs(&[second]).await.unwrap();
    world.store.pause_jobs(&kind, true).await.unwrap();
    world.store.pause_jobs(&kind, false).await.unwrap();
    let claim = ClaimJobs { kinds: vec![(kind, 10)], now, until: now };
    let [claimed] = world.store.claim_jobs(&claim).await.unwrap().try_into().unwrap();
    let finished = FinishedJob { claim: claimed.claim, outcome: JobOutcome::Done };
    assert_eq!(world.store.finish_jobs(&[finished], now).await.unwrap(), [true]);
    assert_eq!(world.store.prune_jobs(world.tick(), 10).await.unwrap(), 1);
    assert!(world.store.remove_schedule(&step.name).await.unwrap());
}

/// How many wait for a lock in this database.
async fn blocked(url: &str) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(query).fetch_one(&mut connect(url).await).await.unwrap()
}

#[tokio::test]
async fn workers_do_not_wait_for_a_job_that_a_host_holds() {
    let (store, database) = fresh().await;
    let context = Context::system();
    let jobs = [job(&context), job(&context)];
    store.enqueue_jobs(&jobs).await.unwrap();
    let mut conn = connect(&database.url()).await;
    let mut transaction = conn.begin().await.unwrap();
    let after = NewJob { after: Some(jobs[0].id), ..job(&context) };
    store.enqueue_jobs_in(&mut transaction, from_ref(&after)).await.unwrap();
    let claimed = timeout(SOON, claim(&store, context.now())).await;
    assert_eq!(claimed.unwrap(), [jobs[1].id]);
    let pruned = timeout(SOON, store.prune_jobs(context.now(), 10)).await;
    assert_eq!(pruned.unwrap().unwrap(), 0);
    transaction.commit().await.unwrap();
    assert_eq!(claim(&store, context.now()).await, [jobs[0].id]);
    assert_eq!(store.job(after.id).await.unwrap().state, JobState::Blocked);
}

#[tokio::test]
async fn a_reason_of_any_characters_is_kept() {
    let (store, _database) = fresh().await;
    let context = Context::system();
    let one = job(&context);
    store.enqueue_jobs(from_ref(&one)).await.unwrap();
    let (now, until) = (context.now(), context.now());
    let kinds = vec![("mail".parse().unwrap(), 1)];
    let [claimed] = store.claim_jobs(&ClaimJobs { kinds, now, until }).await.unwrap().try_into().unwrap();
    let outcome = JobOutcome::Dead { reason: "a\0b".to_owned() };
    let finished = FinishedJob { claim: claimed.claim, outcome };
    assert_eq!(store.finish_jobs(&[finished], now).await.unwrap(), [true]);
    assert_eq!(store.job(one.id).await.unwrap().reason.as_deref(), Some("a\u{fffd}b"));
}
