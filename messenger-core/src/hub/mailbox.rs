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

/// LinkState that an empty queue keeps: most of what comes, comes a little at a time.
const KEPT: usize = 16;

/// What waits for one connection. Bounded: when it is full the connection ends, so that nobody else waits for it
/// and nothing is left out in silence.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    capacity: usize,
    /// Of all that waits, as far as texts make it long.
    most_bytes: usize,
    /// Whether there is a ping or an ending that has not been looked at.
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

/// One thing that waits for a connection.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// An event, as everybody gets it; a change of a chat, with the revision of the change before it.
    Event(Arc<Delivery>, Revision),
    /// The client is to be shown the chat as it is, at this revision or later: when it is its turn, it is read.
    Show(ChatId, Revision),
    /// The person is a member no longer, by this change.
    Removed(ChatId, Revision),
}

impl Item {
    /// An event that is no change of a chat.
    pub(super) fn of(delivery: &Arc<Delivery>) -> Self {
        Self::Event(Arc::clone(delivery), Revision::ZERO)
    }

    /// Bytes of text in it, which is what can be long.
    fn text(&self) -> usize {
        match self {
            Self::Event(delivery, _) => delivery.event().text().map_or(0, str::len),
            Self::Show(..) | Self::Removed(..) => 0,
        }
    }
}

/// Why a connection is ended from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The node stops; connect again, to another.
    GoingAway,
    /// The session was ended or has expired.
    SessionEnded,
    /// The connection reads too slowly, or something it should get could not be read: connect again and resume.
    TooFarBehind,
}

/// What a connection finds in its mailbox.
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

    /// Puts something in, or ends the connection if there is no room.
    pub(super) fn push(&self, item: Item) {
        let mut state = self.lock();
        if state.ending.is_some() {
            return;
        }
        let bytes = state.bytes + item.text();
        // One text may be longer than all that may wait.
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

    /// Asks the connection to show that it lives.
    pub(super) fn ping(&self) {
        let mut state = self.lock();
        state.ping = true;
        self.urgent.store(true, Ordering::Relaxed);
        wake(state);
    }

    /// Ends the connection; what waits is still sent if the node goes away, and dropped otherwise.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        if state.ending.is_none() {
            state.ending = Some(ending);
            self.urgent.store(true, Ordering::Relaxed);
            wake(state);
        }
    }

    /// What does not wait for its turn behind events, if there is something new.
    pub(super) fn take_urgent(&self) -> Option<Found> {
        // Costs next to nothing, because it is asked before every event.
        if !self.urgent.load(Ordering::Relaxed) {
            return None;
        }
        let mut state = self.lock();
        self.urgent.store(false, Ordering::Relaxed);
        // A node that goes away says first what it had to say.
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

    /// Moves what waits into `inbox`, which is empty. Pending while there is nothing.
    ///
    /// With `hold`, events stay where they are, and only pings and endings are found; it is also ready when
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
            // What a burst took is given back once there is nothing more of it.
            shrink(inbox);
            shrink(&mut state.items);
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
                state.waker = Some(task.waker().clone());
            }
            return Poll::Pending;
        }
        if !hold && !state.items.is_empty() {
            // The two queues change places, so that a burst that goes on allocates once.
            std::mem::swap(inbox, &mut state.items);
            state.bytes = 0;
        }
        Poll::Ready(Found { ping: std::mem::take(&mut state.ping), ending: state.ending })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while it holds the lock, and a queue is whole after each step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the memory of an empty queue back, unless it is little.
fn shrink(queue: &mut VecDeque<Item>) {
    if queue.is_empty() && queue.capacity() > KEPT {
        *queue = VecDeque::new();
    }
}

/// Wakes after the lock is released, or the woken task would wait for it at once.
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
