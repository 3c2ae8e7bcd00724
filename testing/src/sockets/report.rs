//! The table of what was measured.

use std::{fmt, fs, time::Instant};

/// Rows of figures with their floor and their aims.
#[derive(Debug)]
pub struct Report {
    began: Instant,
    load: String,
    rows: Vec<(Row, Series)>,
}

/// The rounds of one row.
#[derive(Debug, Default)]
pub struct Series {
    /// What it is about.
    pub measured: Vec<f64>,
    /// What it stands beside.
    pub floor: Vec<f64>,
}

/// What a row is about.
#[derive(Debug)]
pub struct Row {
    aim: &'static str,
    what: String,
    unit: &'static str,
    best: Best,
    /// Goal and stretch.
    aims: Option<(f64, f64)>,
    /// The most that it may be of the floor, or the least of what is to be high.
    times: Option<f64>,
}

/// Which round stands for all: the one that neighbours disturbed the least, unless it is about what must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    /// The lowest.
    Lowest,
    /// The highest.
    Highest,
    /// The highest of what is to be low.
    Worst,
    /// The one in the middle: of differences, of which the lowest is too low.
    Middle,
}

impl Best {
    /// The round of these that stands for all.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        match self {
            Self::Lowest => values.iter().copied().min_by(f64::total_cmp),
            Self::Highest | Self::Worst => values.iter().copied().max_by(f64::total_cmp),
            Self::Middle => median(values),
        }
    }
}

impl Row {
    /// Without aims, of which the lowest round is the best.
    pub fn new(aim: &'static str, what: impl Into<String>, unit: &'static str) -> Self {
        Self { aim, what: what.into(), unit, best: Best::Lowest, aims: None, times: None }
    }

    /// A goal and what would be better still.
    pub fn aims(mut self, goal: f64, stretch: f64) -> Self {
        self.aims = Some((goal, stretch));
        self
    }

    /// It may be so many times the floor.
    pub fn at_most_times(mut self, floor: f64) -> Self {
        self.times = Some(floor);
        self
    }

    /// It is to be high, and at least so many times the floor.
    pub fn at_least_times(mut self, floor: f64) -> Self {
        self.times = Some(floor);
        self.best(Best::Highest)
    }

    /// Which round stands for all.
    pub fn best(mut self, best: Best) -> Self {
        self.best = best;
        self
    }

    /// It must not be in any round.
    pub fn worst(self) -> Self {
        self.best(Best::Worst)
    }

    fn verdict(&self, value: f64, ratio: Option<f64>) -> &'static str {
        if let Some((times, ratio)) = self.times.zip(ratio) {
            let is_met = if self.best == Best::Highest { ratio >= times } else { ratio <= times };
            return if is_met { "met" } else { "MISSED" };
        }
        let reaches = |aim: f64| if self.best == Best::Highest { value >= aim } else { value <= aim };
        match self.aims {
            None => "",
            Some((_, stretch)) if reaches(stretch) => "stretch",
            Some((goal, _)) if reaches(goal) => "goal",
            Some(_) => "MISSED",
        }
    }
}

impl Report {
    /// Without rows.
    pub fn begin() -> Self {
        Self { began: Instant::now(), load: load_average(), rows: Vec::new() }
    }

    /// Also says so at once, because the whole takes minutes.
    pub fn add(&mut self, row: Row, series: Series) {
        let rounds = |values: &[f64]| {
            values.iter().map(|value| Figure(*value).to_string()).collect::<Vec<_>>().join(" ")
        };
        let floor = if series.floor.is_empty() { "" } else { &format!("; floor {}", rounds(&series.floor)) };
        eprintln!("{} {}: {} {}{floor}", row.aim, row.what, rounds(&series.measured), row.unit);
        self.rows.push((row, series));
    }

    /// Prints the table, below what the figures depend on.
    pub fn print(&self, store: &str) {
        println!("\n{}\n{store}", machine());
        println!(
            "load average {} before, {} after; {} s; the best of the rounds, then their median",
            self.load,
            load_average(),
            self.began.elapsed().as_secs()
        );
        if self.rows.is_empty() {
            return;
        }
        println!(
            "\n| | what | unit | measured | (median) | floor | (median) | ratio | (of medians) | goal | stretch | |"
        );
        println!("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|");
        for (row, series) in &self.rows {
            let (measured, floor) = (row.best.of(&series.measured), row.best.of(&series.floor));
            let (median, median_floor) = (median(&series.measured), median(&series.floor));
            let ratio = |of: Option<f64>, to: Option<f64>| of.zip(to).map(|(of, to)| of / to);
            let goal = match row.times {
                Some(most) => format!("× {most}"),
                None => Figure::or_nothing(row.aims.map(|aims| aims.0)),
            };
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {goal} | {} | {} |",
                row.aim,
                row.what,
                row.unit,
                Figure::or_nothing(measured),
                Figure::or_nothing(median),
                Figure::or_nothing(floor),
                Figure::or_nothing(median_floor),
                Figure::or_nothing(ratio(measured, floor)),
                Figure::or_nothing(ratio(median, median_floor)),
                Figure::or_nothing(row.aims.map(|aims| aims.1)),
                measured.map_or("", |measured| row.verdict(measured, ratio(Some(measured), floor))),
            );
        }
    }
}

/// The one in the middle; the upper one of two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A number with three digits that mean something.
#[derive(Debug, Clone, Copy)]
pub struct Figure(pub f64);

impl Figure {
    fn or_nothing(value: Option<f64>) -> String {
        value.filter(|value| value.is_finite()).map_or_else(String::new, |value| Self(value).to_string())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        match value.abs() {
            0.0..0.1 => write!(f, "{value:.4}"),
            0.1..10.0 => write!(f, "{value:.2}"),
            10.0..1000.0 => write!(f, "{value:.1}"),
            1000.0.. => write!(f, "{value:.0}"),
            _ => f.write_str("?"),
        }
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} × {}, Linux {}", model.map_or("an unknown CPU", |model| model.1), kernel.trim())
}

fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
