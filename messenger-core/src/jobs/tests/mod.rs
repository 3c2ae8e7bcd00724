//! What the engine promises, on several nodes that have one store in memory, in simulated time.

mod failing;
mod leases;
mod recurring;
mod stopping;
mod working;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{Job, JobCx, JobResult, JobSettings, Retry};
use crate::{
    Builder, Messenger, PasswordCost, Settings,
    context::{Context, CountingRandom},
    domain::{JobId, Timestamp},
    memory::MemoryStore,
    ports::{JobRecord, JobState, JobStore as _},
    testing::{RuntimeClock, TestStore},
};

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(2);

/// A job that is known by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Task(u32);

impl Job for Task {
    const KIND: &'static str = "task";
    const RETRY: Retry =
        Retry { max_attempts: 3, first: Duration::from_secs(8), longest: Duration::from_secs(60) };
    const TIMEOUT: Duration = Duration::from_secs(1000);
}

/// Another kind, of which a node does two at a time.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Other(u32);

impl Job for Other {
    const KIND: &'static str = "other";
    const PARALLEL: usize = 2;
}

/// Several nodes on one store.
struct World {
    store: Arc<MemoryStore>,
    context: Context,
    began: Instant,
}

/// What handlers were called with, and when, and what came to an end.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u32, u32, f64)>>>);

impl Log {
    fn begun(&self, world: Instant, number: u32, cx: &JobCx) {
        self.0.lock().unwrap().push((number, cx.attempt, world.elapsed().as_secs_f64()));
    }

    /// The numbers and attempts.
    fn attempts(&self) -> Vec<(u32, u32)> {
        self.0.lock().unwrap().iter().map(|(number, attempt, _)| (*number, *attempt)).collect()
    }

    fn times(&self) -> Vec<f64> {
        self.0.lock().unwrap().iter().map(|(_, _, time)| *time).collect()
    }
}

impl World {
    fn new() -> Self {
        let began = Instant::now();
        let context = Context::new(Arc::new(RuntimeClock(began)), Arc::new(CountingRandom::default()));
        Self { store: Arc::new(MemoryStore::new()), context, began }
    }

    /// A node, with its own way to the store.
    fn node(&self, jobs: impl FnOnce(Builder) -> Builder) -> (Messenger, Arc<TestStore>) {
        self.node_with(JobSettings::default(), jobs)
    }

    fn node_with(
        &self,
        settings: JobSettings,
        jobs: impl FnOnce(Builder) -> Builder,
    ) -> (Messenger, Arc<TestStore>) {
        let store = TestStore::on(&self.store);
        let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let settings = Settings { password_cost, jobs: settings, ..Settings::default() };
        let builder =
            Messenger::builder(Arc::clone(&store) as _).context(self.context.clone()).settings(settings);
        (jobs(builder).build().unwrap(), store)
    }

    /// A node that does tasks.
    fn worker<F, Fut>(&self, handler: F) -> (Messenger, Arc<TestStore>)
    where
        F: Fn(Task, JobCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = JobResult> + Send + 'static,
    {
        self.node(|builder| builder.job(handler))
    }

    /// A node that writes down what tasks it does, each of which takes so long.
    fn logging(&self, log: &Log, takes: Duration) -> (Messenger, Arc<TestStore>) {
        let (log, began) = (log.clone(), self.began);
        self.worker(move |task, cx| {
            log.begun(began, task.0, &cx);
            async move {
                sleep(takes).await;
                Ok(())
            }
        })
    }

    /// A node that only enqueues.
    fn front(&self) -> Messenger {
        self.node(|builder| builder.workers(false)).0
    }

    async fn record(&self, id: JobId) -> JobRecord {
        self.store.job(id).await.unwrap()
    }

    async fn state(&self, id: JobId) -> JobState {
        self.record(id).await.state
    }

    /// How long it takes until a job is in this state; not longer than two hours.
    async fn until(&self, id: JobId, state: JobState) -> Duration {
        let began = Instant::now();
        while self.state(id).await != state {
            assert!(began.elapsed() < Duration::from_secs(7200), "it is {:?}", self.record(id).await);
            // What takes long need not be known to the millisecond.
            sleep(if began.elapsed() < 5 * SECOND { Duration::from_millis(1) } else { SECOND / 10 }).await;
        }
        began.elapsed()
    }
}

async fn enqueue(messenger: &Messenger, number: u32) -> JobId {
    messenger.jobs().enqueue(Task(number)).await.unwrap().id
}

/// How many are at work at the same time.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    async fn during(&self, work: impl Future<Output = ()>) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        work.await;
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// Counts what is dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn guard(&self) -> impl Send + use<> {
        struct Guard(Drops);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        Guard(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
