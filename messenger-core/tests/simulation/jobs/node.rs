//! A node that does jobs.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    Messenger, PasswordCost, Settings, Timestamp,
    context::{Clock, Context},
    hub::HubSettings,
    jobs::{Job, JobCx, JobError, JobResult, JobSettings, Retry, Schedule},
    memory::MemoryStore,
};
use tokio::time::sleep;

use super::{
    ledger::{Ledger, Life},
    plan::{Deed, How, INTERVAL, LEASE, RETRY, Setup},
};
use crate::{
    cluster::SimClock,
    record::Record,
    rng::{Rng, SeededRandom},
    store::SimStore,
};

impl Job for Deed {
    const KIND: &'static str = "deed";
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(18);
}

/// The job that recurs.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Round {}

impl Job for Round {
    const KIND: &'static str = "round";
    const RETRY: Retry = RETRY;
}

pub(super) struct Node {
    pub(super) messenger: Option<Messenger>,
    pub(super) store: Arc<SimStore>,
    pub(super) life: Life,
}

/// A clock that is behind the others.
struct Behind(Arc<SimClock>, Duration);

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        self.0.now().before(self.1)
    }
}

/// What nodes have in common.
pub(super) struct Common {
    pub(super) setup: Setup,
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<SimClock>,
    pub(super) record: Record,
    pub(super) ledger: Ledger,
}

impl Node {
    pub(super) fn start(number: usize, life: Life, common: &Common, rng: Rng) -> Self {
        let store = Arc::new(SimStore::new(Arc::clone(&common.store) as _, common.record.clone()));
        let clock = Behind(Arc::clone(&common.clock), common.setup.behind[number]);
        let context = Context::new(Arc::new(clock), Arc::new(SeededRandom::new(rng)));
        let (ledger, rounds) = (common.ledger.clone(), common.ledger.clone());
        let messenger = Messenger::builder(Arc::clone(&store) as _)
            .context(context)
            .settings(settings(&common.setup))
            .job(move |deed: Deed, cx| perform(deed, cx, ledger.clone(), life))
            .job(move |_: Round, cx| {
                let deed = Deed { takes: 300, fails: 0, how: How::Errs };
                perform(deed, cx, rounds.clone(), life)
            })
            .recurring("round", Schedule::every(INTERVAL), &Round {})
            .build()
            .expect("the settings are possible");
        Self { messenger: Some(messenger), store, life }
    }
}

fn settings(setup: &Setup) -> Settings {
    let jobs = JobSettings {
        parallel: setup.parallel,
        lease: LEASE,
        poll_interval: Duration::from_millis(700),
        stop_wait: Duration::from_secs(3),
        ..JobSettings::default()
    };
    let hub = HubSettings { poll_interval: Duration::ZERO, ..HubSettings::default() };
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    Settings { jobs, hub, password_cost, ..Settings::default() }
}

async fn perform(deed: Deed, cx: JobCx, ledger: Ledger, life: Life) -> JobResult {
    let at_work = ledger.begin(cx.id, life, cx.attempt, cx.max_attempts);
    sleep(Duration::from_millis(deed.takes)).await;
    if cx.attempt > deed.fails || deed.how == How::Snoozes && ledger.counts(cx.id).0 > deed.fails as usize {
        at_work.succeeded();
        return Ok(());
    }
    if deed.how == How::Dies || cx.attempt >= cx.max_attempts && deed.how != How::Snoozes {
        at_work.gave_up();
    } else {
        at_work.failed();
    }
    match deed.how {
        How::Errs => Err(JobError::failed("as planned")),
        How::Panics => std::panic::resume_unwind(Box::new("as planned")),
        How::Snoozes => Err(JobError::snooze(Duration::from_secs(2))),
        How::Dies => Err(JobError::dead("as planned")),
    }
}
