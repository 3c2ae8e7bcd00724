//! apalis on its PostgreSQL backend, set as its own example sets it for many jobs: batches of 100, without a write for
//! each job that is begun, each job in a task.

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use futures::{future::try_join_all, stream};
use sqlx::PgPool;

use crate::{Asked, Result, Seen, Work, done, ready};

pub(crate) async fn run(asked: &Asked) -> Result {
    let pool = asked.pool().await?;
    PostgresStorage::setup(&pool).await?;
    ready().await?;
    match asked.task.as_str() {
        "each" => each(asked, &pool).await?,
        "batches" => batches(asked, &pool).await?,
        _ => return work(asked, &pool).await,
    }
    done().await
}

fn storage(pool: &PgPool) -> PostgresStorage<Work> {
    let config = Config::default().queue("work").batch_size(100).lock_tasks(false);
    PostgresStorage::new(pool).with_config(config)
}

async fn each(asked: &Asked, pool: &PgPool) -> Result {
    let callers = asked.of_callers().into_iter().map(|numbers| {
        let (mut storage, jobs) = (storage(pool), numbers.into_iter().map(|number| asked.work(number)));
        let jobs: Vec<Work> = jobs.collect();
        tokio::spawn(async move {
            for job in jobs {
                storage.push(job).await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
    });
    for caller in try_join_all(callers).await? {
        caller?;
    }
    Ok(())
}

async fn batches(asked: &Asked, pool: &PgPool) -> Result {
    let mut storage = storage(pool);
    for batch in asked.batches() {
        let tasks = batch.into_iter().map(|job| TaskBuilder::new(job).build());
        storage.push_all(&mut stream::iter(tasks)).await?;
    }
    Ok(())
}

async fn work(asked: &Asked, pool: &PgPool) -> Result {
    let seen = Seen::default();
    for number in 0..asked.width {
        let seen = seen.clone();
        let worker = WorkerBuilder::new(format!("worker-{number}"))
            .backend(storage(pool))
            .parallelize(tokio::spawn)
            .build(move |_work: Work| {
                let seen = seen.clone();
                async move {
                    seen.one();
                    Ok::<(), BoxDynError>(())
                }
            });
        tokio::spawn(worker.run());
    }
    seen.wait(asked.count).await;
    done().await
}
