use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream as _, future::BoxFuture, stream::FuturesUnordered};

/// Maximum number of requests in progress; while there are as many, no other begins.
const AT_ONCE: usize = 64;

/// The capacity that an empty queue of answers keeps.
const KEPT: usize = 8;

/// A request that the next one of its connection can no longer overtake.
pub enum Placed<T> {
    /// It is complete.
    Done(T),
    /// It continues while the next one begins.
    UnderWay(BoxFuture<'static, T>),
}

impl<T: 'static> Placed<T> {
    /// Converts the answer, once it is there.
    #[must_use]
    pub fn map<U>(self, make: impl FnOnce(T) -> U + Send + 'static) -> Placed<U> {
        match self {
            Self::Done(answer) => Placed::Done(make(answer)),
            Self::UnderWay(work) => Placed::UnderWay(Box::pin(async move { make(work.await) })),
        }
    }

    /// Waits for the answer.
    pub async fn answer(self) -> T {
        match self {
            Self::Done(answer) => answer,
            Self::UnderWay(work) => work.await,
        }
    }
}

/// When a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAfter {
    /// Once earlier requests are placed: only their order matters to it.
    Placed,
    /// Once earlier requests are complete, so that it sees their effects.
    Done,
}

/// A request that has begun and is not placed yet.
struct First<T> {
    work: BoxFuture<'static, Placed<T>>,
    start: StartAfter,
}

/// The requests of one connection: begun in the order of arrival, many in progress at once.
pub struct Pipeline<T> {
    /// The request that the next must not overtake.
    first: Option<First<T>>,
    /// Requests that can no longer be overtaken.
    placed: FuturesUnordered<BoxFuture<'static, T>>,
    /// Requests that the next one does not wait for.
    released: FuturesUnordered<BoxFuture<'static, T>>,
    /// The answers of completed requests, to be sent.
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

impl<T: Send + 'static> Pipeline<T> {
    /// Whether the next request may begin.
    pub fn may_begin(&self) -> bool {
        self.first.is_none() && self.placed.len() + self.released.len() < AT_ONCE
    }

    /// Begins a request; only when [`may_begin`](Self::may_begin). Its work resolves once it is placed, and then the
    /// next one may begin.
    pub fn begin(&mut self, work: BoxFuture<'static, Placed<T>>, start: StartAfter) {
        self.first = Some(First { work, start });
    }

    /// Lets the next request begin, whether or not the current one is placed.
    pub fn release(&mut self) {
        if let Some(first) = self.first.take() {
            self.released.push(Box::pin(async move { first.work.await.answer().await }));
        }
    }

    /// Frees the memory of a burst, once everything in it is done.
    pub fn shrink(&mut self) {
        if self.ready.is_empty() && self.ready.capacity() > KEPT {
            self.ready = VecDeque::new();
        }
    }

    /// Polls the requests in progress. Ready when an answer is, or when the next request may begin that could not
    /// before.
    pub fn poll_progress(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut progress = poll_all(&mut self.placed, &mut self.ready, task);
        if let Some(first) = &mut self.first
            && (first.start == StartAfter::Placed || self.placed.is_empty())
            && let Poll::Ready(placed) = first.work.as_mut().poll(task)
        {
            self.first = None;
            match placed {
                Placed::Done(answer) => self.ready.push_back(answer),
                Placed::UnderWay(work) => {
                    self.placed.push(work);
                    // Polled there at once, or nothing would wake it.
                    poll_all(&mut self.placed, &mut self.ready, task);
                }
            }
            progress = true;
        }
        progress |= poll_all(&mut self.released, &mut self.ready, task);
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Polls until no request is in progress.
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
