//! What came out, as a table.

use messenger_testing::bench::Figures;

use crate::side::{Done, Kind, Task};

pub(crate) struct Grid {
    kinds: Vec<Kind>,
    rounds: Vec<(Kind, Task, Done)>,
}

impl Grid {
    pub(crate) fn new(kinds: &[Kind]) -> Self {
        Self { kinds: kinds.to_vec(), rounds: vec![] }
    }

    pub(crate) fn add(&mut self, kind: Kind, task: Task, done: Done) {
        let Done { rate, cpu, server } = done;
        eprintln!("{}, {task}: {rate:.0}/s, {cpu:.3} and {server:.3} ms", kind.name());
        self.rounds.push((kind, task, done));
    }

    /// Jobs a second, the median of the rounds; none if it was not measured.
    pub(crate) fn rate(&self, kind: Kind, task: Task) -> Option<f64> {
        let rate = self.figures(kind, task, |done| done.rate).median;
        (!rate.is_nan()).then_some(rate)
    }

    fn figures(&self, kind: Kind, task: Task, figure: impl Fn(&Done) -> f64) -> Figures {
        let rounds = self.rounds.iter().filter(|(of, what, _)| *of == kind && what.is_as(task));
        Figures::of(rounds.map(|(_, _, done)| figure(done)))
    }

    pub(crate) fn print(&self) {
        println!("\n| | | jobs/s | (best) | CPU | PostgreSQL | ours to it |\n|---|---|--:|--:|--:|--:|--:|");
        let mut tasks: Vec<Task> = Vec::new();
        for (_, task, _) in &self.rounds {
            if !tasks.iter().any(|known| known.is_as(*task)) {
                tasks.push(*task);
            }
        }
        for task in tasks {
            for kind in &self.kinds {
                self.print_line(*kind, task);
            }
        }
        println!("\nCPU: ms of the process for a job, and of PostgreSQL; the lowest of the rounds.");
    }

    fn print_line(&self, kind: Kind, task: Task) {
        let rate = self.figures(kind, task, |done| done.rate);
        let cpu = self.figures(kind, task, |done| done.cpu).lowest;
        let server = self.figures(kind, task, |done| done.server).lowest;
        let ours = self.rate(Kind::Ours, task).unwrap_or(f64::NAN) / rate.median;
        println!(
            "| {task} | {} | {:.0} | {:.0} | {cpu:.3} | {server:.3} | {ours:.1} |",
            kind.name(),
            rate.median,
            rate.highest
        );
    }
}
