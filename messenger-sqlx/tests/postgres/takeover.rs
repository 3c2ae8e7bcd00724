//! A worker that is killed while it is at a job.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::postgres::fresh;
use messenger_core::{
    Messenger, Settings,
    jobs::{Job, JobCx, JobSettings},
};
use messenger_sqlx::PostgresStore;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The shortest that there is.
const LEASE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(500);
/// How much longer a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Set in the process that is killed, to the URL of the database.
const VICTIM: &str = "MESSENGER_TEST_VICTIM";

#[derive(Serialize, Deserialize)]
struct Print {}

impl Job for Print {
    const KIND: &'static str = "print";
}

fn settings() -> Settings {
    Settings {
        jobs: JobSettings { lease: LEASE, poll_interval: POLL, ..JobSettings::default() },
        ..Settings::default()
    }
}

#[tokio::test]
async fn what_a_killed_worker_had_begun_is_done_by_another_when_the_lease_has_ended() {
    if let Ok(url) = std::env::var(VICTIM) {
        return work_until_killed(&url).await;
    }
    let (store, database) = fresh().await;
    let enqueuing = Messenger::builder(Arc::clone(&store) as _).workers(false).build().unwrap();
    let id = enqueuing.jobs().enqueue(Print {}).await.unwrap().id;
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "takeover::what_a_killed_worker_had_begun_is_done_by_another_when_the_lease_has_ended",
            "--exact",
            "--nocapture",
        ])
        .env(VICTIM, database.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == format!("begun {id}")), "the worker has begun the job");
    victim.kill().unwrap();
    let killed = Instant::now();
    victim.wait().unwrap();
    let lease = enqueuing.jobs().get(id).await.unwrap().leased_until.expect("it is still held");

    let (done, mut attempts) = mpsc::channel(1);
    let handler = move |_: Print, cx: JobCx| {
        let done = done.clone();
        async move { Ok(done.send((cx.id, cx.attempt)).await?) }
    };
    let other = Messenger::builder(store).settings(settings()).job(handler).build().unwrap();
    assert_eq!(attempts.recv().await, Some((id, 2)));
    let now = messenger_core::context::Context::system().now();
    assert!(now > lease, "not before the lease has ended");
    let took = killed.elapsed();
    assert!(took < LEASE + POLL + PATIENCE, "{took:?}");
    other.close().await;
    enqueuing.close().await;
}

async fn work_until_killed(url: &str) {
    let store = PostgresStore::builder(url).max_connections(4).open().await.unwrap();
    let handler = async |_: Print, cx: JobCx| {
        println!("\nbegun {}", cx.id);
        std::future::pending().await
    };
    let messenger = Messenger::builder(Arc::new(store)).settings(settings()).job(handler).build().unwrap();
    // Not longer than the test may take, should nobody kill it.
    tokio::time::sleep(LEASE + PATIENCE).await;
    messenger.close().await;
}
