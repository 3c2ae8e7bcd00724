//! What happens in a run, drawn from the seed.

use std::time::Duration;

use messenger_core::jobs::Retry;

use crate::rng::Rng;

pub(super) const LEASE: Duration = Duration::from_secs(6);
/// How much the clocks of two nodes differ at most: a sixth of the lease, as is promised.
pub(super) const SKEW: Duration = Duration::from_secs(1);
pub(super) const RETRY: Retry =
    Retry { max_attempts: 5, first: Duration::from_secs(1), longest: Duration::from_secs(8) };
/// Of the job that recurs.
pub(super) const INTERVAL: Duration = Duration::from_secs(11);

#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    pub(super) parallel: usize,
    pub(super) faults: usize,
    /// How much later than others the clock of each node is.
    pub(super) behind: Vec<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) action: Action,
}

/// Numbers name nodes, and jobs in the order in which they were enqueued.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Enqueue { node: usize, deed: Deed, delay: Duration, after: Option<usize>, key: Option<u8> },
    Cancel { node: usize, job: usize },
    Retry { node: usize, job: usize },
    LoseAnswers { node: usize, writes: usize },
    RefuseWrites { node: usize, writes: usize },
    FailReads { node: usize, time: Duration },
    SlowStore { node: usize, time: Duration },
    Crash { node: usize },
    Stop { node: usize },
    Nothing,
}

/// What a job does.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Deed {
    /// How long an attempt takes, in milliseconds.
    pub(super) takes: u64,
    /// How many attempts fail.
    pub(super) fails: u32,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum How {
    Errs,
    Panics,
    Snoozes,
    Dies,
}

impl Setup {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0b5_0000);
        let nodes = 1 + rng.below(3);
        Self {
            nodes,
            parallel: 1 + rng.below(4),
            faults: if rng.chance(20) { 0 } else { 10 + rng.below(30) },
            behind: (0..nodes).map(|_| rng.millis(0, SKEW.as_millis() as u64)).collect(),
        }
    }
}

pub(super) fn steps(seed: u64, setup: &Setup) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    for _ in 0..20 + rng.below(60) {
        let after = match rng.below(10) {
            0..=4 => rng.millis(0, 30),
            5..=7 => rng.millis(0, 800),
            _ => rng.millis(0, 6000),
        };
        steps.push(Step { after, action: action(&mut rng, setup) });
    }
    steps
}

fn action(rng: &mut Rng, setup: &Setup) -> Action {
    let node = rng.below(setup.nodes);
    if rng.chance(setup.faults) {
        return fault(rng, node);
    }
    match rng.below(20) {
        0 => Action::Cancel { node, job: rng.below(20) },
        1 => Action::Retry { node, job: rng.below(20) },
        2 => Action::Nothing,
        _ => {
            let deed = deed(rng);
            let delay = if rng.chance(70) { Duration::ZERO } else { rng.millis(0, 9000) };
            let after = rng.chance(15).then(|| rng.below(20));
            let key = rng.chance(20).then(|| rng.below(3) as u8);
            Action::Enqueue { node, deed, delay, after, key }
        }
    }
}

fn deed(rng: &mut Rng) -> Deed {
    let takes = match rng.below(10) {
        0..=3 => 0,
        4..=6 => rng.next() % 500,
        7..=8 => rng.next() % 6000,
        _ => 5000 + rng.next() % 15_000,
    };
    let fails = if rng.chance(60) { 0 } else { rng.below(7) as u32 };
    let how = rng.pick(&[How::Errs, How::Errs, How::Panics, How::Snoozes, How::Dies]).unwrap_or(How::Errs);
    Deed { takes, fails, how }
}

fn fault(rng: &mut Rng, node: usize) -> Action {
    match rng.below(12) {
        0..=3 => Action::LoseAnswers { node, writes: 1 + rng.below(3) },
        4..=5 => Action::RefuseWrites { node, writes: 1 + rng.below(6) },
        6 => Action::FailReads { node, time: rng.millis(500, 9000) },
        7..=8 => Action::SlowStore { node, time: rng.millis(1000, 12_000) },
        9..=10 => Action::Crash { node },
        _ => Action::Stop { node },
    }
}
