//! Background jobs in the store of a server, for the browser tests of `/ops`: `browser-jobs STORE_URL`. There is one of
//! each that the page shows, of a kind that no server does, so that they stay as they are. What they are about begins
//! with `secret`.

use std::{error::Error, sync::Arc, time::Duration};

use messenger_core::{
    context::Context,
    ports::{ClaimJobs, ClaimedJob, Content, FinishedJob, JobKind, JobOutcome, JobPriority, NewJob, Store},
};
use messenger_mssql::MssqlStore;
use messenger_sqlx::{PostgresStore, SqliteStore};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let url = std::env::args().nth(1).ok_or("the URL of a store is missing")?;
    let store = open(&url).await?;
    let done = enqueue(&*store, &Context::system()).await;
    store.close().await;
    done
}

async fn open(url: &str) -> Result<Arc<dyn Store>> {
    Ok(if let Some(path) = url.strip_prefix("sqlite://") {
        Arc::new(SqliteStore::builder(path).shared(true).open().await?)
    } else if url.starts_with("postgres") {
        Arc::new(PostgresStore::connect(url).await?)
    } else {
        Arc::new(MssqlStore::connect(url).await?)
    })
}

async fn enqueue(store: &dyn Store, context: &Context) -> Result {
    let kind: JobKind = "invoices.send".parse()?;
    let now = context.now();
    let new = |run_at| NewJob {
        id: context.id(),
        kind: kind.clone(),
        payload: Content::from(r#"{"text":"secret words"}"#),
        priority: JobPriority::Normal,
        run_at,
        max_attempts: 3,
        unique: None,
        after: None,
        created_at: now,
    };
    store.enqueue_jobs(&[new(now), new(now), new(now), new(now)]).await?;
    let claim = ClaimJobs { kinds: vec![(kind.clone(), 4)], now, until: now.after(HOUR) };
    let claimed = store.claim_jobs(&claim).await?;
    let [done, failed, dead, ..] = claimed.as_slice() else { return Err("not all were claimed".into()) };
    let finished = [
        end(done, JobOutcome::Done),
        end(failed, JobOutcome::Failed { retry_at: now.after(HOUR), reason: "the line was cut".to_owned() }),
        end(dead, JobOutcome::Dead { reason: "the printer is on fire".to_owned() }),
    ];
    store.finish_jobs(&finished, now).await?;
    store.enqueue_jobs(&[new(now.after(2 * HOUR))]).await?;
    Ok(())
}

fn end(claimed: &ClaimedJob, outcome: JobOutcome) -> FinishedJob {
    FinishedJob { claim: claimed.claim, outcome }
}
