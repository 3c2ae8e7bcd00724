//! Jobs that recur, and the service's own.

use super::*;
use crate::{
    jobs::Schedule,
    ports::{JobFilter, ScheduleStore as _, StoreErrorKind},
};

/// A node with a task that recurs, and takes so long.
fn recurring(world: &World, log: &Log, schedule: Schedule, takes: Duration) -> (Messenger, Arc<TestStore>) {
    let (log, began) = (log.clone(), world.began);
    world.node(move |builder| {
        let builder = builder.job(move |task: Task, cx| {
            log.begun(began, task.0, &cx);
            async move {
                sleep(takes).await;
                Ok(())
            }
        });
        builder.recurring("often", schedule, &Task(7))
    })
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// All tasks that are stored, the newest first.
async fn tasks(world: &World) -> Vec<JobRecord> {
    let filter = JobFilter { kind: Some(Task::KIND.parse().unwrap()), state: None };
    world.store.jobs(&filter, None, 9999).await.unwrap()
}

fn floors(log: &Log) -> Vec<u64> {
    log.times().iter().map(|time| *time as u64).collect()
}

#[tokio::test(start_paused = true)]
async fn each_time_is_taken_once_over_all_nodes() {
    let (world, log) = (World::new(), Log::default());
    let _nodes = [(); 3].map(|()| recurring(&world, &log, Schedule::every(minutes(5)), SECOND));
    sleep(minutes(21)).await;
    assert_eq!(floors(&log), [300, 600, 900, 1200]);
    assert!(log.times().iter().all(|time| time.fract() < 0.1), "{:?}", log.times());
    assert!(log.attempts().iter().all(|attempt| *attempt == (7, 1)));
}

#[tokio::test(start_paused = true)]
async fn times_that_were_missed_are_made_up_for_by_one() {
    let (world, log) = (World::new(), Log::default());
    let hourly = || Schedule::cron("30 * * * *", "Europe/Berlin").unwrap();
    let (node, _) = recurring(&world, &log, hourly(), SECOND);
    sleep(minutes(31)).await;
    assert_eq!(floors(&log), [1800]);
    node.close().await;
    sleep(minutes(300)).await;
    let nodes = [(); 2].map(|()| recurring(&world, &log, hourly(), SECOND));
    sleep(SECOND).await;
    let moves: usize = nodes.iter().map(|(_, store)| store.calls("move_schedule")).sum();
    assert!(
        moves <= 2 * 3,
        "each of three schedules is moved once by each node at most, not once for each time"
    );
    sleep(minutes(61)).await;
    assert_eq!(floors(&log), [1800, 331 * 60, 390 * 60]);
    let due: Vec<_> = tasks(&world).await.iter().map(|job| job.run_at.to_string()).collect();
    assert_eq!(due, ["2026-01-01T06:30:00.000Z", "2026-01-01T01:30:00.000Z", "2026-01-01T00:30:00.000Z"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_over_is_not_overtaken() {
    let (world, log) = (World::new(), Log::default());
    let _nodes =
        [(); 2].map(|()| recurring(&world, &log, Schedule::every(minutes(1)), minutes(2) + SECOND * 30));
    sleep(minutes(8)).await;
    assert_eq!(floors(&log), [60, 240, 420]);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_whose_rule_is_another_goes_by_the_new_one() {
    let (world, log) = (World::new(), Log::default());
    let (node, _) = recurring(&world, &log, Schedule::every(minutes(60)), SECOND);
    sleep(minutes(1)).await;
    node.close().await;
    let (node, _) = recurring(&world, &log, Schedule::every(minutes(7)), SECOND);
    sleep(minutes(14)).await;
    assert_eq!(floors(&log).len(), 2);
    let schedules = node.jobs().schedules().await.unwrap();
    let often = schedules.iter().find(|schedule| schedule.name.as_str() == "often").unwrap();
    assert_eq!(often.rule, "every 420 s");
    assert!(node.jobs().remove_schedule(&often.name).await.unwrap());
    sleep(minutes(1) + SECOND).await;
    assert!(
        node.jobs()
            .schedules()
            .await
            .unwrap()
            .contains(&crate::ports::ScheduleRecord { last_job: None, ..often.clone() })
    );
}

#[tokio::test(start_paused = true)]
async fn two_releases_that_differ_in_a_rule_keep_no_job_from_being_enqueued() {
    let (world, log) = (World::new(), Log::default());
    let _old = recurring(&world, &log, Schedule::every(minutes(5)), SECOND);
    let _new = recurring(&world, &log, Schedule::every(minutes(6)), SECOND);
    sleep(minutes(60)).await;
    assert!((6..=22).contains(&log.times().len()), "{:?}", floors(&log));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_an_answer_that_is_lost_doubles_nothing() {
    let (world, log) = (World::new(), Log::default());
    let (_node, store) = recurring(&world, &log, Schedule::every(minutes(5)), SECOND);
    sleep(minutes(1)).await;
    store.lose("move_schedule", 1);
    sleep(minutes(5)).await;
    assert_eq!(log.times().len(), 1);
    store.fail("schedules", StoreErrorKind::Unavailable, 20);
    sleep(minutes(10)).await;
    assert!(log.times().len() >= 2, "{:?}", log.times());
    assert_eq!(tasks(&world).await.len(), log.times().len());
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_done_are_removed_later_and_the_dead_stay() {
    let world = World::new();
    let settings =
        JobSettings { keep_done: minutes(60), poll_interval: minutes(1), ..JobSettings::default() };
    let (node, store) = world.node_with(settings, |builder| {
        builder.job(|task: Task, _| async move {
            if task.0 == 1 { Err(crate::jobs::JobError::dead("no")) } else { Ok(()) }
        })
    });
    let dead = enqueue(&node, 1).await;
    let jobs = node.jobs();
    jobs.enqueue_all((0..999).map(|n| jobs.enqueue(Task(n + 2)))).await.unwrap();
    sleep(minutes(59)).await;
    assert_eq!(tasks(&world).await.len(), 1000);
    sleep(minutes(15)).await;
    assert_eq!(tasks(&world).await.len(), 1);
    assert_eq!(world.state(dead).await, JobState::Dead);
    assert!(
        world
            .store
            .schedules()
            .await
            .unwrap()
            .iter()
            .any(|schedule| schedule.name.as_str() == "messenger.prune-jobs")
    );
    // As often as it is due, and once more for every 500.
    assert!(store.calls("prune_jobs") <= 7 + 3, "{}", store.calls("prune_jobs"));
}
