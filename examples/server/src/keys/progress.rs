use std::{io::IsTerminal as _, time::Duration};

use tokio::time::Instant;

/// Says on a terminal how far it is, and how fast.
pub(super) struct Progress {
    what: &'static str,
    begun: Instant,
    said_at: Option<Instant>,
    is_shown: bool,
}

const EVERY: Duration = Duration::from_millis(200);

impl Progress {
    pub(super) fn begin(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), said_at: None, is_shown: std::io::stderr().is_terminal() }
    }

    pub(super) fn at(&mut self, count: u64) {
        if self.is_shown && self.said_at.is_none_or(|at| at.elapsed() > EVERY) {
            let rate = u128::from(count) * 1000 / self.begun.elapsed().as_millis().max(1);
            eprint!("\r{count} {}, {rate} a second ", self.what);
            self.said_at = Some(Instant::now());
        }
    }

    pub(super) fn end(&self) {
        if self.said_at.is_some() {
            eprintln!();
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
