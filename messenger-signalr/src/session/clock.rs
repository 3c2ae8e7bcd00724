use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The one timer of a session, set to what is due first. What comes to be due later leaves it alone, so that it costs
/// nothing on the way of a message.
pub(super) struct Clock {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
}

impl Clock {
    pub(super) fn new(at: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(at)), at }
    }

    /// Something is due at this time.
    pub(super) fn no_later_than(&mut self, at: Instant) {
        if at < self.at {
            self.set(at);
        }
    }

    /// Nothing is due before.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        self.sleep.as_mut().reset(at);
    }

    pub(super) fn poll_due(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(task)
    }
}
