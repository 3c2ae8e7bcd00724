//! Work that fails is done again, and a store that fails loses nothing.

use super::*;
use crate::{
    jobs::JobError,
    ports::{Content, JobFilter, NewJob, StoreErrorKind},
};

/// A node whose handler is told the number of the attempt.
fn failing(
    world: &World,
    log: &Log,
    answer: impl Fn(u32) -> JobResult + Send + Sync + 'static,
) -> (Messenger, Arc<TestStore>) {
    let (log, began) = (log.clone(), world.began);
    world.worker(move |task, cx| {
        log.begun(began, task.0, &cx);
        std::future::ready(answer(cx.attempt))
    })
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_later_and_later() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = failing(&world, &log, |attempt| match attempt {
        1 | 2 => Err(JobError::failed("the line is cut")),
        _ => Ok(()),
    });
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    let record = world.record(id).await;
    assert_eq!((record.state, record.attempt), (JobState::Waiting, 1));
    assert_eq!(record.reason.as_deref(), Some("the line is cut"));
    world.until(id, JobState::Done).await;
    assert_eq!(log.attempts(), [(1, 1), (1, 2), (1, 3)]);
    let times = log.times();
    assert!((4.0..=8.01).contains(&(times[1] - times[0])), "{times:?}");
    assert!((8.0..=16.01).contains(&(times[2] - times[1])), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_each_time_is_dead_and_can_be_put_back() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = failing(&world, &log, |_| Err(JobError::failed("no").retry_in(SECOND)));
    let id = enqueue(&node, 1).await;
    sleep(10 * SECOND).await;
    let record = world.record(id).await;
    assert_eq!((record.state, record.attempt), (JobState::Dead, 3));
    assert_eq!(record.reason.as_deref(), Some("no"));
    for (time, expected) in log.times().into_iter().zip([0.0, 1.0, 2.0]) {
        assert!((expected..expected + 0.01).contains(&time), "{time}");
    }
    node.jobs().retry(id).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(log.attempts().len(), 6);
    assert_eq!(world.state(id).await, JobState::Dead);
}

#[tokio::test(start_paused = true)]
async fn what_no_attempt_would_change_is_dead_at_once_and_a_snooze_is_no_attempt() {
    let (world, log) = (World::new(), Log::default());
    let snoozes = AtomicUsize::new(0);
    let (node, _) = failing(&world, &log, move |_| {
        if snoozes.fetch_add(1, Ordering::SeqCst) < 5 {
            return Err(JobError::snooze(10 * SECOND));
        }
        Err(JobError::dead("the receiver is gone"))
    });
    let id = enqueue(&node, 1).await;
    sleep(100 * SECOND).await;
    let record = world.record(id).await;
    assert_eq!((record.state, record.attempt), (JobState::Dead, 1));
    assert_eq!(record.reason.as_deref(), Some("the receiver is gone"));
    assert_eq!(log.attempts(), [(1, 1); 6]);
    assert!(log.times()[5] < 50.1, "a snooze ends in time");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_the_worker_goes_on() {
    let (world, log) = (World::new(), Log::default());
    let (seen, began) = (log.clone(), world.began);
    let (node, _) = world.worker(move |task, cx| {
        seen.begun(began, task.0, &cx);
        assert!(task.0 != 1, "before anything is awaited");
        async move {
            sleep(SECOND).await;
            assert!(task.0 != 2, "a secret");
            Ok(())
        }
    });
    let [one, two, three] = [enqueue(&node, 1).await, enqueue(&node, 2).await, enqueue(&node, 3).await];
    sleep(100 * SECOND).await;
    for id in [one, two] {
        let record = world.record(id).await;
        assert_eq!((record.state, record.attempt), (JobState::Dead, 3));
        assert_eq!(record.reason.as_deref(), Some("the handler has panicked"));
    }
    assert_eq!(world.state(three).await, JobState::Done);
    let four = enqueue(&node, 4).await;
    assert!(world.until(four, JobState::Done).await <= SECOND + Duration::from_millis(2));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_dropped_and_has_failed() {
    let (world, drops) = (World::new(), Drops::default());
    let dropped = drops.clone();
    let (node, _) = world.worker(move |_, _| {
        let guard = dropped.guard();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let id = node.jobs().enqueue(Task(1)).max_attempts(1).await.unwrap().id;
    let took = world.until(id, JobState::Dead).await;
    assert!((Task::TIMEOUT..Task::TIMEOUT + SECOND).contains(&took), "{took:?}");
    assert_eq!(drops.count(), 1);
    assert_eq!(world.record(id).await.reason.as_deref(), Some("it took longer than 1000 s"));
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_can_not_be_read_is_a_failure_that_quotes_none_of_it() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, Duration::ZERO);
    let job = NewJob {
        payload: Content::from(r#""a secret""#),
        ..node.jobs().enqueue(Task(1)).into_new_job().unwrap()
    };
    world.store.enqueue_jobs(std::slice::from_ref(&job)).await.unwrap();
    sleep(5 * SECOND).await;
    let record = world.record(job.id).await;
    assert_eq!(record.state, JobState::Waiting, "a node of another release may be able to");
    let reason = record.reason.unwrap();
    assert!(reason.contains("can't be read") && !reason.contains("secret"), "{reason}");
    assert_eq!(log.attempts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_loses_nothing() {
    for method in ["claim_jobs", "finish_jobs", "renew_jobs"] {
        for is_lost in [false, true] {
            let (world, log) = (World::new(), Log::default());
            let (node, store) = world.logging(&log, 40 * SECOND);
            sleep(5 * SECOND).await;
            if is_lost {
                store.lose(method, 2);
            } else {
                store.fail(method, StoreErrorKind::Unavailable, 4);
            }
            let ids = [enqueue(&node, 1).await, enqueue(&node, 2).await];
            sleep(SECOND * 200).await;
            for id in ids {
                assert_eq!(world.state(id).await, JobState::Done, "{method} {is_lost}");
            }
            let mut attempts = log.attempts();
            attempts.sort_unstable();
            // A claim that nobody heard of is taken over when its lease has ended.
            let number = if method == "claim_jobs" && is_lost { 2 } else { 1 };
            assert_eq!(attempts, [(1, number), (2, number)], "{method} {is_lost}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_refuses_holds_up_no_other() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, SECOND);
    let [one, two] = [enqueue(&node, 1).await, enqueue(&node, 2).await];
    store.fail("finish_jobs", StoreErrorKind::Other, 2);
    sleep(5 * SECOND).await;
    let mut states = [world.state(one).await, world.state(two).await];
    states.sort_unstable();
    assert_eq!(states, [JobState::Running, JobState::Done], "both at once, then the first, are refused");
    sleep(2 * LEASE).await;
    assert_eq!([world.state(one).await, world.state(two).await], [JobState::Done; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_enqueued_job_whose_answer_was_lost_is_begun_all_the_same() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, Duration::ZERO);
    sleep(100 * SECOND).await;
    store.lose("enqueue_jobs", 1);
    let job = || node.jobs().enqueue(Task(1)).once_within("k", 60 * SECOND);
    assert_eq!(job().await.unwrap_err().code(), "unavailable");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(log.attempts(), [(1, 1)]);
    assert!(!job().await.unwrap().created);
    let all = world.store.jobs(&JobFilter::default(), None, 10).await.unwrap();
    assert_eq!(all.iter().filter(|job| job.kind.as_str() == Task::KIND).count(), 1);
}

/// What is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

#[expect(clippy::missing_trait_methods, reason = "no store")]
impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_when_it_begins_and_when_it_ends() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, SECOND);
    enqueue(&node, 1).await;
    sleep(SECOND / 2).await;
    for method in ["claim_jobs", "finish_jobs", "schedules", "job_counts"] {
        store.fail(method, StoreErrorKind::Unavailable, usize::MAX);
    }
    sleep(300 * SECOND).await;
    for method in ["claim_jobs", "finish_jobs", "schedules", "job_counts"] {
        store.fail(method, StoreErrorKind::Unavailable, 0);
    }
    sleep(300 * SECOND).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let of_jobs: Vec<_> = text.lines().filter(|line| line.contains("the store can")).collect();
    assert_eq!(of_jobs.len(), 2, "{text}");
    assert!(of_jobs[0].contains("WARN") && of_jobs[1].contains("INFO"), "{text}");
    assert!(store.calls("claim_jobs") < 250, "it is asked more rarely the longer it fails");
    assert_eq!(log.attempts(), [(1, 1)]);
}
