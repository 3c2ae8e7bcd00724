use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{Stream as _, future::BoxFuture, stream::FuturesUnordered};

/// Calls under way at once; while there are more, no other is begun.
const AT_ONCE: usize = 64;

/// Places that an empty queue of answers keeps.
const KEPT: usize = 8;

/// A call that has been begun.
struct Begun<T> {
    work: BoxFuture<'static, T>,
    /// Set by the work as soon as the next call may be begun.
    placed: Arc<AtomicBool>,
    /// Whether it is to see what those before it have done.
    waits: bool,
}

/// The requests of one connection: begun in the order in which they came, many under way at once.
pub struct Pipeline<T> {
    /// The one that the next must not overtake.
    first: Option<Begun<T>>,
    /// Those that can't be overtaken any more.
    placed: FuturesUnordered<BoxFuture<'static, T>>,
    /// Those that nobody waits for.
    released: FuturesUnordered<BoxFuture<'static, T>>,
    /// The answers of those that are done, to be sent.
    pub ready: VecDeque<T>,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self {
            first: None,
            placed: FuturesUnordered::new(),
            released: FuturesUnordered::new(),
            ready: VecDeque::new(),
        }
    }
}

impl<T> Pipeline<T> {
    /// Whether the next request may begin.
    pub fn may_begin(&self) -> bool {
        self.first.is_none() && self.placed.len() + self.released.len() < AT_ONCE
    }

    /// Only when [`may_begin`](Self::may_begin). With `waits`, the work begins when all before it is done.
    pub fn begin(&mut self, work: BoxFuture<'static, T>, placed: Arc<AtomicBool>, waits: bool) {
        self.first = Some(Begun { work, placed, waits });
    }

    /// Lets the next request begin, whatever the one before says.
    pub fn release(&mut self) {
        if let Some(first) = self.first.take() {
            self.released.push(first.work);
        }
    }

    /// Gives back the memory of a burst, once nothing of it is left.
    pub fn shrink(&mut self) {
        if self.ready.is_empty() && self.ready.capacity() > KEPT {
            self.ready = VecDeque::new();
        }
    }

    /// Works on what is under way. Ready when an answer is, or when the next request may begin that could not before.
    pub fn poll_progress(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut progress = poll_all(&mut self.placed, &mut self.ready, task);
        if let Some(first) = &mut self.first
            && (!first.waits || self.placed.is_empty())
        {
            match first.work.as_mut().poll(task) {
                Poll::Ready(done) => {
                    self.first = None;
                    self.ready.push_back(done);
                    progress = true;
                }
                // Only the work itself sets it, and it has just been polled.
                Poll::Pending if first.placed.load(Ordering::Acquire) => {
                    if let Some(first) = self.first.take() {
                        self.placed.push(first.work);
                    }
                    // It is polled there at once, or nobody would wake it.
                    poll_all(&mut self.placed, &mut self.ready, task);
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        progress |= poll_all(&mut self.released, &mut self.ready, task);
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Works until nothing is under way.
    pub fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        while self.first.is_some() || !self.placed.is_empty() || !self.released.is_empty() {
            ready!(self.poll_progress(task));
        }
        Poll::Ready(())
    }
}

fn poll_all<T>(
    calls: &mut FuturesUnordered<BoxFuture<'static, T>>,
    ready: &mut VecDeque<T>,
    task: &mut Context<'_>,
) -> bool {
    let mut progress = false;
    while !calls.is_empty()
        && let Poll::Ready(Some(done)) = Pin::new(&mut *calls).poll_next(task)
    {
        ready.push_back(done);
        progress = true;
    }
    progress
}
