use std::{cell::Cell, future::Future, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures::future::join;
use tokio::{
    runtime::Builder,
    sync::{Barrier, Semaphore},
    task::yield_now,
    time::timeout,
};

use super::{FreshBus, FreshPresence, FreshStore, World};

/// A backend that deadlocks must not hang the whole test run.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a case on a runtime of its own, with several threads so that racing tasks run in parallel.
pub fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, case).await.expect("the case ends in time") })
}

/// Runs a case with a fresh store.
pub fn run_store_case<F: FreshStore>(fresh: impl Future<Output = F>, case: impl AsyncFnOnce(&World)) {
    run(async {
        let fresh = fresh.await;
        let world = World::of(&fresh);
        case(&world).await;
        // A case may have closed the store already; closing it again must do no harm.
        world.store.close().await;
    });
}

/// Runs a case with a fresh presence.
pub fn run_presence_case<F: FreshPresence>(
    fresh: impl Future<Output = F>,
    case: impl AsyncFnOnce(&dyn FreshPresence),
) {
    run(async { case(&fresh.await).await });
}

/// Runs a case with a fresh bus.
pub fn run_bus_case<F: FreshBus>(fresh: impl Future<Output = F>, case: impl AsyncFnOnce(&dyn FreshBus)) {
    run(async { case(&fresh.await).await });
}

/// Starts the futures at the same moment, each in a task of its own, and returns their answers in order.
pub async fn race<T, F>(racers: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let racers: Vec<F> = racers.into_iter().collect();
    let start = Arc::new(Barrier::new(racers.len()));
    let tasks: Vec<_> = racers
        .into_iter()
        .map(|racer| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                racer.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        answers.push(task.await.expect("no racer panics"));
    }
    answers
}

/// Lets writers take one step for each read, so that they are active for as long as the reads go on.
///
/// ```
/// use messenger_core::testkit::{Pace, run, while_racing};
///
/// let pace = Pace::default();
/// let paced = pace.clone();
/// let writer = async move {
///     for _ in 0..3 {
///         paced.step().await;
///     }
/// };
/// let mut reads = 0;
/// run(while_racing(pace, [writer], async || reads += 1));
/// assert!(reads > 3);
/// ```
#[derive(Debug, Clone)]
pub struct Pace(Arc<Semaphore>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Pace {
    /// Waits until a read begins.
    pub async fn step(&self) {
        self.0.acquire().await.expect("the semaphore stays open").forget();
    }
}

/// Reads repeatedly while the writers race, and once more when they are done.
pub async fn while_racing<F>(pace: Pace, writers: impl IntoIterator<Item = F>, mut read: impl AsyncFnMut())
where
    F: Future<Output = ()> + Send + 'static,
{
    let done = Cell::new(false);
    let write = async {
        race(writers).await;
        done.set(true);
    };
    let read = async {
        while !done.get() {
            pace.0.add_permits(1);
            read().await;
            // Yields, so that the end of the writers is noticed even if the store never waits.
            yield_now().await;
        }
        read().await;
    };
    join(write, read).await;
}

/// Polls the future at most `polls` times and then drops it: `None` if it had not completed by then.
pub async fn cut_short<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
