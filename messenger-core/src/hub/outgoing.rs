//! The queue of what the other nodes are to hear, and what is known of losses on the way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Notify, mpsc};

use crate::ports::BusMessage;

/// Batches that may wait for the bus.
const QUEUE: usize = 1024;

/// The way to the task that publishes on the bus.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Vec<BusMessage>>,
    lost: Arc<Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    /// Something did not get there, and the other nodes have yet to be told so.
    any: AtomicBool,
    noticed: Notify,
}

impl Outgoing {
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<BusMessage>>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue, lost: Arc::default() }, waiting)
    }

    /// Queues messages; a batch for which there is no room is lost, and the other nodes are told that something is.
    pub(super) fn push(&self, messages: Vec<BusMessage>) {
        if self.queue.try_send(messages).is_err() {
            metrics::counter!("messenger_bus_dropped_total").increment(1);
            self.has_lost();
        }
    }

    /// Notes a loss, and wakes the task that tells of it.
    pub(super) fn has_lost(&self) {
        self.note_loss();
        self.lost.noticed.notify_one();
    }

    /// Notes a loss, for the task that tells of it and is awake.
    pub(super) fn note_loss(&self) {
        self.lost.any.store(true, Ordering::Release);
    }

    pub(super) fn is_loss_noted(&self) -> bool {
        self.lost.any.load(Ordering::Acquire)
    }

    /// Whether a loss was noted; it no longer is.
    pub(super) fn take_loss(&self) -> bool {
        self.lost.any.swap(false, Ordering::AcqRel)
    }

    /// Resolves when [`has_lost`](Self::has_lost) is called.
    pub(super) async fn loss_noticed(&self) {
        self.lost.noticed.notified().await;
    }
}
