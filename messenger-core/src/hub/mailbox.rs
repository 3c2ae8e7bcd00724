use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::Delivery;
use crate::domain::{ChatId, Revision};

/// Capacity that an empty queue keeps: items usually come a few at a time.
const KEPT: usize = 16;

/// The events that wait for one connection. Bounded: when it is full the connection ends, so that nobody else waits for
/// it and nothing is dropped in silence.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    capacity: usize,
    /// Maximum number of bytes of all items, counting only texts.
    most_bytes: usize,
    /// Whether there is a ping or an ending that has not been handled.
    urgent: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    ping: bool,
    ending: Option<Ending>,
    waker: Option<Waker>,
}

/// One item that waits for a connection.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// An event, the same for everybody; for a change of a chat, with the revision of the preceding change.
    Event(Arc<Delivery>, Revision),
    /// The client is to be shown the chat, at this revision or later: it is read when this item is reached.
    Show(ChatId, Revision),
    /// The person is no longer a member, by this change.
    Removed(ChatId, Revision),
}

impl Item {
    /// Wraps an event that is no change of a chat.
    pub(super) fn of(delivery: &Arc<Delivery>) -> Self {
        Self::Event(Arc::clone(delivery), Revision::ZERO)
    }

    /// The bytes of text in it; only texts can be long.
    fn text(&self) -> usize {
        match self {
            Self::Event(delivery, _) => delivery.event().text().map_or(0, str::len),
            Self::Show(..) | Self::Removed(..) => 0,
        }
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The node is stopping; the client must connect to another node.
    GoingAway,
    /// The session was ended or has expired.
    SessionEnded,
    /// The connection reads too slowly, or something for it could not be read: the client must connect again and
    /// resume.
    TooFarBehind,
}

/// What was found in a mailbox.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ping: bool,
    pub(super) ending: Option<Ending>,
}

impl Mailbox {
    pub(super) fn new(capacity: usize, most_bytes: usize) -> Self {
        let capacity = capacity.max(1);
        let most_bytes = most_bytes.max(1);
        Self { state: Mutex::default(), capacity, most_bytes, urgent: AtomicBool::new(false) }
    }

    /// Adds an item, or ends the connection if there is no room.
    pub(super) fn push(&self, item: Item) {
        let mut state = self.lock();
        if state.ending.is_some() {
            return;
        }
        let bytes = state.bytes + item.text();
        // A single text may exceed the limit.
        let is_full = state.items.len() >= self.capacity || (bytes > self.most_bytes && state.bytes > 0);
        if is_full {
            (state.items, state.bytes) = (VecDeque::new(), 0);
            state.ending = Some(Ending::TooFarBehind);
            self.urgent.store(true, Ordering::Relaxed);
            metrics::counter!("messenger_connections_too_slow_total").increment(1);
        } else {
            state.bytes = bytes;
            state.items.push_back(item);
        }
        wake(state);
    }

    /// Requests a sign of life from the client.
    pub(super) fn ping(&self) {
        let mut state = self.lock();
        state.ping = true;
        self.urgent.store(true, Ordering::Relaxed);
        wake(state);
    }

    /// Ends the connection; queued items are still sent if the node is going away, and dropped otherwise.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        if state.ending.is_none() {
            state.ending = Some(ending);
            self.urgent.store(true, Ordering::Relaxed);
            wake(state);
        }
    }

    /// Takes new pings and endings, which do not wait behind events.
    pub(super) fn take_urgent(&self) -> Option<Found> {
        // A cheap check, because it runs before every event.
        if !self.urgent.load(Ordering::Relaxed) {
            return None;
        }
        let mut state = self.lock();
        self.urgent.store(false, Ordering::Relaxed);
        // A node that goes away sends its queued events first.
        let ending = state.ending.filter(|ending| *ending != Ending::GoingAway);
        Some(Found { ping: std::mem::take(&mut state.ping), ending })
    }

    /// Whether so much waits that holding it back any longer would end the connection.
    pub(super) fn is_half_full(&self) -> bool {
        self.is_half(&self.lock())
    }

    fn is_half(&self, state: &State) -> bool {
        state.items.len() * 2 >= self.capacity || state.bytes * 2 >= self.most_bytes
    }

    /// Moves the queued items into `inbox`, which is empty. Pending while there are none.
    ///
    /// With `hold`, events stay queued, and only pings and endings are returned; it is also ready when the mailbox is
    /// [half full](Self::is_half_full).
    pub(super) fn poll_take(
        &self,
        inbox: &mut VecDeque<Item>,
        hold: bool,
        task: &mut Context<'_>,
    ) -> Poll<Found> {
        let mut state = self.lock();
        let overdue = hold && self.is_half(&state);
        let nothing = (state.items.is_empty() || hold) && !overdue && !state.ping && state.ending.is_none();
        if nothing {
            // Frees the memory of a burst once the burst is over.
            shrink(inbox);
            shrink(&mut state.items);
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
                state.waker = Some(task.waker().clone());
            }
            return Poll::Pending;
        }
        if !hold && !state.items.is_empty() {
            // Swaps the two queues, so that a continuing burst allocates only once.
            std::mem::swap(inbox, &mut state.items);
            state.bytes = 0;
        }
        Poll::Ready(Found { ping: std::mem::take(&mut state.ping), ending: state.ending })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock, and the queue is consistent after each step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the memory of an empty queue, unless it is little.
fn shrink(queue: &mut VecDeque<Item>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

/// Wakes the task after releasing the lock, or the woken task would wait for it at once.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Event;

    #[test]
    fn a_mailbox_is_half_full_by_what_it_has_or_by_what_that_weighs() {
        let item = || Item::of(&Arc::new(Delivery::new(Event::CaughtUp { position: None })));
        for (capacity, half) in [(10, 5), (11, 6)] {
            let mailbox = Mailbox::new(capacity, usize::MAX / 2);
            for pushed in 0..half {
                assert!(!mailbox.is_half_full(), "{pushed} of {capacity}");
                mailbox.push(item());
            }
            assert!(mailbox.is_half_full(), "{half} of {capacity}");
        }
        let mailbox = Mailbox::new(1000, 1000);
        for (bytes, is_half) in [(0, false), (499, false), (500, true), (501, true)] {
            mailbox.lock().bytes = bytes;
            assert_eq!(mailbox.is_half_full(), is_half, "{bytes}");
        }
    }
}
