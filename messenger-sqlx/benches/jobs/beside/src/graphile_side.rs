//! graphile_worker, set for many jobs: it fetches 100 at once into its local queue, and completes what has ended within
//! a moment together.

use std::time::Duration;

use futures::future::try_join_all;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerContextExt as _,
    WorkerOptions, WorkerUtils,
};
use sqlx::PgPool;

use crate::{Asked, Result, Seen, Work, done, ready};

impl TaskHandler for Work {
    const IDENTIFIER: &'static str = "work";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(seen) = context.get_ext::<Seen>() {
            seen.one();
        }
        Ok::<(), String>(())
    }
}

pub(crate) async fn run(asked: &Asked) -> Result {
    let pool = asked.pool().await?;
    let seen = Seen::default();
    let worker = options(&pool, &seen).init().await?;
    ready().await?;
    match asked.task.as_str() {
        "each" => each(asked, worker.create_utils()).await?,
        "batches" => batches(asked, &worker.create_utils()).await?,
        _ => {
            for _ in 0..asked.width {
                let worker = options(&pool, &seen).init().await?;
                tokio::spawn(async move { worker.run().await });
            }
            seen.wait(asked.count).await;
        }
    }
    done().await
}

fn options(pool: &PgPool, seen: &Seen) -> WorkerOptions {
    WorkerOptions::default()
        .pg_pool(pool.clone())
        .concurrency(16)
        .local_queue(LocalQueueConfig::default().with_size(100))
        .complete_job_batch_delay(Duration::from_millis(1))
        .listen_os_shutdown_signals(false)
        .add_extension(seen.clone())
        .define_job::<Work>()
}

async fn each(asked: &Asked, utils: WorkerUtils) -> Result {
    let callers = asked.of_callers().into_iter().map(|numbers| {
        let jobs: Vec<Work> = numbers.into_iter().map(|number| asked.work(number)).collect();
        let utils = utils.clone();
        tokio::spawn(async move {
            for job in jobs {
                utils.add_job(job, JobSpec::default()).await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
    });
    for caller in try_join_all(callers).await? {
        caller?;
    }
    Ok(())
}

async fn batches(asked: &Asked, utils: &WorkerUtils) -> Result {
    let spec = JobSpec::default();
    for batch in asked.batches() {
        let jobs: Vec<(Work, &JobSpec)> = batch.into_iter().map(|job| (job, &spec)).collect();
        utils.add_jobs::<Work>(&jobs).await?;
    }
    Ok(())
}
