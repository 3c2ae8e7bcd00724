//! Group commit: the items that wait while one batch is being committed form the next batch.
//!
//! Nobody waits for a timer. Under low load a batch holds one item and is committed at once; under high load batches
//! grow by themselves, and the cost of a commit is shared by everything in it.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::ChatId,
    error::{Error, Result},
    ports::{StoreError, StoreErrorKind, StoreResult},
    tasks::{TaskGroup, driven},
};

/// Several queues of items, each with one worker that commits batches. The items of one chat keep their order, because
/// they are in the same queue.
#[derive(Debug)]
pub(crate) struct Lanes<I, O> {
    queues: Box<[mpsc::Sender<Waiting<I, O>>]>,
    wait: Duration,
}

/// The maximum sizes of batches and queues, and the maximum wait of an item.
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

/// An item's place in a queue. The item is committed whether or not anybody waits for the answer.
#[derive(Debug)]
pub(crate) struct Placed<O> {
    answer: oneshot::Receiver<StoreResult<O>>,
    wait: Duration,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Lanes<I, O> {
    /// Starts the workers; `commit` answers for each item of a batch in the same order.
    pub(crate) fn start<F, Fut>(limits: LaneLimits, tasks: &TaskGroup, commit: F) -> Self
    where
        F: Fn(usize, Arc<[I]>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = StoreResult<Vec<StoreResult<O>>>> + Send,
    {
        let commit = Arc::new(commit);
        let queues = (0..limits.lanes.max(1))
            .map(|lane| {
                let (sender, receiver) = mpsc::channel(limits.queue);
                let commit = Arc::clone(&commit);
                tasks.spawn_with_stop(async move |stop| {
                    work(lane, receiver, limits.batch, stop, &*commit).await;
                });
                sender
            })
            .collect();
        Self { queues, wait: limits.wait }
    }

    /// Queues an item behind all earlier items of the same chat.
    pub(crate) async fn place(&self, chat: ChatId, item: I) -> Result<Placed<O>> {
        let (answer, answered) = oneshot::channel();
        let queue = &self.queues[self.lane(chat)];
        let waiting = Waiting { item, answer };
        // Tries without a timer first: usually the queue has room.
        if let Err(refused) = queue.try_send(waiting) {
            let mpsc::error::TrySendError::Full(waiting) = refused else { return Err(Error::unavailable()) };
            let (queue, wait) = (queue.clone(), self.wait);
            // A place that is given to this waiter while nobody polls it would be kept from others.
            let placed =
                async move { queue.send_timeout(waiting, wait).await.map_err(|_| Error::unavailable()) };
            driven(placed).await?;
        }
        Ok(Placed { answer: answered, wait: self.wait })
    }

    /// The lane of a chat.
    pub(crate) fn lane(&self, chat: ChatId) -> usize {
        lane_of(chat, self.queues.len())
    }
}

/// The lane, out of `lanes`, that a chat belongs to. The last bytes of a UUIDv7 are random.
pub(crate) fn lane_of(chat: ChatId, lanes: usize) -> usize {
    let bytes = chat.as_bytes();
    usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % lanes
}

impl<O> Placed<O> {
    /// Waits for the outcome of the item. `Unavailable` after the wait limit, although the item may still be committed
    /// then.
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
        // A panic fails only its own batch: otherwise nothing could be stored in this lane any more.
        let outcome = AssertUnwindSafe(commit(lane, items.into())).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(StoreErrorKind::Other.into()));
        give_answers(outcome, answers);
        let_others_send(&queue, taken).await;
    }
}

/// Gives the callers just answered a turn before the next batch is taken, because they may be about to send again:
/// without this, batches would only hold what happens to be queued. Continues while more items arrive, until there are
/// as many as were answered.
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

/// An answer that nobody waits for is dropped: the item is committed all the same.
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
                // A failed commit says nothing about its individual items, so no other kind fits.
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
    use std::{
        sync::Mutex,
        task::{Context, Waker},
    };

    use tokio::sync::Semaphore;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    /// What was committed, by lane.
    type Batches = Vec<(usize, Vec<u32>)>;

    /// Lanes of numbers, which are answered with twice the number; a batch is committed when the gate lets it through.
    struct Doubling {
        lanes: Lanes<u32, u32>,
        batches: Arc<Mutex<Batches>>,
        /// Permits for commits to proceed.
        gate: Arc<Semaphore>,
        tasks: TaskGroup,
    }

    impl Doubling {
        fn start(limits: LaneLimits, commits: usize) -> Self {
            let (batches, gate) = (Arc::<Mutex<Batches>>::default(), Arc::new(Semaphore::new(commits)));
            let tasks = TaskGroup::default();
            let (seen, turns) = (Arc::clone(&batches), Arc::clone(&gate));
            let lanes = Lanes::start(limits, &tasks, move |lane, batch: Arc<[u32]>| {
                let (seen, turns) = (Arc::clone(&seen), Arc::clone(&turns));
                async move {
                    seen.lock().unwrap().push((lane, batch.to_vec()));
                    turns.acquire().await.unwrap().forget();
                    assert!(!batch.contains(&13), "a number that this store does not like");
                    if batch.contains(&14) {
                        return Err(StoreErrorKind::Conflict.into());
                    }
                    Ok(batch.iter().map(|number| Ok(number * 2)).collect())
                }
            });
            Self { lanes, batches, gate, tasks }
        }

        fn batches(&self) -> Vec<Vec<u32>> {
            self.batches.lock().unwrap().iter().map(|(_, batch)| batch.clone()).collect()
        }

        async fn place(&self, number: u32) -> Placed<u32> {
            self.lanes.place(chat(0), number).await.unwrap()
        }

        async fn double(&self, number: u32) -> Result<u32> {
            self.place(number).await.answer().await
        }

        async fn end(&self) {
            self.tasks.end().await;
        }
    }

    const fn limits(lanes: usize) -> LaneLimits {
        LaneLimits { lanes, batch: 8, queue: 8, wait: WAIT }
    }

    /// A chat whose id ends with this number.
    fn chat(number: u16) -> ChatId {
        let [high, low] = number.to_be_bytes();
        ChatId::from_bytes([9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, high, low])
    }

    async fn turns(count: usize) {
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_batch_that_panics_takes_only_itself_along() {
        let doubling = Doubling::start(limits(1), Semaphore::MAX_PERMITS);
        for (number, expected) in [(1, Some(2)), (13, None), (3, Some(6))] {
            assert_eq!(doubling.double(number).await.ok(), expected);
        }
        doubling.end().await;
    }

    #[tokio::test]
    async fn what_waits_while_a_commit_is_under_way_is_the_next_commit() {
        let doubling = Doubling::start(limits(1), 0);
        let first = doubling.place(1).await;
        turns(3).await;
        let rest = [doubling.place(2).await, doubling.place(3).await, doubling.place(4).await];
        turns(3).await;
        assert_eq!(doubling.batches(), [[1]]);
        doubling.gate.add_permits(2);
        assert_eq!(first.answer().await.unwrap(), 2);
        for (placed, expected) in rest.into_iter().zip([4, 6, 8]) {
            assert_eq!(placed.answer().await.unwrap(), expected);
        }
        assert_eq!(doubling.batches(), [vec![1], vec![2, 3, 4]]);
    }

    #[tokio::test]
    async fn a_batch_is_not_larger_than_it_may_be() {
        let doubling = Doubling::start(LaneLimits { batch: 2, ..limits(1) }, Semaphore::MAX_PERMITS);
        let mut placed = Vec::new();
        for number in 1..=5 {
            placed.push(doubling.place(number).await);
        }
        for placed in placed {
            placed.answer().await.unwrap();
        }
        assert_eq!(doubling.batches(), [vec![1, 2], vec![3, 4], vec![5]]);
    }

    #[tokio::test]
    async fn a_place_is_not_kept_from_others_by_who_is_not_polled() {
        let doubling = Doubling::start(LaneLimits { batch: 1, queue: 1, ..limits(1) }, 0);
        let first = doubling.place(1).await;
        turns(3).await;
        let second = doubling.place(2).await;
        let mut left_alone = Box::pin(doubling.lanes.place(chat(0), 3));
        assert!(left_alone.as_mut().now_or_never().is_none(), "there is no room");
        turns(3).await;
        doubling.gate.add_permits(4);
        for (placed, expected) in [(first, 2), (second, 4), (doubling.place(4).await, 8)] {
            assert_eq!(placed.answer().await.unwrap(), expected);
        }
        assert_eq!(doubling.batches(), [[1], [2], [3], [4]]);
        assert_eq!(left_alone.await.unwrap().answer().await.unwrap(), 6);
        doubling.end().await;
    }

    /// The number of turns before the next batch is taken, when `sends` items are sent in each turn.
    fn turns_given(answered: usize, sends: &[usize]) -> usize {
        let (sender, queue) = mpsc::channel(100);
        let mut letting = std::pin::pin!(let_others_send(&queue, answered));
        let mut task = Context::from_waker(Waker::noop());
        for turn in 0.. {
            if letting.as_mut().poll(&mut task).is_ready() {
                return turn;
            }
            (0..sends.get(turn).copied().unwrap_or_default()).for_each(|_| sender.try_send(()).unwrap());
        }
        unreachable!()
    }

    #[test]
    fn the_others_have_a_turn_for_as_long_as_more_of_those_answered_send_again() {
        for (answered, sends, turns) in [
            // Nobody sends again.
            (1, &[][..], 1),
            (4, &[0, 1, 1][..], 1),
            // Everybody sends again, at once or one after the other.
            (1, &[1], 1),
            (4, &[4], 1),
            (4, &[1, 3], 2),
            (4, &[1, 1, 1, 1], 4),
            (4, &[5], 1),
            // Some send again.
            (4, &[1], 2),
            (4, &[2, 1], 3),
            (4, &[1, 0, 3], 2),
            // The turns are limited.
            (100, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 8),
        ] {
            assert_eq!(turns_given(answered, sends), turns, "{answered} {sends:?}");
        }
    }

    #[test]
    fn a_chat_is_always_in_the_same_lane_and_chats_are_spread_over_all_of_them() {
        for (number, lanes, lane) in [(0, 1, 0), (7, 1, 0), (0, 4, 0), (7, 4, 3), (0x0102, 1000, 0x0102)] {
            assert_eq!(lane_of(chat(number), lanes), lane, "{number} {lanes}");
        }
    }

    #[tokio::test]
    async fn a_slow_lane_holds_up_no_other() {
        let doubling = Doubling::start(limits(4), 1);
        // The only permitted commit is used by the other lane.
        let held = doubling.lanes.place(chat(1), 1).await.unwrap();
        let other = doubling.lanes.place(chat(2), 2).await.unwrap();
        let same = doubling.lanes.place(chat(5), 5).await.unwrap();
        turns(3).await;
        assert_eq!(*doubling.batches.lock().unwrap(), [(1, vec![1, 5]), (2, vec![2])]);
        assert_eq!(doubling.lanes.lane(chat(5)), 1);
        doubling.gate.add_permits(1);
        for (placed, expected) in [(held, 2), (other, 4), (same, 10)] {
            assert_eq!(placed.answer().await.unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_queue_full_waits_for_so_long() {
        let doubling = Doubling::start(LaneLimits { queue: 1, ..limits(1) }, 0);
        let first = doubling.place(1).await;
        turns(3).await;
        let second = doubling.place(2).await;
        let began = tokio::time::Instant::now();
        assert_eq!(doubling.lanes.place(chat(0), 3).await.unwrap_err().code(), "unavailable");
        assert_eq!(began.elapsed(), WAIT);
        // Once there is room, nobody waits.
        doubling.gate.add_permits(Semaphore::MAX_PERMITS);
        first.answer().await.unwrap();
        second.answer().await.unwrap();
        assert_eq!(doubling.double(4).await.unwrap(), 8);
        assert_eq!(doubling.batches(), [[1], [2], [4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_too_late_is_committed_all_the_same() {
        let doubling = Doubling::start(limits(1), 0);
        let placed = doubling.place(1).await;
        let began = tokio::time::Instant::now();
        assert_eq!(placed.answer().await.unwrap_err().code(), "unavailable");
        assert_eq!(began.elapsed(), WAIT);
        doubling.gate.add_permits(2);
        assert_eq!(doubling.double(2).await.unwrap(), 4);
        assert_eq!(doubling.batches(), [[1], [2]]);
    }

    #[tokio::test]
    async fn what_was_placed_before_the_stop_is_committed_and_nothing_is_placed_after_it() {
        let doubling = Doubling::start(limits(1), 0);
        let placed = [doubling.place(1).await, doubling.place(2).await];
        turns(3).await;
        let last = doubling.place(3).await;
        doubling.tasks.stop();
        doubling.gate.add_permits(2);
        doubling.end().await;
        for (placed, expected) in placed.into_iter().chain([last]).zip([2, 4, 6]) {
            assert_eq!(placed.answer().await.unwrap(), expected);
        }
        assert_eq!(doubling.lanes.place(chat(0), 4).await.unwrap_err().code(), "unavailable");
    }

    #[tokio::test]
    async fn a_failed_commit_says_nothing_about_a_single_item_of_it() {
        let doubling = Doubling::start(limits(1), Semaphore::MAX_PERMITS);
        assert_eq!(doubling.double(14).await.unwrap_err().code(), "unavailable");
        for (kind, code) in [
            (StoreErrorKind::NotFound, "unavailable"),
            (StoreErrorKind::NotMember, "unavailable"),
            (StoreErrorKind::Unavailable, "unavailable"),
            // Errors that a retry does not fix.
            (StoreErrorKind::Corrupt, "internal"),
            (StoreErrorKind::Other, "internal"),
        ] {
            let (answers, placed): (Vec<_>, Vec<_>) = (0..2)
                .map(|_| {
                    let (answer, answered) = oneshot::channel::<StoreResult<u32>>();
                    (answer, Placed { answer: answered, wait: WAIT })
                })
                .unzip();
            give_answers(Err(kind.into()), answers);
            for placed in placed {
                assert_eq!(placed.answer().await.unwrap_err().code(), code, "{kind:?}");
            }
        }
    }

    #[tokio::test]
    async fn each_item_of_a_batch_has_an_answer_of_its_own() {
        let (answers, placed): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (answer, answered) = oneshot::channel();
                (answer, Placed { answer: answered, wait: WAIT })
            })
            .unzip();
        give_answers(Ok(vec![Ok(1), Err(StoreErrorKind::NotMember.into())]), answers);
        let mut codes = Vec::new();
        for placed in placed {
            codes.push(placed.answer().await.map_err(|error| error.code()));
        }
        assert_eq!(codes, [Ok(1), Err("notFound")]);
    }
}
