//! What is enqueued is done, in time and in order, and not too much of it at once.

use super::*;
use crate::{
    Actor, doc,
    jobs::Schedule,
    ports::{JobFilter, JobPriority},
    queries::GetMe,
};

#[tokio::test(start_paused = true)]
async fn a_job_is_begun_at_once_where_it_was_enqueued_and_soon_elsewhere() {
    let (world, log) = (World::new(), Log::default());
    let (here, _) = world.logging(&log, Duration::ZERO);
    sleep(1000 * SECOND).await;
    let id = enqueue(&here, 1).await;
    assert!(world.until(id, JobState::Done).await <= Duration::from_millis(1));
    let front = world.front();
    for number in 2..10 {
        sleep(100 * SECOND).await;
        let id = enqueue(&front, number).await;
        assert!(world.until(id, JobState::Done).await <= POLL + Duration::from_millis(1));
    }
    // One after the other.
    sleep(100 * SECOND).await;
    let id = enqueue(&front, 10).await;
    world.until(id, JobState::Done).await;
    let id = enqueue(&front, 11).await;
    assert!(world.until(id, JobState::Done).await <= SECOND / 5, "there was something to do lately");
    assert_eq!(log.attempts(), (1..=11).map(|number| (number, 1)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_enqueued_while_others_are_stored_are_stored_together() {
    let world = World::new();
    let (node, store) = world.node(|builder| builder.workers(false));
    let jobs = node.jobs();
    store.meanwhile("enqueue_jobs", sleep(SECOND));
    let enqueued =
        futures::future::try_join_all((0..100).map(|number| jobs.enqueue(Task(number)).into_future()));
    let mut ids: Vec<_> = enqueued.await.unwrap().into_iter().map(|job| (job.created, job.id)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    for (created, id) in ids {
        assert!(created && world.record(id).await.state == JobState::Waiting);
    }
    assert!(store.calls("enqueue_jobs") <= 2, "the first ones, and those that came meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_others_are_in_the_way_of_keeps_no_other_waiting() {
    let world = World::new();
    let (node, store) = world.node(|builder| builder.workers(false));
    let jobs = node.jobs();
    let first = jobs.enqueue(Task(1)).await.unwrap().id;
    for late in [jobs.enqueue(Task(2)).once("key"), jobs.enqueue(Task(2)).after(first)] {
        store.meanwhile("enqueue_jobs", sleep(5 * SECOND));
        let late = tokio::spawn(late.into_future());
        tokio::task::yield_now().await;
        let began = Instant::now();
        jobs.enqueue(Task(3)).await.unwrap();
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert!(late.await.unwrap().unwrap().created);
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_the_handle_longer_than_the_service_can_enqueue() {
    let world = World::new();
    let (node, _) = world.node(|builder| builder.workers(false));
    let jobs = node.jobs();
    drop(node);
    sleep(SECOND).await;
    let id = jobs.enqueue(Task(1)).await.unwrap().id;
    assert_eq!(world.record(id).await.state, JobState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn who_has_nothing_to_do_asks_rarely() {
    let world = World::new();
    let (node, store) = world.logging(&Log::default(), Duration::ZERO);
    enqueue(&node, 1).await;
    sleep(100 * SECOND).await;
    let before = store.calls("claim_jobs");
    sleep(100 * SECOND).await;
    assert_eq!(store.calls("claim_jobs") - before, 50);
    assert_eq!(store.calls("renew_jobs"), 0, "nothing is held");
    assert_eq!(store.calls("finish_jobs"), 1);
    assert!(store.calls("schedules") <= 5, "{}", store.calls("schedules"));
}

#[tokio::test(start_paused = true)]
async fn a_job_is_begun_when_its_time_has_come() {
    let (world, log) = (World::new(), Log::default());
    let (node, store) = world.logging(&log, Duration::ZERO);
    let jobs = node.jobs();
    jobs.enqueue(Task(1)).delay(Duration::from_millis(12_345)).await.unwrap();
    jobs.enqueue(Task(2)).at(world.context.now().after(3 * SECOND)).await.unwrap();
    jobs.enqueue(Task(3)).at(Timestamp::from_micros(0)).await.unwrap();
    sleep(20 * SECOND).await;
    assert_eq!(log.attempts(), [(3, 1), (2, 1), (1, 1)]);
    for (time, expected) in log.times().into_iter().zip([0.0, 3.0, 12.345]) {
        assert!((expected..expected + 0.003).contains(&time), "{time}");
    }
    assert!(store.calls("claim_jobs") < 40, "it was not asked for more than needed");
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_when_another_is_done() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, 10 * SECOND);
    let jobs = node.jobs();
    let first = enqueue(&node, 1).await;
    let second = jobs.enqueue(Task(2)).after(first).await.unwrap().id;
    let third = jobs.enqueue(Task(3)).after(second).delay(100 * SECOND).await.unwrap().id;
    world.until(third, JobState::Done).await;
    let times = log.times();
    assert_eq!(times.iter().map(|time| time.floor()).collect::<Vec<_>>(), [0.0, 10.0, 100.0]);
    assert!(times[1] < 10.01, "{times:?}");
    // Those after one that is dead wait for it, those after one that is cancelled are, too.
    let first = jobs.enqueue(Task(4)).delay(SECOND).await.unwrap().id;
    let second = jobs.enqueue(Task(5)).after(first).await.unwrap().id;
    jobs.cancel(first).await.unwrap();
    assert_eq!(world.state(second).await, JobState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_at_work_than_may_be() {
    let world = World::new();
    let (tasks, others) = (Gauge::default(), Gauge::default());
    let (in_all, of_tasks, of_others) = (Gauge::default(), tasks.clone(), others.clone());
    let all = in_all.clone();
    let (node, store) = world.node_with(JobSettings { parallel: 7, ..JobSettings::default() }, |builder| {
        let in_all = all.clone();
        let builder = builder.job(move |_: Task, _| {
            let (tasks, all) = (of_tasks.clone(), in_all.clone());
            async move {
                all.during(tasks.during(sleep(SECOND))).await;
                Ok(())
            }
        });
        builder.job(move |_: Other, _| {
            let (others, all) = (of_others.clone(), all.clone());
            async move {
                all.during(others.during(sleep(SECOND))).await;
                Ok(())
            }
        })
    });
    let jobs = node.jobs();
    jobs.enqueue_all((0..100).map(|n| jobs.enqueue(Task(n)))).await.unwrap();
    jobs.enqueue_all((0..30).map(|n| jobs.enqueue(Other(n)))).await.unwrap();
    sleep(Duration::from_millis(18_900)).await;
    assert_eq!((in_all.most(), others.most()), (7, 2));
    assert!(tasks.most() >= 5);
    let counts = jobs.counts().await.unwrap();
    let done: Vec<_> = counts.iter().map(|counts| (counts.kind.as_str(), counts.done)).collect();
    assert!(done.iter().map(|(_, done)| done).sum::<u64>() >= 7 * 18, "all places are used: {done:?}");
    assert!(done[0].0 == "other" && done[0].1 >= 28, "no kind waits for another: {done:?}");
    assert!(store.calls("claim_jobs") < 150, "{}", store.calls("claim_jobs"));
}

#[tokio::test(start_paused = true)]
async fn the_urgent_come_first() {
    let (world, log) = (World::new(), Log::default());
    let settings = JobSettings { parallel: 1, ..JobSettings::default() };
    let (seen, began) = (log.clone(), world.began);
    let (node, _) = world.node_with(settings, |builder| {
        builder.job(move |task: Task, cx| {
            seen.begun(began, task.0, &cx);
            async move {
                sleep(SECOND).await;
                Ok(())
            }
        })
    });
    let jobs = node.jobs();
    let task = |number, priority| jobs.enqueue(Task(number)).priority(priority);
    let all = [
        task(1, JobPriority::Low),
        task(2, JobPriority::Normal),
        task(3, JobPriority::High),
        task(4, JobPriority::Normal),
    ];
    jobs.enqueue_all(all).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(log.attempts(), [(3, 1), (2, 1), (4, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn one_of_a_key_is_enqueued_and_again_when_it_has_ended() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, 5 * SECOND);
    let jobs = node.jobs();
    let first = jobs.enqueue(Task(1)).once("k").await.unwrap();
    let again = jobs.enqueue(Task(2)).once("k").await.unwrap();
    assert_eq!((first.created, again.created, again.id), (true, false, first.id));
    sleep(10 * SECOND).await;
    let again = jobs.enqueue(Task(3)).once_within("k", 60 * SECOND).await.unwrap();
    assert_eq!((again.created, again.id), (false, first.id));
    assert!(jobs.enqueue(Task(4)).once_within("k", 9 * SECOND).await.unwrap().created);
    sleep(10 * SECOND).await;
    assert_eq!(log.attempts(), [(1, 1), (4, 1)]);
    for key in ["", "ключ", &"k".repeat(201)] {
        let error = jobs.enqueue(Task(5)).once(key).await.unwrap_err();
        assert_eq!(error.code(), "invalid");
    }
    let too_many = (0..1001).map(|n| jobs.enqueue(Task(n)));
    assert_eq!(jobs.enqueue_all(too_many).await.unwrap_err().code(), "invalid");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_paused_is_begun_when_it_is_resumed() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, Duration::ZERO);
    let (jobs, kind) = (node.jobs(), Task::KIND.parse().unwrap());
    jobs.pause(&kind).await.unwrap();
    let id = enqueue(&node, 1).await;
    sleep(100 * SECOND).await;
    assert!(log.attempts().is_empty() && jobs.counts().await.unwrap()[0].paused);
    jobs.resume(&kind).await.unwrap();
    assert!(world.until(id, JobState::Done).await <= Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_can_not_do_is_said() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = world.logging(&log, 5 * SECOND);
    let jobs = node.jobs();
    let id = enqueue(&node, 1).await;
    sleep(SECOND).await;
    let forbidden = |error: crate::Error| (error.code(), error.to_string());
    let (code, text) = forbidden(jobs.retry(id).await.unwrap_err());
    assert!(code == "forbidden" && text.contains("at work"), "{text}");
    let (code, text) = forbidden(jobs.drop(id).await.unwrap_err());
    assert!(code == "forbidden" && text.contains("cancel it first"), "{text}");
    sleep(5 * SECOND).await;
    let (code, text) = forbidden(jobs.cancel(id).await.unwrap_err());
    assert!(code == "forbidden" && text.contains("has ended"), "{text}");
    assert_eq!(jobs.drop(id).await.unwrap().state, JobState::Done);
    for answer in [jobs.get(id).await, jobs.retry(id).await, jobs.cancel(id).await, jobs.drop(id).await] {
        assert_eq!(answer.unwrap_err().code(), "notFound");
    }
    assert!(jobs.list(&JobFilter::default(), None, usize::MAX).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_use_the_service() {
    let world = World::new();
    let (sent, mut names) = tokio::sync::mpsc::channel(1);
    let (node, _) = world.worker(move |_, cx| {
        let sent = sent.clone();
        async move {
            let messenger = cx.messenger()?;
            let ada = doc::register(&messenger, "ada").await;
            let me = messenger.query(&Actor::on_behalf_of(ada.user()?), GetMe {}).await?;
            sent.send(me.user.username.as_str().to_owned()).await?;
            Ok(())
        }
    });
    enqueue(&node, 1).await;
    assert_eq!(names.recv().await.unwrap(), "ada");
}

#[tokio::test]
async fn names_that_are_none_or_are_there_twice_are_refused() {
    struct Bad;
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl<'de> serde::Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    impl Job for Bad {
        const KIND: &'static str = "messenger.mail";
    }
    let builder = || Messenger::builder(Arc::new(MemoryStore::new()));
    let task = |_: Task, _: JobCx| async { Ok(()) };
    let hourly = || Schedule::every(Duration::from_secs(3600));
    let refused = [
        builder().job(task).job(task),
        builder().job(|_: Bad, _| async { Ok(()) }),
        builder().recurring("every hour", hourly(), &Task(1)),
        builder().recurring("a", hourly(), &Task(1)).recurring("a", hourly(), &Task(2)),
        builder().recurring("messenger.tidy-sessions", hourly(), &Task(1)),
    ];
    for builder in refused {
        assert_eq!(builder.build().unwrap_err().code(), "internal");
    }
    let messenger =
        builder().job(task).recurring("a", hourly(), &Task(1)).recurring("b", hourly(), &Task(1)).build();
    messenger.unwrap().close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_done_and_what_waits_is_measured_by_kind() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let (node, _) = world.worker(|task, _| async move {
        match task.0 {
            0 => Ok(()),
            1 => Err(crate::jobs::JobError::dead("no")),
            2 => Err(crate::jobs::JobError::failed("no").retry_in(1000 * SECOND)),
            3 => Err(crate::jobs::JobError::snooze(1000 * SECOND)),
            _ => std::future::pending().await,
        }
    });
    let jobs = node.jobs();
    jobs.enqueue_all((0..6).map(|n| jobs.enqueue(Task(n)))).await.unwrap();
    let paused = jobs.enqueue(Other(1)).await.unwrap().id;
    sleep(65 * SECOND).await;
    let text = handle.render();
    let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    for (outcome, count) in [("done", 1), ("dead", 1), ("retried", 1), ("snoozed", 1), ("lost", 0)] {
        has(&format!(r#"messenger_job_duration_seconds_count{{kind="task",outcome="{outcome}"}} {count}"#));
    }
    has(r#"messenger_jobs_claimed_total{kind="task"} 6"#);
    has(r#"messenger_job_wait_seconds_count{kind="task"} 6"#);
    has(r#"messenger_jobs_running{kind="task"} 2"#);
    for (state, count) in [("due", 0), ("scheduled", 2), ("running", 2), ("done", 1), ("dead", 1)] {
        has(&format!(r#"messenger_jobs{{kind="task",state="{state}"}} {count}"#));
    }
    has(r#"messenger_jobs_oldest_due_seconds{kind="task"} 0"#);
    has(r#"messenger_jobs_oldest_due_seconds{kind="other"} 60"#);
    jobs.drop(paused).await.unwrap();
    sleep(60 * SECOND).await;
    let text = handle.render();
    for line in [
        r#"messenger_jobs_oldest_due_seconds{kind="other"} 0"#,
        r#"messenger_jobs{kind="other",state="due"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
