use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The only timer of a session, set to the earliest due time. Later due times leave it unchanged, so that it costs
/// nothing for each message.
pub(super) struct Clock {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Clock {
    pub(super) fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(at)), at }
    }

    /// Makes the timer fire at this time, or earlier.
    pub(super) fn no_later_than(&mut self, at: Instant) {
        if at < self.at {
            self.set(at);
        }
    }

    /// Sets the timer to this time.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        self.sleep.as_mut().reset(at);
    }

    pub(super) fn poll_due(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(task)
    }
}
