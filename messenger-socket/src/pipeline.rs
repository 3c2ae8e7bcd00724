use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{Stream as _, future::BoxFuture, stream::FuturesUnordered};

/// Requests under way at once; while there are more, no other is begun.
const AT_ONCE: usize = 64;

/// Places that an empty queue of answers keeps.
const KEPT: usize = 8;

/// A request that the next one of its connection can't overtake any more.
pub enum Placed<T> {
    /// It is done.
    Done(T),
    /// It goes on while the next one begins.
    UnderWay(BoxFuture<'static, T>),
}

impl<T: 'static> Placed<T> {
    /// Makes something else of the answer, once it is there.
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

/// When a request starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAfter {
    /// Once those before it are placed: only their order matters to it.
    Placed,
    /// Once those before it are done, so that it sees what they did.
    Done,
}

/// A request that has been begun and is not placed.
struct First<T> {
    work: BoxFuture<'static, Placed<T>>,
    start: StartAfter,
}

/// The requests of one connection: begun in the order in which they came, many under way at once.
pub struct Pipeline<T> {
    /// The one that the next must not overtake.
    first: Option<First<T>>,
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

impl<T: Send + 'static> Pipeline<T> {
    /// Whether the next request may begin.
    pub fn may_begin(&self) -> bool {
        self.first.is_none() && self.placed.len() + self.released.len() < AT_ONCE
    }

    /// Begins a request; only when [`may_begin`](Self::may_begin). Its work resolves once it is placed, and then the next
    /// one may begin.
    pub fn begin(&mut self, work: BoxFuture<'static, Placed<T>>, start: StartAfter) {
        self.first = Some(First { work, start });
    }

    /// Lets the next request begin, whatever the one before says.
    pub fn release(&mut self) {
        if let Some(first) = self.first.take() {
            self.released.push(Box::pin(async move { first.work.await.answer().await }));
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
            && (first.start == StartAfter::Placed || self.placed.is_empty())
            && let Poll::Ready(placed) = first.work.as_mut().poll(task)
        {
            self.first = None;
            match placed {
                Placed::Done(answer) => self.ready.push_back(answer),
                Placed::UnderWay(work) => {
                    self.placed.push(work);
                    // It is polled there at once, or nobody would wake it.
                    poll_all(&mut self.placed, &mut self.ready, task);
                }
            }
            progress = true;
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
