use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use messenger_core::ports::{BusEvent, BusMessage, Subscription};
use tokio::sync::Notify;

/// The messages, and the bytes of messages, that may wait for a node. Messages beyond that are lost, and reported as a gap.
const MESSAGES: usize = 10_000;
const BYTES: usize = 16 << 20;

/// What precedes a message: the id of the node that published it, and that node's number of the message.
pub(crate) const HEADER: usize = 16;

/// The queue of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The header of the last message; none is all zeros, because the numbers begin at 1.
    header: [u8; HEADER],
    ended: bool,
}

#[derive(Debug)]
enum Waiting {
    Gap,
    /// With its header. Decoded when it is taken, not in the task that reads the connection.
    Message(Vec<u8>),
}

impl Inbox {
    /// The queue of a new subscription, which begins with a gap.
    pub(crate) fn new() -> Arc<Self> {
        let inbox = Arc::new(Self::default());
        inbox.gap();
        inbox
    }

    pub(crate) fn gap(&self) {
        self.queue().gap();
        self.changed.notify_one();
    }

    /// Queues a message if `is_current` holds under the lock of the queue.
    pub(crate) fn push(&self, payload: Vec<u8>, is_current: impl FnOnce() -> bool) {
        let mut queue = self.queue();
        if !queue.ended && is_current() {
            queue.push(payload);
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Ends the subscription; what waits can still be taken.
    pub(crate) fn end(&self) {
        self.queue().ended = true;
        self.changed.notify_one();
    }

    /// No call leaves the queue half changed, so a poisoned lock is no reason to fail.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, payload: Vec<u8>) {
        let Some(header) = payload.first_chunk() else { return self.gap() };
        // A message of several topics arrives once for each subscribed topic, in a row.
        if *header == self.header {
            return;
        }
        self.header = *header;
        if self.waiting.len() >= MESSAGES || self.bytes + payload.len() > BYTES {
            return self.gap();
        }
        self.bytes += payload.len();
        self.waiting.push_back(Waiting::Message(payload));
    }

    /// Several gaps in a row say no more than one.
    fn gap(&mut self) {
        if !self.ended && !matches!(self.waiting.back(), Some(Waiting::Gap)) {
            self.waiting.push_back(Waiting::Gap);
        }
    }

    fn take(&mut self) -> Option<BusEvent> {
        match self.waiting.pop_front()? {
            Waiting::Gap => Some(BusEvent::Gap),
            Waiting::Message(payload) => {
                self.bytes -= payload.len();
                let read = BusMessage::from_bytes(payload.get(HEADER..).unwrap_or_default());
                // An unreadable message may have meant anything.
                Some(read.map_or(BusEvent::Gap, BusEvent::Message))
            }
        }
    }
}

/// A node's end of the bus.
pub(crate) struct InboxSubscription(pub(crate) Arc<Inbox>);

impl Drop for InboxSubscription {
    fn drop(&mut self) {
        *self.0.queue() = Queue { ended: true, ..Queue::default() };
    }
}

#[async_trait]
impl Subscription for InboxSubscription {
    async fn next(&mut self) -> Option<BusEvent> {
        loop {
            // `Notify` keeps one permit, so a message that arrives between the look and the wait ends the wait.
            {
                let mut queue = self.0.queue();
                if let Some(event) = queue.take() {
                    return Some(event);
                }
                if queue.ended {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::{
        UserId,
        ports::{Hint, Topic},
    };

    use super::*;

    fn payload(number: u8, filler: usize) -> Vec<u8> {
        let topics = vec![Topic::User(UserId::from_bytes([number; 16]))];
        let message = BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) };
        let mut payload = vec![number; HEADER];
        payload.extend(message.to_bytes());
        // White space around JSON means nothing.
        payload.resize(payload.len() + filler, b' ');
        payload
    }

    async fn taken(inbox: &Arc<Inbox>) -> String {
        let mut subscription = InboxSubscription(Arc::clone(inbox));
        let mut taken = String::new();
        while !inbox.queue().waiting.is_empty() {
            taken.push(match subscription.next().await {
                Some(BusEvent::Gap) => '-',
                Some(BusEvent::Message(message)) => match message.topics[0] {
                    Topic::User(user) => char::from(b'0' + user.as_bytes()[0]),
                    _ => '?',
                },
                _ => '!',
            });
        }
        std::mem::forget(subscription);
        taken
    }

    #[tokio::test]
    async fn what_comes_twice_in_a_row_is_taken_once() {
        let inbox = Inbox::new();
        for number in [1, 1, 2, 2, 1] {
            inbox.push(payload(number, 0), || true);
        }
        assert_eq!(taken(&inbox).await, "-121");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let inbox = Inbox::new();
        for number in 1..=9 {
            inbox.push(payload(number, 3 << 20), || true);
        }
        assert_eq!(taken(&inbox).await, "-12345-");
        inbox.push(payload(7, 3 << 20), || true);
        assert_eq!(taken(&inbox).await, "7", "there is room again");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_number() {
        let inbox = Inbox::new();
        for number in 0..=MESSAGES {
            inbox.push(payload(1 + (number % 2) as u8, 0), || true);
        }
        let taken = taken(&inbox).await;
        assert_eq!((taken.len(), taken.matches('-').count()), (MESSAGES + 1, 2));
    }

    #[tokio::test]
    async fn what_is_no_message_is_a_gap_and_what_is_of_a_former_connection_nothing() {
        let inbox = Inbox::new();
        inbox.push(vec![1; 3], || true);
        inbox.push(payload(1, 0), || false);
        inbox.push([[2; HEADER].as_slice(), b"{}"].concat(), || true);
        inbox.push(payload(3, 0), || true);
        assert_eq!(taken(&inbox).await, "--3");
    }

    #[tokio::test]
    async fn who_leaves_lets_nothing_wait() {
        let inbox = Inbox::new();
        inbox.push(payload(1, 0), || true);
        drop(InboxSubscription(Arc::clone(&inbox)));
        inbox.push(payload(2, 0), || true);
        inbox.gap();
        assert!(inbox.queue().waiting.is_empty());
        assert_eq!(InboxSubscription(inbox).next().await, None);
    }
}
