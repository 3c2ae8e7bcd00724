//! One run: the steps of a plan, and at last the comparison with what is stored.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use messenger_core::{
    JobId, Messenger,
    jobs::Job as _,
    memory::MemoryStore,
    ports::{JobFilter, JobRecord, JobState, JobStore as _},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    ledger::{Found, Ledger},
    node::{Common, Node, Round},
    plan::{Action, Deed, INTERVAL, LEASE, Setup, Step},
};
use crate::{cluster::SimClock, record::Record, rng::Rng};

pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    pub(super) record: Record,
    pub(super) found: Found,
}

pub(super) fn run(seed: u64, setup: &Setup, steps: &[Step]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    runtime.block_on(async {
        let mut run = Run::new(seed, setup.clone());
        for step in steps {
            sleep(step.after).await;
            run.begin(step.action).await;
            if run.common.record.is_wrong() {
                break;
            }
        }
        let found = run.settle().await;
        let record = run.common.record.clone();
        let violation = record.lock().violation.clone();
        Outcome { violation, record, found }
    })
}

struct Run {
    common: Common,
    rng: Rng,
    nodes: Vec<Node>,
    lives: u64,
    /// They go on, though nobody sees it, and are not told to stop.
    killed: Vec<Messenger>,
    /// Those that were acknowledged.
    jobs: Vec<JobId>,
    work: JoinSet<Option<JobId>>,
}

impl Run {
    fn new(seed: u64, setup: Setup) -> Self {
        let mut rng = Rng::new(seed ^ 0x0dd_1075);
        let record = Record::new(rng.fork());
        let ledger = Ledger::new(record.clone());
        let common = Common {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::new(SimClock::new()),
            record,
            ledger,
            setup,
        };
        let (nodes, killed, jobs) = (Vec::new(), Vec::new(), Vec::new());
        let mut run = Self { common, rng, nodes, lives: 0, killed, jobs, work: JoinSet::new() };
        for number in 0..run.common.setup.nodes {
            let node = run.start(number);
            run.nodes.push(node);
        }
        run
    }

    fn start(&mut self, number: usize) -> Node {
        self.lives += 1;
        self.common.record.log(format!("process {} is node {number}", self.lives));
        Node::start(number, self.lives, &self.common, self.rng.fork())
    }

    async fn begin(&mut self, action: Action) {
        self.common.record.log(format!("{action:?}"));
        self.note_answers();
        match action {
            Action::Enqueue { node, deed, delay, after, key } => self.enqueue(node, deed, delay, after, key),
            Action::Cancel { node, job } => {
                let (Some(messenger), Some(job)) = (self.messenger(node), self.job(job)) else { return };
                self.work.spawn(async move {
                    let _ = messenger.jobs().cancel(job).await;
                    None
                });
            }
            Action::Retry { node, job } => {
                let (Some(messenger), Some(job)) = (self.messenger(node), self.job(job)) else { return };
                self.work.spawn(async move {
                    let _ = messenger.jobs().retry(job).await;
                    None
                });
            }
            Action::LoseAnswers { node, writes } => self.nodes[node].store.faults().lose_answers = writes,
            Action::RefuseWrites { node, writes } => self.nodes[node].store.faults().refuse_writes = writes,
            Action::FailReads { node, time } => {
                self.nodes[node].store.faults().reads_fail_until = Some(Instant::now() + time);
            }
            Action::SlowStore { node, time } => {
                self.nodes[node].store.faults().slow_until = Some(Instant::now() + time);
            }
            Action::Crash { node } => self.crash(node).await,
            Action::Stop { node } => self.stop(node).await,
            Action::Nothing => {}
        }
    }

    fn enqueue(&mut self, node: usize, deed: Deed, delay: Duration, after: Option<usize>, key: Option<u8>) {
        let Some(messenger) = self.messenger(node) else { return };
        let mut job = messenger.jobs().enqueue(deed).delay(delay);
        if let Some(other) = after.and_then(|other| self.job(other)) {
            job = job.after(other);
        }
        if let Some(key) = key {
            job = job.once(format!("key {key}"));
        }
        self.work.spawn(async move { job.await.ok().map(|job| job.id) });
    }

    fn messenger(&self, node: usize) -> Option<Messenger> {
        self.nodes[node].messenger.clone()
    }

    fn job(&self, number: usize) -> Option<JobId> {
        self.jobs.get(number % self.jobs.len().max(1)).copied()
    }

    fn note_answers(&mut self) {
        while let Some(answer) = self.work.try_join_next() {
            self.jobs.extend(answer.ok().flatten());
        }
    }

    /// The process is no more, and a while later there is another one in its place.
    async fn crash(&mut self, number: usize) {
        let life = self.nodes[number].life;
        self.nodes[number].store.faults().dead = true;
        self.common.ledger.killed(life);
        self.common.record.log(format!("process {life} is killed"));
        // What it still does is seen by nobody.
        self.killed.extend(self.nodes[number].messenger.take());
        let time = self.rng.millis(0, 3000);
        sleep(time).await;
        self.nodes[number] = self.start(number);
    }

    async fn stop(&mut self, number: usize) {
        let Some(messenger) = self.nodes[number].messenger.take() else { return };
        if timeout(Duration::from_secs(60), messenger.close()).await.is_err() {
            self.common.record.wrong(format!("node {number} does not stop"));
        }
        self.nodes[number] = self.start(number);
    }

    /// From now on nothing goes wrong, and after some time everything has come to its end.
    async fn settle(&mut self) -> Found {
        self.common.record.log("faults end");
        for node in &self.nodes {
            let mut faults = node.store.faults();
            (faults.lose_answers, faults.refuse_writes) = (0, 0);
            (faults.reads_fail_until, faults.slow_until) = (None, None);
        }
        self.wait_for_the_end().await;
        let before = self.rounds().await;
        sleep(INTERVAL * 4).await;
        self.note_answers();
        let mut found = Found::default();
        for id in self.jobs.iter().copied().collect::<BTreeSet<_>>() {
            match self.common.store.job(id).await {
                Ok(stored) => found += self.common.ledger.check(&stored),
                Err(error) => self.common.record.wrong(format!("job {id} was acknowledged: {error}")),
            }
        }
        self.check_rounds(&before).await;
        if self.common.setup.faults == 0 && found.abandoned > 0 {
            self.common.record.wrong("jobs are abandoned although nothing went wrong");
        }
        found
    }

    async fn wait_for_the_end(&self) {
        // Every attempt of a job may have to wait for a lease; several wait for each other, or for a place.
        for _ in 0..200 {
            sleep(LEASE).await;
            let open = |job: &JobRecord| matches!(job.state, JobState::Waiting | JobState::Running);
            let jobs = self.common.store.jobs(&JobFilter::default(), None, usize::MAX).await;
            let deeds = jobs.unwrap_or_default().into_iter().filter(|job| job.kind.as_str() == Deed::KIND);
            if !deeds.into_iter().any(|job| open(&job)) || self.common.record.is_wrong() {
                return;
            }
        }
    }

    async fn rounds(&self) -> Vec<JobRecord> {
        let filter = JobFilter { kind: Round::KIND.parse().ok(), state: None };
        self.common.store.jobs(&filter, None, usize::MAX).await.expect("memory answers")
    }

    /// Of the job that recurs there was one for each time, and none was left out since there was nothing else to do.
    async fn check_rounds(&self, before: &[JobRecord]) {
        let rounds = self.rounds().await;
        let times: BTreeSet<_> = rounds.iter().map(|job| job.run_at).collect();
        if times.len() != rounds.len() {
            self.common.record.wrong(format!("a time was taken twice: {times:?}"));
        }
        if self.common.record.is_wrong() {
            return;
        }
        let last = before.first().map(|job| job.run_at);
        let later: Vec<_> = times.into_iter().filter(|time| Some(*time) > last).collect();
        let gaps = later.windows(2).filter(|pair| pair[1].since(pair[0]) != INTERVAL).count();
        if later.len() < 3 || gaps > 0 {
            self.common.record.wrong(format!("times were left out: {later:?} after {last:?}"));
        }
    }
}
