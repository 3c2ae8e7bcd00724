//! The queue of messages to the other nodes, and the record of losses on the way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Notify, mpsc};

use crate::ports::BusMessage;

/// Maximum number of batches that wait for the bus.
const QUEUE: usize = 1024;

/// The sender to the task that publishes on the bus.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Vec<BusMessage>>,
    lost: Arc<Lost>,
}

#[derive(Debug, Default)]
struct Lost {
    /// Something was lost, and the other nodes have yet to be told so.
    any: AtomicBool,
    noticed: Notify,
}

impl Outgoing {
    pub(super) fn new() -> (Self, mpsc::Receiver<Vec<BusMessage>>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue, lost: Arc::default() }, waiting)
    }

    /// Queues messages; a batch for which there is no room is lost, and the other nodes are told of a loss.
    pub(super) fn push(&self, messages: Vec<BusMessage>) {
        if self.queue.try_send(messages).is_err() {
            metrics::counter!("messenger_bus_dropped_total").increment(1);
            self.has_lost();
        }
    }

    /// Records a loss, and wakes the task that reports it.
    pub(super) fn has_lost(&self) {
        self.note_loss();
        self.lost.noticed.notify_one();
    }

    /// Records a loss, for the reporting task, which is awake.
    pub(super) fn note_loss(&self) {
        self.lost.any.store(true, Ordering::Release);
    }

    pub(super) fn is_loss_noted(&self) -> bool {
        self.lost.any.load(Ordering::Acquire)
    }

    /// Whether a loss was recorded; clears the record.
    pub(super) fn take_loss(&self) -> bool {
        self.lost.any.swap(false, Ordering::AcqRel)
    }

    /// Resolves when [`has_lost`](Self::has_lost) is called.
    pub(super) async fn loss_noticed(&self) {
        self.lost.noticed.notified().await;
    }
}
