use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::bus::{BusEvent, BusMessage, Subscription};

/// The queue of one [`Subscription`], for those who implement a [`Bus`](super::Bus): what the bus hears waits in it until the
/// node takes it.
///
/// It is bounded: what finds it full is lost, and a [`BusEvent::Gap`] waits in its place. What waits may be of any type that
/// becomes an event when it is taken, so that a bus need not decode what is never taken.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::ports::{BusEvent, BusMessage, Hint, Inbox, Topic};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let inbox = Inbox::begin(1000, 1 << 20);
/// let mut subscription = Inbox::subscription(&inbox);
/// let message = BusMessage { topics: vec![Topic::Nodes], hint: Arc::new(Hint::Invalidate {}) };
/// inbox.push(message.clone(), message.to_bytes().len());
/// inbox.end();
/// assert_eq!(subscription.next().await, Some(BusEvent::Gap));
/// assert_eq!(subscription.next().await, Some(BusEvent::Message(message)));
/// assert_eq!(subscription.next().await, None);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Inbox<T = BusMessage> {
    queue: Mutex<Queue<T>>,
    changed: Notify,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    ended: bool,
}

#[derive(Debug)]
enum Waiting<T> {
    Gap,
    Down,
    Message { item: T, bytes: usize },
}

impl From<BusMessage> for BusEvent {
    fn from(message: BusMessage) -> Self {
        Self::Message(message)
    }
}

impl<T> Inbox<T> {
    /// The queue of a new subscription, which begins with a gap. At most so many messages wait, of at most so many bytes in all.
    pub fn begin(messages: usize, bytes: usize) -> Arc<Self> {
        let queue = Queue { waiting: VecDeque::from([Waiting::Gap]), bytes: 0, ended: false };
        Arc::new(Self { queue: Mutex::new(queue), changed: Notify::new(), messages, bytes })
    }

    /// The queue of a node that has not joined: it takes nothing.
    pub fn ended() -> Arc<Self> {
        let queue = Queue { waiting: VecDeque::new(), bytes: 0, ended: true };
        Arc::new(Self { queue: Mutex::new(queue), changed: Notify::new(), messages: 0, bytes: 0 })
    }

    /// Lets a message of so many bytes wait.
    pub fn push(&self, item: T, bytes: usize) {
        self.push_if([(item, bytes)], || true);
    }

    /// The same with several, if `is_wanted` holds. Nothing else gets into the queue between that question and the last
    /// of them.
    pub fn push_if(&self, items: impl IntoIterator<Item = (T, usize)>, is_wanted: impl FnOnce() -> bool) {
        let mut queue = self.queue();
        if queue.ended || !is_wanted() {
            return;
        }
        for (item, bytes) in items {
            if queue.waiting.len() >= self.messages || queue.bytes.saturating_add(bytes) > self.bytes {
                queue.gap();
            } else {
                queue.bytes += bytes;
                queue.waiting.push_back(Waiting::Message { item, bytes });
            }
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Says that something may have been lost.
    pub fn gap(&self) {
        self.queue().gap();
        self.changed.notify_one();
    }

    /// Says that nothing is heard until the next gap.
    pub fn down(&self) {
        self.queue().down();
        self.changed.notify_one();
    }

    /// Ends the subscription; what waits can still be taken.
    pub fn end(&self) {
        self.queue().ended = true;
        self.changed.notify_one();
    }

    /// No call leaves the queue half changed, so a poisoned lock is no reason to fail.
    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Into<BusEvent> + Send + 'static> Inbox<T> {
    /// The node's end. There is one for each inbox; when it is dropped, the inbox is emptied and takes nothing more.
    pub fn subscription(inbox: &Arc<Self>) -> Box<dyn Subscription> {
        Box::new(Taker(Arc::clone(inbox)))
    }
}

impl<T> Queue<T> {
    /// Several gaps in a row say no more than one, nor does it say more that nothing was heard before one.
    fn gap(&mut self) {
        if matches!(self.waiting.back(), Some(Waiting::Down)) {
            self.waiting.pop_back();
        }
        if !self.ended && !matches!(self.waiting.back(), Some(Waiting::Gap)) {
            self.waiting.push_back(Waiting::Gap);
        }
    }

    fn down(&mut self) {
        if !self.ended && !matches!(self.waiting.back(), Some(Waiting::Down)) {
            self.waiting.push_back(Waiting::Down);
        }
    }

    fn take(&mut self) -> Option<Waiting<T>> {
        let taken = self.waiting.pop_front();
        if let Some(Waiting::Message { bytes, .. }) = &taken {
            self.bytes -= bytes;
        }
        taken
    }
}

struct Taker<T>(Arc<Inbox<T>>);

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        *queue = Queue { waiting: VecDeque::new(), bytes: 0, ended: true };
    }
}

#[async_trait]
impl<T: Into<BusEvent> + Send + 'static> Subscription for Taker<T> {
    async fn next(&mut self) -> Option<BusEvent> {
        loop {
            // `Notify` keeps one permit, so a message that arrives between the look and the wait ends the wait.
            let (taken, ended) = {
                let mut queue = self.0.queue();
                (queue.take(), queue.ended)
            };
            match taken {
                Some(Waiting::Gap) => return Some(BusEvent::Gap),
                Some(Waiting::Down) => return Some(BusEvent::Down),
                Some(Waiting::Message { item, .. }) => return Some(item.into()),
                None if ended => return None,
                None => self.0.changed.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::UserId,
        ports::{Hint, Topic},
    };

    fn message(number: u8) -> BusMessage {
        let topics = vec![Topic::User(UserId::from_bytes([number; 16]))];
        BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) }
    }

    /// All that waits: `-` for a gap, and the number of each message.
    async fn taken(inbox: &Arc<Inbox>, subscription: &mut Box<dyn Subscription>) -> String {
        let mut taken = String::new();
        while !inbox.queue().waiting.is_empty() {
            taken.push(match subscription.next().await {
                Some(BusEvent::Message(message)) => match message.topics[0] {
                    Topic::User(user) => char::from(b'0' + user.as_bytes()[0]),
                    _ => '?',
                },
                Some(BusEvent::Gap) => '-',
                Some(BusEvent::Down) => '_',
                None => '!',
            });
        }
        taken
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let inbox = Inbox::begin(100, 16);
        let mut subscription = Inbox::subscription(&inbox);
        for number in 1..=9 {
            inbox.push(message(number), 3);
        }
        assert_eq!(taken(&inbox, &mut subscription).await, "-12345-");
        inbox.push(message(7), 16);
        inbox.push(message(8), usize::MAX);
        assert_eq!(taken(&inbox, &mut subscription).await, "7-", "there is room again");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_number() {
        let inbox = Inbox::begin(4, usize::MAX);
        let mut subscription = Inbox::subscription(&inbox);
        for number in 1..=9 {
            inbox.push(message(number), 1 << 20);
        }
        assert_eq!(taken(&inbox, &mut subscription).await, "-123-");
        inbox.push(message(7), 1);
        assert_eq!(taken(&inbox, &mut subscription).await, "7");
    }

    #[tokio::test]
    async fn what_is_not_wanted_does_not_wait_and_gaps_are_one() {
        let inbox = Inbox::begin(10, 100);
        let mut subscription = Inbox::subscription(&inbox);
        inbox.gap();
        inbox.push_if([(message(1), 1)], || false);
        inbox.gap();
        inbox.push_if([(message(2), 1)], || true);
        inbox.gap();
        inbox.gap();
        assert_eq!(taken(&inbox, &mut subscription).await, "-2-");
    }

    #[tokio::test]
    async fn that_nothing_is_heard_is_said_once_and_not_after_it_is_over() {
        let inbox = Inbox::begin(10, 100);
        let mut subscription = Inbox::subscription(&inbox);
        inbox.down();
        inbox.down();
        assert_eq!(taken(&inbox, &mut subscription).await, "-_");
        for _ in 0..100 {
            inbox.down();
            inbox.gap();
        }
        assert_eq!(taken(&inbox, &mut subscription).await, "-");
        inbox.push(message(1), 1);
        inbox.down();
        inbox.end();
        assert_eq!(taken(&inbox, &mut subscription).await, "1_");
        inbox.down();
        assert!(inbox.queue().waiting.is_empty());
    }

    #[tokio::test]
    async fn who_leaves_lets_nothing_wait() {
        let inbox = Inbox::begin(10, 100);
        inbox.push(message(1), 1);
        drop(Inbox::subscription(&inbox));
        inbox.push(message(2), 1);
        inbox.gap();
        assert!(inbox.queue().waiting.is_empty());
        assert_eq!(Inbox::subscription(&inbox).next().await, None);
        assert_eq!(Inbox::subscription(&Inbox::<BusMessage>::ended()).next().await, None);
    }
}
