//! Jobs as text in columns, for people.

use std::fmt::Write as _;

use messenger_core::Timestamp;

use super::view::{CountsView, JobDetail, JobLine};

/// The first characters of a reason; `show` has it whole.
const REASON: usize = 60;

pub(super) fn list(jobs: &[JobLine]) -> String {
    let head = ["ID", "KIND", "STATE", "TRIED", "DUE", "ENDED", "REASON"].map(str::to_owned);
    let row = |job: &JobLine| {
        [
            job.id.to_string(),
            job.kind.clone(),
            job.state.to_owned(),
            tried(job),
            job.run_at.to_string(),
            time(job.ended_at),
            job.reason.as_deref().map_or_else(String::new, shortened),
        ]
    };
    table(&std::iter::once(head).chain(jobs.iter().map(row)).collect::<Vec<_>>())
}

pub(super) fn counts(counts: &[CountsView]) -> String {
    let head =
        ["KIND", "DUE", "SCHEDULED", "BLOCKED", "RUNNING", "DONE", "DEAD", "CANCELLED", "OLDEST DUE", ""];
    let row = |of: &CountsView| {
        let numbers = [of.due, of.scheduled, of.blocked, of.running, of.done, of.dead, of.cancelled];
        let [due, scheduled, blocked, running, done, dead, cancelled] =
            numbers.map(|number| number.to_string());
        let paused = if of.paused { "paused" } else { "" }.to_owned();
        let (kind, oldest) = (of.kind.clone(), time(of.oldest_due));
        [kind, due, scheduled, blocked, running, done, dead, cancelled, oldest, paused]
    };
    table(&std::iter::once(head.map(str::to_owned)).chain(counts.iter().map(row)).collect::<Vec<_>>())
}

pub(super) fn detail(job: &JobDetail) -> String {
    let line = &job.line;
    let mut rows = vec![
        ["id", &line.id.to_string()].map(str::to_owned),
        ["kind", &line.kind].map(str::to_owned),
        ["state", line.state].map(str::to_owned),
        ["tried", &tried(line)].map(str::to_owned),
        ["priority", job.priority].map(str::to_owned),
        ["created", &line.created_at.to_string()].map(str::to_owned),
        ["due", &line.run_at.to_string()].map(str::to_owned),
        ["payload", &format!("{} bytes", job.payload_bytes)].map(str::to_owned),
    ];
    let others = [
        ("lease until", line.leased_until.map(|time| time.to_string())),
        ("ended", line.ended_at.map(|time| time.to_string())),
        ("after", job.after.map(|id| id.to_string())),
        ("key", job.unique_key.as_deref().map(printable)),
        ("reason", line.reason.as_deref().map(printable)),
    ];
    rows.extend(others.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])));
    table(&rows)
}

fn tried(job: &JobLine) -> String {
    format!("{} of {}", job.attempt, job.max_attempts)
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

fn shortened(reason: &str) -> String {
    let text = printable(reason);
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What others wrote must not move the cursor of who reads it.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["A", "B", ""], ["long", "ä", "x"]].into_iter().map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows.collect::<Vec<_>>()), "A     B\nlong  ä  x\n");
    }

    #[test]
    fn a_reason_is_one_line_that_moves_no_cursor() {
        assert_eq!(shortened("a\n\u{1b}[2Jb"), "a  [2Jb");
        assert_eq!(shortened(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
        assert_eq!(shortened(&"ä".repeat(60)), "ä".repeat(60));
    }
}
