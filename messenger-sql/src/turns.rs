//! Permits for the few connections of a store, for work that continues whether or not its caller polls it.

use std::{future::Future, panic::resume_unwind, pin::pin, sync::Arc, task::Poll};

use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot},
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Instrument as _;

/// Default for the maximum number of waiting callers. Each takes some 2 KiB.
pub const WAITING: usize = 16_384;

/// A queue for permits, one for each connection.
///
/// Work runs in a task of its own. So a caller that is slow to poll for its answer, or never does, keeps no permit from
/// others. The queue is fair and bounded, and a caller that goes away while waiting leaves it.
#[derive(Debug)]
pub struct Turns {
    count: u32,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A permit, returned on drop.
pub type Permit = OwnedSemaphorePermit;

impl Turns {
    /// Makes a queue for this many permits, with up to `waiting` waiting callers.
    pub fn new(permits: u32, waiting: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { count: permits, permits: semaphore(permits as usize), waiting: semaphore(waiting) }
    }

    /// Begins the work when there is a permit for it, and returns the answer given to its caller.
    ///
    /// If the caller goes away before there is a permit, the work is not begun; after that the work itself must check.
    /// A panic of the work is resumed here. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` at once if too many callers are waiting or the queue is closed, and if there is no permit by
    /// `until`.
    pub async fn run<T, W>(
        &self,
        until: Instant,
        work: impl FnOnce(Permit, Caller<T>) -> W + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let mut caller = Caller(answer);
        let queued = self.enqueue().await?;
        let task = async move {
            let permit = tokio::select! {
                biased;
                () = caller.gone() => return,
                permit = queued.permit(until) => permit,
            };
            match permit {
                Ok(permit) => work(permit, caller).await,
                Err(error) => caller.answer(Err(error.into())),
            }
        };
        let task = tokio::spawn(task.in_current_span());
        if let Ok(answer) = answered.await {
            return answer;
        }
        match task.await {
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            _ => Err(TurnError::Ended.into()),
        }
    }

    /// Queues here, and not where the task begins: so the queue is in the order of the calls.
    async fn enqueue(
        &self,
    ) -> Result<Queued<impl Future<Output = Option<Permit>> + Send + use<>>, TurnError> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(Queued::First(permit)),
            Err(TryAcquireError::Closed) => return Err(TurnError::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let held = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| TurnError::Crowded)?;
        let permits = Arc::clone(&self.permits);
        let mut turn = Box::pin(async move {
            let permit = permits.acquire_owned().await.ok();
            drop(held);
            permit
        });
        let polled = std::future::poll_fn(|cx| Poll::Ready(turn.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(permit) => permit.map(Queued::First).ok_or(TurnError::Closed),
            Poll::Pending => Ok(Queued::Later(turn)),
        }
    }

    /// The number of free permits.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Whether [`close`](Self::close) has completed.
    pub fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits for earlier callers. Later calls are refused.
    pub async fn close(&self) {
        let all = self.permits.acquire_many(self.count).await;
        self.permits.close();
        drop(all);
    }
}

/// The state of a call: it has a permit, or waits for one.
enum Queued<F> {
    First(Permit),
    Later(std::pin::Pin<Box<F>>),
}

impl<F: Future<Output = Option<Permit>>> Queued<F> {
    async fn permit(self, until: Instant) -> Result<Permit, TurnError> {
        match self {
            Self::First(permit) => Ok(permit),
            Self::Later(turn) => match timeout_at(until, turn).await {
                Ok(permit) => permit.ok_or(TurnError::Closed),
                Err(_) => Err(TurnError::Late),
            },
        }
    }
}

/// The caller that waits for the answer, or has gone.
#[derive(Debug)]
pub struct Caller<T>(oneshot::Sender<StoreResult<T>>);

impl<T> Caller<T> {
    /// Whether the caller no longer waits for the answer.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// Resolves when the caller no longer waits for the answer.
    async fn gone(&mut self) {
        self.0.closed().await;
    }

    /// Gives the answer. It stays in memory until the caller polls for it.
    pub fn answer(self, answer: StoreResult<T>) {
        // Fails only if the caller has gone.
        let _ = self.0.send(answer);
    }

    /// Runs the work to its end and answers with the result. At `deadline` the caller is answered `Unavailable`; then,
    /// or when the caller has gone, `over` is called, and may make the work end.
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
            () = sleep_until(deadline) => self.answer(Err(TurnError::NoAnswer.into())),
        }
        over();
        drop(work.await);
    }
}

/// Why work was not done for its caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
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

impl From<TurnError> for StoreError {
    fn from(trouble: TurnError) -> Self {
        Self::new(StoreErrorKind::Unavailable, trouble)
    }
}

#[cfg(test)]
mod tests;
