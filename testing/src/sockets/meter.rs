//! What all sockets of a round count together.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore};

use super::{
    Result,
    load::{Load, Pace},
};

/// Messages that don't arrive in this time have been lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all sockets count together.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) began: Instant,
    audience: u64,
    /// Deliveries that may be due before a sender waits, or clients that read slowly would fall behind without end.
    most_due: u64,
    counts_faults: bool,
    sent: AtomicU64,
    answered: AtomicU64,
    delivered: AtomicU64,
    disordered: AtomicU64,
    /// No more deliveries are due than may be.
    level: Notify,
    /// What senders that share what may be in flight may still send.
    pub(super) turns: Semaphore,
}

/// What came in one reading.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    pub(super) answers: u64,
    pub(super) events: u64,
    pub(super) pings: u64,
    pub(super) refused: bool,
    pub(super) disordered: u64,
}

impl Meter {
    pub(super) fn new(load: &Load) -> Self {
        let (most_due, turns) = match load.pace {
            Pace::Steady { in_flight, .. } => (in_flight * load.senders.len() as u64 * load.audience, 0),
            Pace::Shared { in_flight, .. } => (in_flight * load.audience, in_flight),
            Pace::Alone { .. } | Pace::Constant { .. } => (0, 0),
        };
        Self {
            began: Instant::now(),
            audience: load.audience,
            most_due,
            counts_faults: load.counts_faults,
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            disordered: AtomicU64::new(0),
            level: Notify::new(),
            turns: Semaphore::new(turns as usize),
        }
    }

    pub(super) fn sends(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::SeqCst);
    }

    pub(super) fn count(&self, heard: Heard) -> Result {
        if heard.refused {
            return Err("a message was refused".into());
        }
        if heard.disordered > 0 && !self.counts_faults {
            return Err("a message was lost, came twice, or came before its turn".into());
        }
        self.disordered.fetch_add(heard.disordered, Ordering::SeqCst);
        self.answered.fetch_add(heard.answers, Ordering::SeqCst);
        self.delivered.fetch_add(heard.events, Ordering::SeqCst);
        let due = self.due();
        if due <= self.most_due && due + heard.events > self.most_due {
            self.level.notify_waiters();
        }
        Ok(())
    }

    fn due(&self) -> u64 {
        (self.sent.load(Ordering::SeqCst) * self.audience)
            .saturating_sub(self.delivered.load(Ordering::SeqCst))
    }

    /// Whether no more deliveries are due than may be.
    pub(super) fn is_level(&self) -> bool {
        self.due() <= self.most_due
    }

    /// Waits until a sender may go on.
    pub(super) async fn levelled(&self) {
        loop {
            let level = self.level.notified();
            if self.is_level() {
                return;
            }
            level.await;
        }
    }

    fn is_done(&self) -> bool {
        self.due() == 0 && self.answered.load(Ordering::SeqCst) >= self.sent.load(Ordering::SeqCst)
    }

    pub(super) async fn wait_for_end(&self, load: &Load) -> Result {
        tokio::time::sleep(load.pace.length()).await;
        let wanted = if let Pace::Alone { times, .. } = load.pace { times } else { 0 };
        let end = Instant::now() + PATIENCE;
        while !(self.is_done() && self.sent.load(Ordering::SeqCst) >= wanted) {
            if Instant::now() > end {
                let (sent, answered, delivered) =
                    (self.sent(), self.answered.load(Ordering::SeqCst), self.delivered());
                let due = sent * self.audience;
                if self.counts_faults {
                    return Ok(());
                }
                return Err(format!(
                    "{sent} sent, {answered} answered, {delivered} of {due} delivered in time"
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::SeqCst)
    }

    pub(super) fn disordered(&self) -> u64 {
        self.disordered.load(Ordering::SeqCst)
    }
}
