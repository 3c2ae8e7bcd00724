//! One line in the log when something begins to fail, and one when it works again.

use std::error::Error;

use tokio::time::Instant;

/// Whether something that is tried again and again fails at present.
#[derive(Debug)]
pub(super) struct Outage {
    what: &'static str,
    since: Option<Instant>,
}

/// What a result means after the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is as it was.
    Nothing,
    /// It has begun to fail.
    Began,
    /// It works again.
    Ended,
}

impl Outage {
    /// `what` says in the log what fails: "presence", for instance.
    pub(super) const fn of(what: &'static str) -> Self {
        Self { what, since: None }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Notes a result, and logs if it is the first of its kind.
    pub(super) fn note<T, E: Error + 'static>(&mut self, result: &Result<T, E>) -> Noted {
        let what = self.what;
        match (result, self.since) {
            (Err(error), None) => {
                self.since = Some(Instant::now());
                tracing::warn!(what, error = error as &dyn Error, "an outage has begun");
                Noted::Began
            }
            (Ok(_), Some(since)) => {
                self.since = None;
                tracing::info!(what, seconds = since.elapsed().as_secs_f32(), "an outage has ended");
                Noted::Ended
            }
            _ => Noted::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_noted_when_it_begins_and_when_it_ends() {
        let mut outage = Outage::of("a test");
        let results =
            [Ok(()), Err(std::fmt::Error), Err(std::fmt::Error), Ok(()), Ok(()), Err(std::fmt::Error)];
        let noted = results.map(|result| (outage.note(&result), outage.is_on()));
        let (nothing, began, ended) = (Noted::Nothing, Noted::Began, Noted::Ended);
        assert_eq!(
            noted,
            [
                (nothing, false),
                (began, true),
                (nothing, true),
                (ended, false),
                (nothing, false),
                (began, true)
            ]
        );
    }
}
