use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{Figures, Result};
use crate::{ServerCpu, cpu::cpu_of_this_process};

/// The same work on two sides, in turns, so that what else happens on the machine happens to both.
#[derive(Debug)]
pub struct Pairs {
    sides: [&'static str; 2],
    cpu: Option<ServerCpu>,
    lines: Vec<(&'static str, Vec<[Cost; 2]>)>,
}

/// What one operation takes, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    time: f64,
    own: f64,
    server: f64,
}

type Figure = fn(&Cost) -> f64;

impl Pairs {
    /// Of sides with these names, with the CPU time of this server if it is given.
    pub fn new(sides: [&'static str; 2], cpu: Option<ServerCpu>) -> Self {
        Self { sides, cpu, lines: vec![] }
    }

    /// Measures a round of a line: `work` is given each side, once as the first and once as the second, and says how many
    /// operations it has done.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn measure<F: Future<Output = Result<usize>>>(
        &mut self,
        name: &'static str,
        work: impl Fn(usize) -> F,
    ) -> Result {
        let mut costs = [Cost::default(); 2];
        for side in [0, 1, 1, 0] {
            let cost = self.time(work(side)).await?;
            costs[side].time += cost.time / 2.0;
            costs[side].own += cost.own / 2.0;
            costs[side].server += cost.server / 2.0;
        }
        match self.lines.iter_mut().find(|line| line.0 == name) {
            Some((_, rounds)) => rounds.push(costs),
            None => self.lines.push((name, vec![costs])),
        }
        Ok(())
    }

    async fn time(&mut self, work: impl Future<Output = Result<usize>>) -> Result<Cost> {
        let mut used = || self.cpu.as_mut().map(ServerCpu::used).unwrap_or_default();
        let (server, own, began) = (used(), cpu_of_this_process(), Instant::now());
        let done = work.await? as f64;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / done;
        let (time, own) = (began.elapsed(), cpu_of_this_process().saturating_sub(own));
        Ok(Cost { time: each(time), own: each(own), server: each(used().saturating_sub(server)) })
    }

    /// Prints all lines: medians of the rounds, and the median of the ratios of each round, of the second side to the first.
    pub fn print(&self) {
        let [first, second] = self.sides;
        let figures: [(&str, Figure); 3] = [
            ("time", |cost| cost.time),
            ("CPU of the client", |cost| cost.own),
            ("CPU on both sides", |cost| cost.own + cost.server),
        ];
        let known = if self.cpu.is_some() { 3 } else { 2 };
        println!("\n| µs each | | {first} | (lowest) | {second} | (lowest) | ratio | (lowest to highest) |");
        println!("|---|---|--:|--:|--:|--:|--:|--:|");
        for (name, rounds) in &self.lines {
            for (what, figure) in &figures[..known] {
                let side = |side: usize| Figures::of(rounds.iter().map(|costs| figure(&costs[side])));
                let ratio = Figures::of(rounds.iter().map(|costs| figure(&costs[1]) / figure(&costs[0])));
                let [a, b] = [side(0), side(1)];
                println!(
                    "| {name} | {what} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} to {:.2} |",
                    a.median, a.lowest, b.median, b.lowest, ratio.median, ratio.lowest, ratio.highest
                );
            }
        }
    }
}
