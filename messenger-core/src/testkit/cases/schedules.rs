use std::{sync::Arc, time::Duration};

use crate::{
    domain::Timestamp,
    ports::{JobState, MoveSchedule, NewJob, ScheduleName, ScheduleRecord, StoreErrorKind, UniqueJob},
    testkit::{World, error_kind, race},
};

const RULE: &str = "0 3 * * * Europe/Berlin";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn name(name: &str) -> ScheduleName {
    name.parse().unwrap()
}

fn job(world: &World) -> NewJob {
    world.job("nightly")
}

fn step(
    schedule: &str,
    expected: Option<Timestamp>,
    next_at: Timestamp,
    job: Option<NewJob>,
) -> MoveSchedule {
    MoveSchedule { name: name(schedule), expected, next_at, rule: RULE.to_owned(), job }
}

async fn moved(world: &World, step: &MoveSchedule) -> bool {
    world.store.move_schedule(step).await.unwrap()
}

async fn schedules(world: &World) -> Vec<ScheduleRecord> {
    world.store.schedules().await.unwrap()
}

/// A schedule that has just been made, and when it is due.
async fn made(world: &World, schedule: &str) -> Timestamp {
    let next_at = world.tick();
    assert!(moved(world, &step(schedule, None, next_at, None)).await);
    next_at
}

pub async fn move_schedule_enqueues_its_job(world: &World) {
    let due = made(world, "a").await;
    let (first, second) = (job(world), job(world));
    let (next, later) = (due.after(DAY), due.after(2 * DAY));
    assert!(moved(world, &step("a", Some(due), next, Some(first.clone()))).await);
    let stored = world.store.job(first.id).await.unwrap();
    assert_eq!((stored.state, stored.kind, stored.run_at), (JobState::Waiting, first.kind, first.run_at));
    let changed = MoveSchedule { rule: "@hourly".to_owned(), ..step("a", Some(next), later, None) };
    let record = |rule: &str, next_at, last| ScheduleRecord {
        name: name("a"),
        rule: rule.to_owned(),
        next_at,
        last_job: Some(last),
    };
    assert_eq!(schedules(world).await, [record(RULE, next, first.id)]);
    assert!(moved(world, &MoveSchedule { job: Some(second.clone()), ..changed }).await);
    assert_eq!(schedules(world).await, [record("@hourly", later, second.id)]);
}

pub async fn move_schedule_without_a_job_sets_its_time(world: &World) {
    let due = made(world, "a").await;
    let record =
        |next_at, last_job| ScheduleRecord { name: name("a"), rule: RULE.to_owned(), next_at, last_job };
    assert_eq!(schedules(world).await, [record(due, None)]);
    let first = job(world);
    assert!(moved(world, &step("a", Some(due), due.after(DAY), Some(first.clone()))).await);
    // To an earlier time, as a rule that was changed may have it.
    assert!(moved(world, &step("a", Some(due.after(DAY)), due, None)).await);
    assert_eq!(schedules(world).await, [record(due, Some(first.id))], "the last job stays");
}

pub async fn move_schedule_from_another_time_is_nothing(world: &World) {
    let due = made(world, "a").await;
    let before = schedules(world).await;
    let wrong = [
        step("a", None, due.after(DAY), Some(job(world))),
        step("a", Some(due.after(Duration::from_micros(1))), due.after(DAY), Some(job(world))),
        step("b", Some(due), due.after(DAY), Some(job(world))),
    ];
    for wrong in wrong {
        assert!(!moved(world, &wrong).await, "{wrong:?}");
        let job = wrong.job.unwrap().id;
        assert_eq!(error_kind(world.store.job(job).await), StoreErrorKind::NotFound);
        assert_eq!(schedules(world).await, before);
    }
}

pub async fn move_schedule_passes_over_a_job_whose_key_is_in_use(world: &World) {
    let due = made(world, "a").await;
    let keyed = || NewJob { unique: Some(UniqueJob { key: "k".to_owned(), since: None }), ..job(world) };
    let (first, second) = (keyed(), keyed());
    assert!(moved(world, &step("a", Some(due), due.after(DAY), Some(first.clone()))).await);
    assert!(moved(world, &step("a", Some(due.after(DAY)), due.after(2 * DAY), Some(second.clone()))).await);
    assert_eq!(error_kind(world.store.job(second.id).await), StoreErrorKind::NotFound);
    let [record] = schedules(world).await.try_into().unwrap();
    assert_eq!((record.next_at, record.last_job), (due.after(2 * DAY), Some(first.id)));
}

pub async fn move_schedule_of_many_racers_is_done_by_one(world: &World) {
    let at = world.tick();
    // First the race to make it, then the one from its first time to the second.
    for (expected, next_at) in [(None, at), (Some(at), at.after(DAY))] {
        let jobs: Vec<_> = (0..8).map(|_| job(world)).collect();
        let racers = jobs.iter().cloned().map(|job| {
            let store = Arc::clone(&world.store);
            async move { store.move_schedule(&step("a", expected, next_at, Some(job))).await.unwrap() }
        });
        let done = race(racers).await;
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
        for (job, done) in jobs.iter().zip(done) {
            assert_eq!(world.store.job(job.id).await.is_ok(), done);
        }
    }
    let [record] = schedules(world).await.try_into().unwrap();
    assert_eq!(record.next_at, at.after(DAY));
}

pub async fn schedules_lists_by_name(world: &World) {
    assert_eq!(schedules(world).await, []);
    let long = "n".repeat(64);
    for schedule in ["b", "a.b", &long, "a-b", "a", "a_b", "a0"] {
        made(world, schedule).await;
    }
    let names: Vec<_> = schedules(world).await.into_iter().map(|schedule| schedule.name).collect();
    assert_eq!(names, ["a", "a-b", "a.b", "a0", "a_b", "b", &long].map(name));
}

pub async fn remove_schedule_forgets_it(world: &World) {
    let due = made(world, "a").await;
    made(world, "b").await;
    let job = job(world);
    assert!(moved(world, &step("a", Some(due), due.after(DAY), Some(job.clone()))).await);
    assert!(world.store.remove_schedule(&name("a")).await.unwrap());
    assert!(!world.store.remove_schedule(&name("a")).await.unwrap());
    let names: Vec<_> = schedules(world).await.into_iter().map(|schedule| schedule.name).collect();
    assert_eq!(names, [name("b")]);
    assert!(world.store.job(job.id).await.is_ok());
    // It may be made again.
    made(world, "a").await;
}
