use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{Figures, Result};
use crate::{ServerCpu, cpu::cpu_of_this_process};

/// Lines of figures beside those of plain inserts and of bare batches.
#[derive(Debug)]
pub struct Table {
    batches: &'static str,
    cpu: Option<ServerCpu>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// The line that it is compared to.
    plain: String,
    rounds: Vec<Line>,
}

/// One round of one line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Messages a second.
    pub rate: f64,
    /// Seconds of this process's CPU for 1,000 messages, senders included. Unix only: elsewhere it is zero.
    pub cpu: f64,
    /// Seconds of the server's CPU for 1,000 messages, where it is known.
    pub server: f64,
}

impl Line {
    /// Seconds of CPU for 1,000 messages on both sides.
    pub fn whole_cpu(&self) -> f64 {
        self.cpu + self.server
    }
}

impl Table {
    /// In which `batches` is the name of the line of the bare batches, with the CPU time of this server if it is given.
    pub fn new(batches: &'static str, cpu: Option<ServerCpu>) -> Self {
        Self { batches, cpu, rows: vec![] }
    }

    /// The name of the line of the bare batches.
    pub fn batches(&self) -> &'static str {
        self.batches
    }

    /// Measures a round of a line, whose work says how many messages it has written. Its plain inserts are the line
    /// `plain`.
    pub async fn measure(
        &mut self,
        name: &str,
        plain: &str,
        work: impl Future<Output = Result<usize>>,
    ) -> Result {
        let mut used = || self.cpu.as_mut().map(ServerCpu::used).unwrap_or_default();
        let (before, own, began) = (used(), cpu_of_this_process(), Instant::now());
        let messages = work.await? as f64;
        let rate = messages / began.elapsed().as_secs_f64();
        let for_a_thousand = |cpu: Duration| cpu.as_secs_f64() / messages * 1000.0;
        let cpu = for_a_thousand(cpu_of_this_process().saturating_sub(own));
        let line = Line { rate, cpu, server: for_a_thousand(used().saturating_sub(before)) };
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.rounds.push(line),
            None => {
                self.rows.push(Row { name: name.to_owned(), plain: plain.to_owned(), rounds: vec![line] });
            }
        }
        Ok(())
    }

    /// Whether there is this line.
    pub fn has(&self, name: &str) -> bool {
        !self.rounds(name).is_empty()
    }

    /// The median of the ratios of each round, of one line to another.
    pub fn ratio(&self, name: &str, to: &str, figure: impl Fn(&Line) -> f64) -> f64 {
        let ratios = self.rounds(name).iter().zip(self.rounds(to)).map(|(a, b)| figure(a) / figure(b));
        Figures::of(ratios).median
    }

    fn rounds(&self, name: &str) -> &[Line] {
        self.rows.iter().find(|row| row.name == name).map_or(&[], |row| &row.rounds)
    }

    /// Prints all lines.
    pub fn print(&self) {
        let server = self.cpu.is_some();
        print!("\n| {:<35} | {:>8} | {:>8} | {:>8} | {:>8} |", "", "sends/s", "(best)", "CPU", "(lowest)");
        println!(
            " {:>7} | {:>7} |{}",
            "x plain",
            "x batch",
            if server { " server CPU | CPU x batch |" } else { "" }
        );
        println!("|---|--:|--:|--:|--:|--:|--:|{}", if server { "--:|--:|" } else { "" });
        for Row { name, plain, rounds } in &self.rows {
            let rates = Figures::of(rounds.iter().map(|line| line.rate));
            let cpu = Figures::of(rounds.iter().map(|line| line.cpu));
            print!("| {name:<35} | {:>8.0} | {:>8.0} |", rates.median, rates.highest);
            print!(" {:>8.4} | {:>8.4} |", cpu.median, cpu.lowest);
            let rate = |to| self.ratio(name, to, |line| line.rate);
            print!(" {:>7.2} | {:>7.2} |", rate(plain), rate(self.batches));
            if server {
                let lowest = Figures::of(rounds.iter().map(|line| line.server)).lowest;
                print!(" {lowest:>10.4} | {:>11.2} |", self.ratio(name, self.batches, Line::whole_cpu));
            }
            println!();
        }
        println!(
            "\nCPU: seconds of this process for 1,000 messages{}.",
            if server { "; of the server, the lowest of the rounds" } else { "" }
        );
    }
}
