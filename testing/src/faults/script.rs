//! What goes wrong in a run, and when: drawn from the seed before anything happens.

use std::{fmt, str::FromStr, time::Duration};

use super::rng::Rng;

/// How the nodes hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// Over Redis.
    Redis,
    /// Over PostgreSQL alone.
    Postgres,
}

impl FromStr for BusKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "redis" => Ok(Self::Redis),
            "postgres" => Ok(Self::Postgres),
            _ => Err(format!("`{text}` is neither `redis` nor `postgres`")),
        }
    }
}

impl fmt::Display for BusKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Redis { "redis" } else { "postgres" })
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A node ends without a word (SIGKILL), and is started again.
    Kill { node: usize },
    /// A node is asked to end (SIGTERM), and is started again.
    Term { node: usize },
    /// The server of the bus ends without a word; what it held is gone.
    Restart,
    /// What it holds is gone.
    Flush,
    /// It stands still, and its connections stay.
    Freeze,
    /// The connections of a node to the bus end, and new ones are refused.
    Cut { node: usize },
    /// The connections of a node to the bus end, and new ones are taken at once.
    Break { node: usize },
    /// Nothing gets through between a node and the bus, and nobody is told.
    Stall { node: usize },
    /// All that goes between a node and the bus takes so much longer.
    Slow { node: usize, delay: Duration },
}

impl Fault {
    /// The names of all kinds, in the order of the report.
    pub(super) const KINDS: [&str; 9] =
        ["kill", "term", "restart", "flush", "freeze", "cut", "break", "stall", "slow"];

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Term { .. } => "term",
            Self::Restart => "restart",
            Self::Flush => "flush",
            Self::Freeze => "freeze",
            Self::Cut { .. } => "cut",
            Self::Break { .. } => "break",
            Self::Stall { .. } => "stall",
            Self::Slow { .. } => "slow",
        }
    }

    /// What it is about: two faults of the same thing never overlap.
    const fn target(self) -> (bool, usize) {
        match self {
            Self::Kill { node } | Self::Term { node } => (true, node),
            Self::Cut { node } | Self::Break { node } | Self::Stall { node } | Self::Slow { node, .. } => {
                (false, node)
            }
            Self::Restart | Self::Flush | Self::Freeze => (false, usize::MAX),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Slow { node, delay } => write!(f, " node {node} by {} ms", delay.as_millis()),
            Self::Restart | Self::Flush | Self::Freeze => Ok(()),
            Self::Kill { node }
            | Self::Term { node }
            | Self::Cut { node }
            | Self::Break { node }
            | Self::Stall { node } => write!(f, " node {node}"),
        }
    }
}

/// A fault and its time, from the beginning of a run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) fault: Fault,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// The faults of a seed, by their beginning. All have ended after `length`.
pub(super) fn script(seed: u64, length: Duration, nodes: usize, bus: BusKind) -> Vec<Step> {
    let mut rng = Rng::of(seed, 0);
    let mut steps: Vec<Step> = Vec::new();
    let mut from = rng.millis(500, 1500);
    loop {
        let lasts = rng.millis(500, 4000);
        let until = from + lasts;
        if until > length {
            return steps;
        }
        steps.push(Step { fault: fault(&mut rng, nodes, bus), from, until });
        // Some come two at a time.
        if rng.chance(30) {
            let other = fault(&mut rng, nodes, bus);
            if steps.last().is_some_and(|step| step.fault.target() != other.target()) {
                let later = from + rng.millis(0, 400);
                steps.push(Step { fault: other, from: later, until });
            }
        }
        from = until + rng.millis(500, 2500);
    }
}

fn fault(rng: &mut Rng, nodes: usize, bus: BusKind) -> Fault {
    let node = rng.below(nodes);
    let delay = rng.millis(20, 400);
    match (rng.below(100), bus) {
        (0..=15, _) => Fault::Kill { node },
        (16..=25, _) => Fault::Term { node },
        (26..=37, BusKind::Redis) => Fault::Restart,
        (38..=47, BusKind::Redis) => Fault::Flush,
        (48..=57, BusKind::Redis) => Fault::Freeze,
        (0..=69, _) => Fault::Cut { node },
        (70..=79, _) => Fault::Break { node },
        (80..=89, _) => Fault::Stall { node },
        _ => Fault::Slow { node, delay },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_decides_what_goes_wrong() {
        for seed in 0..50 {
            let steps = script(seed, LENGTH, 3, BusKind::Redis);
            assert_eq!(steps, script(seed, LENGTH, 3, BusKind::Redis));
            assert!(steps.len() >= 8, "{steps:?}");
            assert!(steps.iter().all(|step| step.from < step.until && step.until <= LENGTH));
        }
        assert_ne!(script(1, LENGTH, 3, BusKind::Redis), script(2, LENGTH, 3, BusKind::Redis));
    }

    #[test]
    fn faults_of_one_thing_do_not_overlap() {
        for seed in 0..200 {
            let steps = script(seed, LENGTH, 3, BusKind::Redis);
            for (n, step) in steps.iter().enumerate() {
                for other in &steps[n + 1..] {
                    assert!(
                        step.fault.target() != other.fault.target() || step.until <= other.from,
                        "{steps:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_kind_comes_and_only_what_the_bus_has() {
        let kinds = |bus| {
            let steps = (0..50).flat_map(move |seed| script(seed, LENGTH, 3, bus));
            steps.map(|step| step.fault.kind()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(kinds(BusKind::Redis).len(), Fault::KINDS.len());
        let on_postgres = kinds(BusKind::Postgres);
        assert!(["restart", "flush", "freeze"].iter().all(|kind| !on_postgres.contains(kind)));
    }
}
