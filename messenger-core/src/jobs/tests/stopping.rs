//! A node that stops leaves nothing behind.

use super::*;
use crate::ports::StoreErrorKind;

const WAIT: Duration = Duration::from_secs(5);

async fn close(node: &Messenger) -> Duration {
    let began = Instant::now();
    node.close().await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_at_work_stops_at_once() {
    let world = World::new();
    let (node, _) = world.logging(&Log::default(), SECOND);
    sleep(5 * SECOND).await;
    assert_eq!(close(&node).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_at_work_is_waited_for_and_nothing_more_is_begun() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, 5 * SECOND);
    let first = enqueue(&node, 1).await;
    sleep(SECOND).await;
    node.drain();
    let second = enqueue(&node, 2).await;
    sleep(SECOND).await;
    let calls = store.calls("claim_jobs");
    assert_eq!(close(&node).await.as_secs(), 3);
    assert_eq!(store.calls("claim_jobs"), calls);
    assert_eq!([world.state(first).await, world.state(second).await], [JobState::Done, JobState::Waiting]);
    assert_eq!(log.attempts(), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_when_the_node_drains() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, 100 * SECOND);
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    node.drain();
    sleep(2 * SECOND).await;
    assert_eq!(close(&node).await, WAIT - 2 * SECOND);
    assert_eq!(world.state(id).await, JobState::Waiting);
    let (node, _) = world.logging(&log, 100 * SECOND);
    sleep(SECOND).await;
    node.drain();
    sleep(60 * SECOND).await;
    assert_eq!(world.state(id).await, JobState::Running, "it goes on until the node closes");
    assert_eq!(close(&node).await, Duration::ZERO);
    assert_eq!((world.state(id).await, world.record(id).await.attempt), (JobState::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_given_back_and_that_is_no_attempt() {
    let (world, first, second) = (World::new(), Log::default(), Log::default());
    let (node, _) = world.logging(&first, 100 * SECOND);
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    assert_eq!(close(&node).await, WAIT);
    let record = world.record(id).await;
    assert_eq!((record.state, record.attempt, record.reason), (JobState::Waiting, 0, None));
    let (_other, _) = world.logging(&second, SECOND);
    assert!(world.until(id, JobState::Done).await < 2 * SECOND);
    assert_eq!(second.attempts(), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_claimed_while_a_node_stops_is_given_back() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, SECOND);
    sleep(5 * SECOND).await;
    let (begun, mut has_begun) = tokio::sync::mpsc::channel::<()>(1);
    store.meanwhile("claim_jobs", async move {
        begun.send(()).await.unwrap();
        sleep(2 * SECOND).await;
    });
    let id = enqueue(&node, 1).await;
    has_begun.recv().await.unwrap();
    assert_eq!(close(&node).await, 2 * SECOND);
    let record = world.record(id).await;
    assert_eq!((record.state, record.attempt), (JobState::Waiting, 0));
    assert_eq!(log.attempts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_keeps_no_node_from_stopping() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, 3 * SECOND);
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    for method in ["finish_jobs", "claim_jobs", "renew_jobs"] {
        store.fail(method, StoreErrorKind::Unavailable, usize::MAX);
    }
    let took = close(&node).await;
    assert!(took < WAIT + 15 * SECOND, "{took:?}");
    let (_other, _) = world.logging(&log, SECOND);
    assert!(world.until(id, JobState::Done).await < 2 * LEASE);
    assert_eq!(log.attempts(), [(1, 1), (1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_workers_does_nothing_but_enqueue() {
    let (world, log) = (World::new(), Log::default());
    let (seen, began) = (log.clone(), world.began);
    let (node, store) = world.node(|builder| {
        let builder = builder.job(move |task: Task, cx| {
            seen.begun(began, task.0, &cx);
            async { Ok(()) }
        });
        builder.recurring("often", crate::jobs::Schedule::every(SECOND), &Task(2)).workers(false)
    });
    enqueue(&node, 1).await;
    sleep(1000 * SECOND).await;
    assert_eq!(log.attempts(), []);
    for method in ["claim_jobs", "schedules", "job_counts"] {
        assert_eq!(store.calls(method), 0);
    }
    assert_eq!(close(&node).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn workers_end_with_the_last_clone_of_their_service() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, 5 * SECOND);
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    drop(node);
    sleep(60 * SECOND).await;
    assert_eq!(world.state(id).await, JobState::Done);
    assert_eq!(Arc::strong_count(&store), 1, "its tasks go on");
}
