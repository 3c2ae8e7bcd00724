//! Announcements from the store to the hub: one queue and one task per lane, so that the next commit does not wait for
//! the connections.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{domain::ChatId, hub::Hub, lanes::lane_of, ports::BusMessage, tasks::TaskGroup};

/// Maximum number of batches that wait, per lane.
const QUEUE: usize = 64;

/// Queues of announcements for the connections. Those of one chat keep their order, because they are in the same queue.
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

    /// The queue of a lane. It is full when announcements are delivered more slowly than messages are stored: then
    /// storing waits.
    pub(super) fn lane(&self, lane: usize) -> mpsc::Sender<Vec<BusMessage>> {
        self.queues[lane].clone()
    }

    pub(super) async fn dispatch(&self, chat: Option<ChatId>, message: BusMessage) {
        let lane = chat.map_or(0, |chat| lane_of(chat, self.queues.len()));
        // Fails only when the node has stopped; other nodes find the change in the store.
        let _ = self.queues[lane].send(vec![message]).await;
    }
}

/// Publishes the queued announcements; after the stop publishes what is left, and then ends.
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
