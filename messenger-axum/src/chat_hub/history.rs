//! Streams the history of a chat page by page. Each page is read in a task of its own, whether or not the client reads
//! the previous one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, TryStreamExt as _, stream};
use messenger_core::{Actor, ChatId, Error, Message, Messenger, Result, Seq, UserId, queries::GetHistory};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use messenger_signalr::{Payload, Protocol};
use messenger_socket::{Account, Reservation};

/// The number of messages read at a time.
const PAGE: u32 = 200;
/// The maximum number of pages read at once for one person, over all of their connections.
const READS_OF_ONE: usize = 4;

/// The part of a chat's history to stream.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Range {
    chat_id: ChatId,
    after: Option<Seq>,
    before: Option<Seq>,
}

/// The people whose pages are being read.
#[derive(Default)]
pub(super) struct Readers(Mutex<HashMap<UserId, Arc<Semaphore>>>);

/// A connection's access to pages.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) messenger: Messenger,
    pub(super) readers: Arc<Readers>,
    pub(super) actor: Actor,
    pub(super) protocol: Protocol,
    pub(super) account: Arc<Account>,
    /// Held by the connection's only page, from the read to the last of its messages.
    pub(super) turn: Arc<Semaphore>,
}

/// Messages that were read and wait for the client.
struct Page {
    messages: Vec<Payload>,
    rest: Option<Range>,
    held: (Reservation, OwnedSemaphorePermit),
}

impl Reader {
    /// Streams every message of the range, oldest first.
    pub(super) fn stream(self, range: Range) -> impl Stream<Item = Result<Payload>> + Send + 'static {
        let pages = stream::try_unfold(Some(range), move |rest| {
            let reader = self.clone();
            async move {
                let Some(range) = rest else { return Ok(None) };
                let mut page = reader.page(range).await?;
                let rest = page.rest.take();
                Ok::<_, Error>(Some((page, rest)))
            }
        });
        pages
            .map_ok(|Page { messages, held, .. }| {
                stream::iter(messages.into_iter().map(move |message| {
                    let _until_the_last = &held;
                    Ok(message)
                }))
            })
            .try_flatten()
    }

    /// Reads the next page, once the connection has no other.
    async fn page(self, range: Range) -> Result<Page> {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Error::unavailable())?;
        // A task, so that it releases the store's resources even while nobody polls this.
        match AbortOnDropHandle::new(tokio::spawn(self.read(range, turn))).await {
            Ok(page) => page,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::unavailable()),
            },
        }
    }

    async fn read(self, range: Range, turn: OwnedSemaphorePermit) -> Result<Page> {
        let reading = Reading::begin(&self.readers, self.actor.user()?).await?;
        let Range { chat_id, after, before } = range;
        let after = Some(after.unwrap_or(Seq::new(0)));
        let query = GetHistory { chat_id, before: None, after, around: None, limit: Some(PAGE) };
        let page = self.messenger.query(&self.actor, query).await?;
        drop(reading);
        let in_range = |message: &&Message| before.is_none_or(|before| message.seq < before);
        let last = page.items.last().filter(|last| page.has_more_after && in_range(last));
        let rest = last.map(|last| Range { chat_id, after: Some(last.seq), before });
        let messages = page.items.iter().filter(in_range);
        let messages: Vec<Payload> = messages
            .map(|message| self.protocol.payload(message).map_err(Error::internal))
            .collect::<Result<_>>()?;
        let bytes = messages.iter().filter_map(Payload::bytes).map(|bytes| bytes.len()).sum();
        Ok(Page { messages, rest, held: (self.account.reserve(bytes), turn) })
    }
}

/// The right of a person to read one more page; returned on drop.
struct Reading<'r> {
    readers: &'r Readers,
    user: UserId,
    reads: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<'r> Reading<'r> {
    async fn begin(readers: &'r Readers, user: UserId) -> Result<Self> {
        let reads = {
            let mut readers = readers.lock();
            Arc::clone(readers.entry(user).or_insert_with(|| Arc::new(Semaphore::new(READS_OF_ONE))))
        };
        let mut reading = Self { readers, user, reads: Some(Arc::clone(&reads)), permit: None };
        let permit = reads.acquire_owned();
        // The semaphore is never closed.
        reading.permit = Some(permit.await.map_err(|_| Error::unavailable())?);
        Ok(reading)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        (self.permit, self.reads) = (None, None);
        // All readers and waiters hold a reference, too, and none is cloned without this lock.
        if readers.get(&self.user).is_some_and(|reads| Arc::strong_count(reads) == 1) {
            readers.remove(&self.user);
        }
    }
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Arc<Semaphore>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
