//! The calls of one connection: started in the order in which they came, many under way at once.

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

/// A call that has been begun.
struct Begun<T> {
    work: BoxFuture<'static, T>,
    /// Set by the work as soon as the next call may be begun.
    placed: Arc<AtomicBool>,
}

/// The calls that are under way, and what has come of others.
pub(crate) struct Pipeline<T> {
    /// The one that the next must not overtake.
    first: Option<Begun<T>>,
    others: FuturesUnordered<BoxFuture<'static, T>>,
    /// What has come of those that are done, to be sent.
    pub(crate) ready: VecDeque<T>,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self { first: None, others: FuturesUnordered::new(), ready: VecDeque::new() }
    }
}

impl<T> Pipeline<T> {
    /// Whether the next call may be begun.
    pub(crate) fn may_begin(&self) -> bool {
        self.first.is_none() && self.others.len() < AT_ONCE
    }

    /// Only when [`may_begin`](Self::may_begin).
    pub(crate) fn begin(&mut self, work: BoxFuture<'static, T>, placed: Arc<AtomicBool>) {
        self.first = Some(Begun { work, placed });
    }

    /// The next call may be begun, whatever the one before says.
    pub(crate) fn release(&mut self) {
        if let Some(first) = self.first.take() {
            self.others.push(first.work);
        }
    }

    /// Ready when a call is, or when the next may be begun that could not before.
    pub(crate) fn poll_progress(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut progress = false;
        if let Some(first) = &mut self.first {
            match first.work.as_mut().poll(task) {
                Poll::Ready(done) => {
                    self.first = None;
                    self.ready.push_back(done);
                    progress = true;
                }
                // Only the work itself sets it, and it has just been polled.
                Poll::Pending if first.placed.load(Ordering::Acquire) => {
                    self.release();
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        while !self.others.is_empty() {
            match Pin::new(&mut self.others).poll_next(task) {
                Poll::Ready(Some(done)) => {
                    self.ready.push_back(done);
                    progress = true;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when nothing is under way.
    pub(crate) fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        while self.first.is_some() || !self.others.is_empty() {
            ready!(self.poll_progress(task));
        }
        Poll::Ready(())
    }
}
