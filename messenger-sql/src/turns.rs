//! Turns at the few connections that a store has, for work that goes on wherever its caller is.

use std::{future::Future, panic::resume_unwind, pin::pin, sync::Arc, task::Poll};

use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Instrument as _;

/// How many wait for a seat at most where nothing else is said. Each takes some 2 KiB.
pub const WAITING: usize = 16_384;

/// A queue for seats, of which there is one for each connection.
///
/// Whoever is served is a task of its own. So a caller that is slow to come back for its answer, or never does, keeps
/// no seat from others. The queue is fair, it has an end, and who goes away while waiting leaves it.
#[derive(Debug)]
pub struct Turns {
    count: u32,
    seats: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A seat, until it is dropped.
pub type Seat = OwnedSemaphorePermit;

impl Turns {
    /// So many seats, for which up to `waiting` wait.
    pub fn new(seats: u32, waiting: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { count: seats, seats: semaphore(seats as usize), waiting: semaphore(waiting) }
    }

    /// Begins the work when there is a seat for it, and gives what its caller was answered.
    ///
    /// A caller that goes away before there is a seat leaves the work undone; after that it is for the work to look.
    /// What panics there panics here. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` at once if too many are waiting or the seats are closed, and if there is no seat at `until`.
    pub async fn run<T, W>(
        &self,
        until: Instant,
        work: impl FnOnce(Seat, Caller<T>) -> W + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let mut caller = Caller(answer);
        let place = self.line_up().await?;
        let task = async move {
            let seat = tokio::select! {
                biased;
                () = caller.gone() => return,
                seat = place.seat(until) => seat,
            };
            match seat {
                Ok(seat) => work(seat, caller).await,
                Err(trouble) => caller.answer(Err(trouble.into())),
            }
        };
        let task = tokio::spawn(task.in_current_span());
        if let Ok(answer) = answered.await {
            return answer;
        }
        match task.await {
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            _ => Err(NoTurn::Ended.into()),
        }
    }

    /// Takes a place here, and not where the task begins: the queue is in the order of the calls.
    async fn line_up(&self) -> Result<Place<impl Future<Output = Option<Seat>> + Send + use<>>, NoTurn> {
        match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(seat) => return Ok(Place::First(seat)),
            Err(TryAcquireError::Closed) => return Err(NoTurn::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let held = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| NoTurn::Crowded)?;
        let seats = Arc::clone(&self.seats);
        let mut turn = Box::pin(async move {
            let seat = seats.acquire_owned().await.ok();
            drop(held);
            seat
        });
        let polled = std::future::poll_fn(|cx| Poll::Ready(turn.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(seat) => seat.map(Place::First).ok_or(NoTurn::Closed),
            Poll::Pending => Ok(Place::Later(turn)),
        }
    }

    /// How many seats nobody has now.
    pub fn free(&self) -> usize {
        self.seats.available_permits()
    }

    /// Whether [`close`](Self::close) has done its part.
    pub fn is_closed(&self) -> bool {
        self.seats.is_closed()
    }

    /// Waits for those who were there before. Whoever comes later is refused.
    pub async fn close(&self) {
        let all = self.seats.acquire_many(self.count).await;
        self.seats.close();
        drop(all);
    }
}

/// A place in the queue.
enum Place<F> {
    First(Seat),
    Later(std::pin::Pin<Box<F>>),
}

impl<F: Future<Output = Option<Seat>>> Place<F> {
    async fn seat(self, until: Instant) -> Result<Seat, NoTurn> {
        match self {
            Self::First(seat) => Ok(seat),
            Self::Later(turn) => match timeout_at(until, turn).await {
                Ok(seat) => seat.ok_or(NoTurn::Closed),
                Err(_) => Err(NoTurn::Late),
            },
        }
    }
}

/// Who waits for the answer, or has gone.
#[derive(Debug)]
pub struct Caller<T>(oneshot::Sender<StoreResult<T>>);

impl<T> Caller<T> {
    /// Whether nobody waits for the answer any more.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// When nobody waits for the answer any more.
    async fn gone(&mut self) {
        self.0.closed().await;
    }

    /// The answer. It waits in memory until the caller comes for it.
    pub fn answer(self, answer: StoreResult<T>) {
        // Nobody is there to be told that nobody is there.
        let _ = self.0.send(answer);
    }

    /// Answers with what comes of the work, which is waited for to its end. At `deadline` the caller is told
    /// `Unavailable`; then, or when the caller has gone, `over` is called, and may bring the end about.
    pub async fn answer_with(
        mut self,
        deadline: Instant,
        work: impl Future<Output = StoreResult<T>>,
        over: impl FnOnce(),
    ) {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            answer = &mut work => return self.answer(answer),
            () = self.gone() => {}
            () = sleep_until(deadline) => self.answer(Err(NoTurn::NoAnswer.into())),
        }
        over();
        drop(work.await);
    }
}

/// Why work was not done for its caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTurn {
    #[error("too many are waiting for a connection")]
    Crowded,
    #[error("no connection was free in time")]
    Late,
    #[error("the database did not answer in time")]
    NoAnswer,
    #[error("the store is closed")]
    Closed,
    #[error("the runtime has ended")]
    Ended,
}

impl From<NoTurn> for StoreError {
    fn from(trouble: NoTurn) -> Self {
        Self::new(StoreErrorKind::Unavailable, trouble)
    }
}

#[cfg(test)]
mod tests;
