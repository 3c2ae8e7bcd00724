//! Group commit: what waits while a commit is under way is the next commit.
//!
//! Nobody waits for a timer. When little is going on a batch holds one item and is committed at once; when much
//! is, batches grow by themselves and the cost of a commit is shared by all that is in it.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::ChatId,
    error::{Error, Result},
    ports::{StoreError, StoreErrorKind, StoreResult},
};

/// Several queues of items, each with one worker that commits batches. Items of one chat keep their order,
/// because they are in one queue.
#[derive(Debug)]
pub(crate) struct Lanes<I, O> {
    queues: Box<[mpsc::Sender<Waiting<I, O>>]>,
    wait: Duration,
}

/// How large batches and queues may grow, and how long an item may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneLimits {
    pub(crate) lanes: usize,
    pub(crate) batch: usize,
    pub(crate) queue: usize,
    pub(crate) wait: Duration,
}

#[derive(Debug)]
struct Waiting<I, O> {
    item: I,
    answer: oneshot::Sender<StoreResult<O>>,
}

/// An item's place in a queue. It is committed whether or not this is waited for.
#[derive(Debug)]
pub(crate) struct Placed<O> {
    answer: oneshot::Receiver<StoreResult<O>>,
    wait: Duration,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Lanes<I, O> {
    /// Starts the workers; `commit` answers for each item of a batch in the same order.
    pub(crate) fn start<F, Fut>(
        limits: LaneLimits,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        commit: F,
    ) -> Self
    where
        F: Fn(usize, Arc<[I]>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StoreResult<Vec<StoreResult<O>>>> + Send,
    {
        let commit = Arc::new(commit);
        let queues = (0..limits.lanes.max(1))
            .map(|lane| {
                let (sender, receiver) = mpsc::channel(limits.queue);
                let (commit, stop) = (Arc::clone(&commit), stop.clone());
                tasks.spawn(async move { work(lane, receiver, limits.batch, stop, &*commit).await });
                sender
            })
            .collect();
        Self { queues, wait: limits.wait }
    }

    /// Takes a place behind all earlier items of the same chat.
    pub(crate) async fn place(&self, chat: ChatId, item: I) -> Result<Placed<O>> {
        let (answer, answered) = oneshot::channel();
        let queue = &self.queues[self.lane(chat)];
        let waiting = Waiting { item, answer };
        // Sending without a timer first: a queue that has room is the rule.
        if let Err(refused) = queue.try_send(waiting) {
            let mpsc::error::TrySendError::Full(waiting) = refused else { return Err(Error::unavailable()) };
            queue.send_timeout(waiting, self.wait).await.map_err(|_| Error::unavailable())?;
        }
        Ok(Placed { answer: answered, wait: self.wait })
    }

    /// The lane of a chat.
    pub(crate) fn lane(&self, chat: ChatId) -> usize {
        lane_of(chat, self.queues.len())
    }
}

/// The lane, of so many, that a chat belongs to. The last bytes of a UUIDv7 are random.
pub(crate) fn lane_of(chat: ChatId, lanes: usize) -> usize {
    let bytes = chat.as_bytes();
    usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % lanes
}

impl<O> Placed<O> {
    /// What became of the item. `Unavailable` after the wait limit, though it may still be committed then.
    pub(crate) async fn answer(self) -> Result<O> {
        let answer = tokio::time::timeout(self.wait, self.answer)
            .await
            .map_err(|late| Error::Unavailable(Some(late.into())))?
            .map_err(|gone| Error::Unavailable(Some(gone.into())))?;
        answer.map_err(Error::from)
    }
}

async fn work<I, O, F, Fut>(
    lane: usize,
    mut queue: mpsc::Receiver<Waiting<I, O>>,
    batch: usize,
    stop: CancellationToken,
    commit: &F,
) where
    I: Send + Sync + 'static,
    F: Fn(usize, Arc<[I]>) -> Fut,
    Fut: Future<Output = StoreResult<Vec<StoreResult<O>>>>,
{
    let mut waiting = Vec::new();
    loop {
        let taken = tokio::select! {
            biased;
            taken = queue.recv_many(&mut waiting, batch) => taken,
            // What was placed before the stop is still committed; nothing is placed after it.
            () = stop.cancelled(), if !queue.is_closed() => { queue.close(); continue }
        };
        if taken == 0 {
            return;
        }
        let (items, answers): (Vec<I>, Vec<_>) = waiting.drain(..).map(|w| (w.item, w.answer)).unzip();
        // A batch that panics takes only itself along: nobody would store anything in this lane any more.
        let outcome = AssertUnwindSafe(commit(lane, items.into())).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreErrorKind::Other.into()));
        give_answers(outcome, answers);
        let_others_send(&queue, taken).await;
    }
}

/// Who has been answered has its turn before the next batch is taken, because it may be about to send again: without
/// this, batches are as small as what happens to be there. Goes on for as long as more come, up to as many as there were.
async fn let_others_send<T>(queue: &mpsc::Receiver<T>, answered: usize) {
    const TURNS: usize = 8;
    let mut seen = 0;
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
        let waiting = queue.len();
        if waiting == seen || waiting >= answered {
            return;
        }
        seen = waiting;
    }
}

/// An answer that nobody waits for any more is dropped: the item is committed all the same.
fn give_answers<O>(outcome: StoreResult<Vec<StoreResult<O>>>, answers: Vec<oneshot::Sender<StoreResult<O>>>) {
    match outcome {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                let _ = answer.send(outcome);
            }
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, items = answers.len(), "a batch failed");
            let kind = match error.kind() {
                StoreErrorKind::Corrupt => StoreErrorKind::Corrupt,
                StoreErrorKind::Other => StoreErrorKind::Other,
                // A failed commit says nothing about a single item of it, so no other kind fits.
                _ => StoreErrorKind::Unavailable,
            };
            for answer in answers {
                let _ = answer.send(Err(StoreError::from(kind)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[tokio::test]
    async fn a_batch_that_panics_takes_only_itself_along() {
        let limits = LaneLimits { lanes: 1, batch: 8, queue: 8, wait: Duration::from_secs(20) };
        let commit = |_, batch: Arc<[u32]>| async move {
            assert!(!batch.contains(&13), "a number that this store does not like");
            Ok(batch.iter().map(|number| Ok(number * 2)).collect())
        };
        let (tasks, stop, chat) = (TaskTracker::new(), CancellationToken::new(), Context::fixed().id());
        let lanes = Lanes::start(limits, &tasks, &stop, commit);
        for (number, expected) in [(1, Some(2)), (13, None), (3, Some(6))] {
            let answer = lanes.place(chat, number).await.unwrap().answer().await;
            assert_eq!(answer.ok(), expected);
        }
        tasks.close();
        stop.cancel();
        tasks.wait().await;
    }
}
