//! The engine of background jobs: claims what is due, does it, and stores what became of it.

mod claiming;
mod counting;
mod finishing;
mod held;
mod kinds;
mod meters;
mod outage;
mod recurring;
mod renewing;
mod running;
mod scheduling;
mod stages;
mod stopping;
mod wake;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{held::Finished, kinds::Kinds, outage::Outage, stages::Stages};
pub(crate) use self::{
    held::Held,
    kinds::{Handler, Registration},
    recurring::Recurring,
    wake::Wake,
};
use super::settings::JobSettings;
use crate::{context::Context, ports::Store, tasks::TaskGroup};

/// How long a call of the store may take; a longer one counts as failed, and is made again.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest pause between two calls of a store that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The most jobs whose ends wait for being stored, beside those at work.
const ENDS: usize = 256;

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) context: Context,
    pub(crate) settings: JobSettings,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) recurring: Vec<Recurring>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) held: Arc<Held>,
    /// Cancelled when no more is begun.
    pub(crate) draining: CancellationToken,
}

struct Engine {
    store: Arc<dyn Store>,
    context: Context,
    settings: JobSettings,
    kinds: Arc<Kinds>,
    recurring: Vec<Recurring>,
    wake: Arc<Wake>,
    held: Arc<Held>,
    outage: Outage,
    /// The jobs at work, each in a task of its own.
    running: TaskTracker,
    ends: mpsc::Sender<Finished>,
    stages: Stages,
}

/// Starts the workers of a node. They end when the group is ended: what they have begun is done or given back then.
pub(crate) fn start(parts: Parts, tasks: &TaskGroup) {
    let Parts { store, context, settings, registrations, recurring, wake, held, draining } = parts;
    let settings = settings.clamped();
    let (ends, received) = mpsc::channel(ENDS);
    let engine = Arc::new(Engine {
        kinds: Kinds::new(settings.parallel, registrations),
        stages: Stages::new(&draining),
        outage: Outage::default(),
        running: TaskTracker::new(),
        store,
        context,
        settings,
        recurring,
        wake,
        held,
        ends,
    });
    spawn(&engine, tasks, "claiming", |engine| async move { engine.claim_until_stop().await });
    spawn(&engine, tasks, "scheduling", |engine| async move { engine.schedule_until_stop().await });
    spawn(&engine, tasks, "counting", |engine| async move { engine.count_until_stop().await });
    spawn(&engine, tasks, "renewing", |engine| async move { engine.renew_until_the_end().await });
    let finisher = Arc::clone(&engine);
    tasks.spawn_with_stop(|_| async move { finisher.finish_until_the_end(received).await });
    tasks.spawn_with_stop(|stop| async move { engine.stop_when(stop).await });
}

/// Starts a task that is begun anew if it panics, as a host's store may make it.
fn spawn<F: Future<Output = ()> + Send + 'static>(
    engine: &Arc<Engine>,
    tasks: &TaskGroup,
    what: &'static str,
    work: impl Fn(Arc<Engine>) -> F + Send + Sync + 'static,
) {
    let engine = Arc::clone(engine);
    tasks.spawn_with_stop(|_| async move {
        while AssertUnwindSafe(work(Arc::clone(&engine))).catch_unwind().await.is_err() {
            tracing::error!(what, "a task of the jobs has panicked, and is begun anew");
            sleep(LONGEST_PAUSE / 15).await;
        }
    });
}
