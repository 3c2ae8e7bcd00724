//! One side of the benchmark of background jobs: `jobs-beside NAME URL TASK COUNT WIDTH PAYLOAD`. It says `ready`, does its task
//! when it reads a line, says `done`, and ends when its input does.

mod apalis_side;
mod graphile_side;

use std::{
    error::Error,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Notify,
};

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// As many as the store of ours has.
const CONNECTIONS: u32 = 16;
/// Jobs of a batch.
const BATCH: usize = 1000;

/// What is enqueued.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Work {
    number: usize,
    text: String,
}

struct Asked {
    url: String,
    task: String,
    count: usize,
    width: usize,
    payload: String,
}

impl Asked {
    async fn pool(&self) -> Result<PgPool> {
        Ok(PgPoolOptions::new()
            .min_connections(CONNECTIONS)
            .max_connections(CONNECTIONS)
            .test_before_acquire(false)
            .connect(&self.url)
            .await?)
    }

    fn work(&self, number: usize) -> Work {
        Work { number, text: self.payload.clone() }
    }

    /// The numbers that each of the callers enqueues.
    fn of_callers(&self) -> Vec<Vec<usize>> {
        (0..self.width).map(|caller| (caller..self.count).step_by(self.width).collect()).collect()
    }

    fn batches(&self) -> impl Iterator<Item = Vec<Work>> {
        (0..self.count)
            .step_by(BATCH)
            .map(|first| (first..self.count.min(first + BATCH)).map(|number| self.work(number)).collect())
    }
}

/// Counts the jobs that have come to their handler.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<(AtomicUsize, Notify)>);

impl Seen {
    fn one(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    async fn wait(&self, count: usize) {
        while self.0.0.load(Ordering::Relaxed) < count {
            self.0.1.notified().await;
        }
    }
}

/// Says that all is prepared, and waits until it is to begin.
async fn ready() -> Result {
    say("ready")?;
    wait_for_line().await
}

/// Says that it is done, and waits for the end.
async fn done() -> Result {
    say("done")?;
    wait_for_line().await
}

fn say(word: &str) -> Result {
    let mut output = std::io::stdout();
    writeln!(output, "{word}")?;
    Ok(output.flush()?)
}

async fn wait_for_line() -> Result {
    BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("NAME URL TASK COUNT WIDTH PAYLOAD");
    let name = next()?;
    let asked = Asked {
        url: next()?,
        task: next()?,
        count: next()?.parse()?,
        width: next()?.parse()?,
        payload: next()?,
    };
    match name.as_str() {
        "apalis" => apalis_side::run(&asked).await,
        "graphile_worker" => graphile_side::run(&asked).await,
        other => Err(format!("there is no {other}").into()),
    }
}
