//! A job is done by one node at a time, and by another one when the first is gone.

use super::*;
use crate::ports::StoreErrorKind;

#[tokio::test(start_paused = true)]
async fn a_job_is_held_for_as_long_as_it_takes() {
    let (world, log) = (World::new(), Log::default());
    let _nodes = [(); 3].map(|()| world.logging(&log, 900 * SECOND));
    let id = enqueue(&world.front(), 1).await;
    world.until(id, JobState::Done).await;
    assert_eq!(log.attempts(), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_node_had_is_taken_over_after_the_lease_and_not_before() {
    let (world, first, second, drops) = (World::new(), Log::default(), Log::default(), Drops::default());
    let (seen, began, dropped) = (first.clone(), world.began, drops.clone());
    let (node, store) = world.worker(move |task, cx| {
        seen.begun(began, task.0, &cx);
        let guard = dropped.guard();
        async move {
            let _guard = guard;
            sleep(26 * SECOND).await;
            Ok(())
        }
    });
    let id = enqueue(&node, 1).await;
    sleep(Duration::from_millis(5)).await;
    let (_other, _) = world.logging(&second, 5 * SECOND);
    store.hang(true);
    sleep(Duration::from_millis(24_900)).await;
    assert_eq!(drops.count(), 0);
    sleep(SECOND / 2).await;
    assert_eq!(drops.count(), 1, "who can't renew its lease stops before others may begin");
    assert_eq!(second.attempts(), []);
    sleep(LEASE + POLL).await;
    assert_eq!(second.attempts(), [(1, 2)]);
    assert!(second.times()[0] >= 30.0, "{:?}", second.times());
    assert!(second.times()[0] <= 33.0, "{:?}", second.times());
    // The first comes back, and changes nothing.
    store.hang(false);
    sleep(10 * SECOND).await;
    assert_eq!(world.state(id).await, JobState::Done);
    assert_eq!((first.attempts().len(), world.record(id).await.attempt), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_kills_its_node_each_time_is_dead_in_the_end() {
    let world = World::new();
    let mut nodes = Vec::new();
    let id = enqueue(&world.front(), 1).await;
    for attempt in 1..=3 {
        let log = Log::default();
        let (node, store) = world.logging(&log, 1000 * SECOND);
        while log.attempts().is_empty() {
            sleep(SECOND / 10).await;
        }
        assert_eq!(log.attempts(), [(1, attempt)]);
        store.hang(true);
        nodes.push(node);
    }
    let (log, _drops) = (Log::default(), Drops::default());
    let (_node, _) = world.logging(&log, SECOND);
    world.until(id, JobState::Dead).await;
    assert_eq!(log.attempts(), []);
    assert_eq!(world.record(id).await.reason.as_deref(), Some(JobRecord::ABANDONED));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_is_dropped_wherever_it_is_at_work() {
    for is_here in [true, false] {
        let (world, log, drops) = (World::new(), Log::default(), Drops::default());
        let (seen, began, dropped) = (log.clone(), world.began, drops.clone());
        let (node, _) = world.worker(move |task, cx| {
            seen.begun(began, task.0, &cx);
            let guard = dropped.guard();
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        });
        let front = world.front();
        let id = enqueue(&node, 1).await;
        sleep(SECOND).await;
        assert_eq!(log.attempts(), [(1, 1)]);
        let by = if is_here { &node } else { &front };
        by.jobs().cancel(id).await.unwrap();
        sleep(if is_here { Duration::from_millis(1) } else { LEASE / 3 + SECOND }).await;
        assert_eq!((drops.count(), world.state(id).await), (1, JobState::Cancelled));
        let answer = by.jobs().retry(id).await;
        assert_eq!(answer.unwrap_err().code(), "forbidden", "who was at work may not have heard of it");
        // The place is free again.
        let next = enqueue(&node, 2).await;
        sleep(SECOND).await;
        assert_eq!((log.attempts().len(), world.state(next).await), (2, JobState::Running));
        sleep(LEASE).await;
        by.jobs().retry(id).await.unwrap();
        sleep(SECOND + POLL).await;
        assert_eq!((log.attempts().len(), world.state(id).await), (3, JobState::Running));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlasts_renewals_that_fail_once_or_twice() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, 100 * SECOND);
    let (_other, _) = world.logging(&log, 100 * SECOND);
    let id = enqueue(&node, 1).await;
    for _ in 0..3 {
        store.fail("renew_jobs", StoreErrorKind::Unavailable, 3);
        sleep(LEASE).await;
    }
    world.until(id, JobState::Done).await;
    assert_eq!(log.attempts(), [(1, 1)]);
    // All of them fail.
    let id = enqueue(&node, 2).await;
    sleep(SECOND).await;
    store.fail("renew_jobs", StoreErrorKind::Unavailable, usize::MAX);
    store.fail("claim_jobs", StoreErrorKind::Unavailable, usize::MAX);
    sleep(LEASE + POLL).await;
    world.until(id, JobState::Done).await;
    assert_eq!(log.attempts()[1..], [(2, 1), (2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_held_until_its_end_is_stored() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, SECOND);
    let id = enqueue(&node, 1).await;
    sleep(SECOND / 2).await;
    let (_other, _) = world.logging(&log, SECOND);
    // With longer pauses each time, for a minute.
    store.fail("finish_jobs", StoreErrorKind::Unavailable, 9);
    let took = world.until(id, JobState::Done).await;
    assert!(took > 2 * LEASE, "{took:?}");
    assert_eq!(log.attempts(), [(1, 1)]);
}
