//! A table with a line for each set-up and a column for each figure.

use std::fmt;

use messenger_testing::sockets::report::{Best, Figure, median};

use crate::set_up::Kind;

/// A table of figures, each that of the best round, and the median.
pub(crate) struct Grid {
    title: String,
    columns: Vec<String>,
    lines: Vec<(Kind, Vec<String>)>,
}

impl Grid {
    pub(crate) fn new(title: String, kinds: impl Iterator<Item = Kind>) -> Self {
        Self { title, columns: vec![], lines: kinds.map(|kind| (kind, vec![])).collect() }
    }

    /// Adds a figure, with its rounds of each set-up in the order of the lines. Where there are none, the set-up has no such
    /// figure.
    pub(crate) fn add(&mut self, column: &str, best: Best, rounds: impl Iterator<Item = Vec<f64>>) {
        self.columns.push(column.to_owned());
        for ((_, cells), rounds) in self.lines.iter_mut().zip(rounds) {
            // Without a Redis it has no CPU.
            let is_known = rounds.iter().all(|round| round.is_finite() && *round != 0.0);
            let cell = best.of(&rounds).zip(median(&rounds)).filter(|_| is_known);
            cells.push(
                cell.map_or_else(String::new, |(best, median)| {
                    format!("{} ({})", Figure(best), Figure(median))
                }),
            );
        }
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n| | {} |", self.title, self.columns.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(self.columns.len()))?;
        for (kind, cells) in &self.lines {
            writeln!(f, "| {} | {} |", kind.name(), cells.join(" | "))?;
        }
        Ok(())
    }
}
