//! Our own side, in a process like the others: it says `ready`, does its task when it reads a line, and says `done`.

use std::{
    env,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::try_join_all;
use messenger_core::{
    Messenger,
    jobs::{Job, JobCx, Jobs},
};
use messenger_sqlx::PostgresStore;
use messenger_testing::bench::Result;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    sync::Notify,
};

/// First argument of this bench that makes it our side.
pub(crate) const SIDE: &str = "--be-our-side";
/// What each job is about, beside its number.
pub(crate) const TEXT: &str = "An invoice of one hundred and twenty bytes or so, as programs write them to themselves all \
day long, with a name and a place.";
/// Jobs of a batch.
const BATCH: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Work {
    number: usize,
    text: String,
}

impl Job for Work {
    const KIND: &'static str = "work";
}

pub(crate) struct Asked {
    url: String,
    task: String,
    count: usize,
    width: usize,
}

/// What this process is to do as our side, if it is that.
pub(crate) fn asked() -> Option<Result<Asked>> {
    let mut arguments = env::args().skip(1);
    if arguments.next()? != SIDE {
        return None;
    }
    let mut next = || arguments.next().ok_or("URL TASK COUNT WIDTH");
    let mut asked =
        || Ok(Asked { url: next()?, task: next()?, count: next()?.parse()?, width: next()?.parse()? });
    Some(asked())
}

pub(crate) fn run(asked: &Asked) -> Result {
    tokio::runtime::Runtime::new()?.block_on(async {
        let nodes = if asked.task == "work" { asked.width } else { 1 };
        let mut stores = Vec::new();
        for _ in 0..nodes {
            stores.push(Arc::new(PostgresStore::connect(&asked.url).await?));
        }
        say("ready")?;
        wait_for_line().await?;
        // They live until the end.
        let _nodes = match asked.task.as_str() {
            "work" => work(stores, asked.count).await?,
            task => {
                let nodes = stores.into_iter().map(|store| Messenger::builder(store).workers(false).build());
                let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
                let jobs = nodes[0].jobs();
                if task == "each" {
                    each(asked, &jobs).await?;
                } else {
                    batches(asked, &jobs).await?;
                }
                nodes
            }
        };
        say("done")?;
        wait_for_line().await
    })
}

async fn each(asked: &Asked, jobs: &Jobs) -> Result {
    let callers = (0..asked.width).map(|caller| {
        let (jobs, numbers) = (jobs.clone(), (caller..asked.count).step_by(asked.width));
        tokio::spawn(async move {
            for number in numbers {
                jobs.enqueue(Work::new(number)).await?;
            }
            Ok::<(), messenger_core::Error>(())
        })
    });
    for caller in try_join_all(callers).await? {
        caller?;
    }
    Ok(())
}

async fn batches(asked: &Asked, jobs: &Jobs) -> Result {
    for first in (0..asked.count).step_by(BATCH) {
        let batch = first..asked.count.min(first + BATCH);
        jobs.enqueue_all(batch.map(|number| jobs.enqueue(Work::new(number)))).await?;
    }
    Ok(())
}

/// Works so many off on a node for each of these stores, as a node is by default.
async fn work(stores: Vec<Arc<PostgresStore>>, count: usize) -> Result<Vec<Messenger>> {
    let seen = Arc::new((AtomicUsize::new(0), Notify::new()));
    let mut nodes = Vec::new();
    for store in stores {
        let seen = Arc::clone(&seen);
        let handler = move |_work: Work, _cx: JobCx| {
            let seen = Arc::clone(&seen);
            async move {
                seen.0.fetch_add(1, Ordering::Relaxed);
                seen.1.notify_one();
                Ok(())
            }
        };
        nodes.push(Messenger::builder(store).job(handler).build()?);
    }
    while seen.0.load(Ordering::Relaxed) < count {
        seen.1.notified().await;
    }
    Ok(nodes)
}

impl Work {
    fn new(number: usize) -> Self {
        Self { number, text: TEXT.to_owned() }
    }
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
