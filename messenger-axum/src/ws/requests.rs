//! The requests of one socket: started in the order in which they came, many under way at once.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures::{Stream as _, future::BoxFuture, stream::FuturesUnordered};
use messenger_core::{Error, Result};
use tokio::time::Instant;

use super::frames::{self, Id};
use crate::operation::Answer;

/// Bytes of answers to a batch after which no more of its requests are begun: they wait for each other.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Requests under way at once; while there are more, the socket is not read.
const AT_ONCE: usize = 64;

/// A request that has been begun.
pub(super) struct Begun {
    pub(super) at: Instant,
    pub(super) reply: Reply,
    pub(super) work: BoxFuture<'static, Result<Answer>>,
    /// Set by the work as soon as the next request may be begun.
    pub(super) placed: Arc<AtomicBool>,
}

/// Where the answer to a request goes.
pub(super) struct Reply {
    id: Option<Id>,
    batch: Option<Arc<Batch>>,
}

/// The answers to a batch, until all are there.
pub(super) struct Batch {
    answers: Mutex<Answers>,
}

struct Answers {
    missing: usize,
    ready: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    pub(super) fn of(requests: usize) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(Answers { missing: requests, ready: Vec::new(), bytes: 0 }) })
    }

    /// Takes an answer, or none for a notification. The frame, once it was the last, if there is anything in it.
    fn add(&self, answer: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut answers = self.lock();
        answers.missing -= 1;
        answers.bytes += answer.as_ref().map_or(0, Vec::len);
        answers.ready.extend(answer);
        (answers.missing == 0 && !answers.ready.is_empty()).then(|| frames::batch(&answers.ready))
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Nothing panics while it holds the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reply {
    pub(super) fn to(id: Option<Id>, batch: Option<Arc<Batch>>) -> Self {
        Self { id, batch }
    }

    /// Whether the answers to its batch are so long already that there is no room for this one.
    pub(super) fn has_no_room(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.lock().bytes > BATCH_BYTES)
    }

    /// The frame to be sent, if there is one now.
    pub(super) fn with(self, answer: &Result<Answer>) -> Option<Vec<u8>> {
        self.with_frame(|id| match answer {
            Ok(answer) => frames::answer(id, answer.json()),
            Err(error) => frames::refusal(id, error),
        })
    }

    /// The same, for an answer that is already encoded.
    pub(super) fn with_frame(self, write: impl FnOnce(&Id) -> Vec<u8>) -> Option<Vec<u8>> {
        let answer = self.id.as_ref().map(write);
        match self.batch {
            Some(batch) => batch.add(answer),
            None => answer,
        }
    }
}

/// The requests that are under way.
#[derive(Default)]
pub(super) struct Requests {
    /// The one that the next must not overtake.
    first: Option<Begun>,
    others: FuturesUnordered<BoxFuture<'static, Option<Vec<u8>>>>,
    /// Answers that are ready to be sent.
    pub(super) ready: VecDeque<Vec<u8>>,
}

impl Requests {
    /// Whether the next request may be begun.
    pub(super) fn may_begin(&self) -> bool {
        self.first.is_none() && self.others.len() < AT_ONCE
    }

    /// When the request that holds up all others was begun.
    pub(super) fn held_up_since(&self) -> Option<Instant> {
        self.first.as_ref().map(|first| first.at)
    }

    /// Waits no longer for the request that holds up all others.
    pub(super) fn give_up_first(&mut self) {
        if let Some(first) = self.first.take() {
            self.ready.extend(first.reply.with(&Err(Error::unavailable())));
        }
    }

    /// Only when [`may_begin`](Self::may_begin).
    pub(super) fn begin(&mut self, begun: Begun) {
        self.first = Some(begun);
    }

    /// Ready when an answer is, or when the next request may be begun that could not before.
    pub(super) fn poll_progress(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut progress = false;
        if let Some(first) = &mut self.first {
            match first.work.as_mut().poll(task) {
                Poll::Ready(answer) => {
                    if let Some(first) = self.first.take() {
                        self.ready.extend(first.reply.with(&answer));
                    }
                    progress = true;
                }
                // Only the work itself sets it, and it has just been polled.
                Poll::Pending if first.placed.load(Ordering::Acquire) => {
                    if let Some(Begun { reply, work, .. }) = self.first.take() {
                        self.others.push(Box::pin(async move { reply.with(&work.await) }));
                    }
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        while !self.others.is_empty() {
            match Pin::new(&mut self.others).poll_next(task) {
                Poll::Ready(Some(answer)) => {
                    self.ready.extend(answer);
                    progress = true;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when nothing is under way.
    pub(super) fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        while self.first.is_some() || !self.others.is_empty() {
            ready!(self.poll_progress(task));
        }
        Poll::Ready(())
    }
}
