//! From the store to the hub: one queue and one task per lane, so that the next commit does not wait for the connections.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{domain::ChatId, hub::Hub, lanes::lane_of, ports::BusMessage, tasks::TaskGroup};

/// Batches that may wait, per lane.
const QUEUE: usize = 64;

/// Queues of what the connections are to be told. What concerns one chat keeps its order, because it is in one queue.
#[derive(Clone)]
pub(super) struct Dispatcher {
    queues: Arc<[mpsc::Sender<Vec<BusMessage>>]>,
}

impl Dispatcher {
    pub(super) fn start(lanes: usize, hub: &Arc<Hub>, tasks: &TaskGroup) -> Self {
        let queue = |_| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let hub = Arc::clone(hub);
            tasks.spawn_with_stop(|stop| publish_all(queue, hub, stop));
            sender
        };
        Self { queues: (0..lanes.max(1)).map(queue).collect() }
    }

    /// The queue of a lane. It is full when the connections are told more slowly than messages are stored: then storing
    /// waits.
    pub(super) fn lane(&self, lane: usize) -> mpsc::Sender<Vec<BusMessage>> {
        self.queues[lane].clone()
    }

    pub(super) async fn dispatch(&self, chat: Option<ChatId>, message: BusMessage) {
        let lane = chat.map_or(0, |chat| lane_of(chat, self.queues.len()));
        // Fails only when the node has stopped; others find it in the store.
        let _ = self.queues[lane].send(vec![message]).await;
    }
}

/// Publishes what waits; after the stop what is left, and then it ends.
async fn publish_all(mut queue: mpsc::Receiver<Vec<BusMessage>>, hub: Arc<Hub>, stop: CancellationToken) {
    let mut batches = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = queue.recv_many(&mut batches, QUEUE) => if count == 0 { return },
            () = stop.cancelled(), if !queue.is_closed() => queue.close(),
        }
        batches.drain(..).for_each(|messages| hub.publish_or_compare(messages));
    }
}
