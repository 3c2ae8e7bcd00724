//! What a run found, as a row of a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    checker::{Finding, Wrong},
    delays::Delays,
    script::{BusKind, Fault, Step},
};

/// What a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How the nodes heard of each other.
    pub bus: BusKind,
    /// Messages and edits that were acknowledged.
    pub acknowledged: usize,
    /// Events that told clients of changes.
    pub told: usize,
    /// How often each kind of fault came.
    pub faults: BTreeMap<&'static str, usize>,
    /// From the acknowledgement to a client that was connected then: the median, the 99th percentile, and the longest.
    pub delays: [Duration; 3],
    /// Where the longest delay was, and what went wrong meanwhile.
    pub longest: String,
    /// How often a request was not answered for 20 s over a connection that stayed.
    pub hung: usize,
    /// From the end of the last fault until everybody had everything.
    pub settled: Duration,
    /// From then until everybody was shown as they are.
    pub presence: Duration,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Outcome {
    pub(super) fn count(script: &[Step]) -> BTreeMap<&'static str, usize> {
        let mut faults = BTreeMap::new();
        for step in script {
            *faults.entry(step.fault.kind()).or_default() += 1;
        }
        faults
    }

    pub(super) fn delays(delays: &Delays) -> [Duration; 3] {
        [delays.at(500), delays.at(990), delays.longest()]
    }

    /// How many findings are of this kind.
    pub fn wrong(&self, wrong: Wrong) -> usize {
        self.findings.iter().filter(|finding| finding.wrong == wrong).count()
    }

    /// The head of the table, in Markdown.
    pub fn head() -> String {
        let mut head = "| seed | bus | acknowledged | told |".to_owned();
        for kind in Fault::KINDS {
            head += &format!(" {kind} |");
        }
        head += " delay p50, p99, longest | all told after | presence after | lost | doubled | other |\n|";
        head + &"---|".repeat(4 + Fault::KINDS.len() + 6)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | {} | {} |", self.seed, self.bus, self.acknowledged, self.told)?;
        for kind in Fault::KINDS {
            write!(f, " {} |", self.faults.get(kind).copied().unwrap_or(0))?;
        }
        let [median, most, longest] = self.delays.map(seconds);
        let (lost, doubled) = (self.wrong(Wrong::Lost), self.wrong(Wrong::Doubled));
        write!(
            f,
            " {median}, {most}, {longest} | {} | {} | {lost} | {doubled} | {} |",
            seconds(self.settled),
            seconds(self.presence),
            self.findings.len() - lost - doubled
        )
    }
}

fn seconds(time: Duration) -> String {
    let millis = time.as_micros() as f64 / 1000.0;
    if millis < 100.0 { format!("{millis:.1} ms") } else { format!("{:.1} s", millis / 1000.0) }
}
