//! The history of a chat as a stream: page by page, each read in a task of its own, whether or not the client takes what
//! was read before.

use std::sync::Arc;

use futures::{Stream, TryStreamExt as _, stream};
use messenger_core::{Actor, ChatId, Error, Message, Result, Seq, queries::GetHistory};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    door::Door,
    signalr::{Payload, Protocol},
};
use messenger_socket::{Account, Reservation};

/// Messages that are read at a time.
const PAGE: u32 = 200;

/// What is to be streamed of a chat.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Range {
    chat_id: ChatId,
    after: Option<Seq>,
    before: Option<Seq>,
}

/// One connection, as it reads pages.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) door: Door,
    pub(crate) actor: Actor,
    pub(crate) protocol: Protocol,
    pub(crate) account: Arc<Account>,
    /// Held by the one page that the connection has, from the reading to the last of its messages.
    pub(crate) turn: Arc<Semaphore>,
}

/// Messages that have been read and wait for the client.
struct Page {
    messages: Vec<Payload>,
    rest: Option<Range>,
    held: (Reservation, OwnedSemaphorePermit),
}

impl Reader {
    /// Every message of the range, oldest first.
    pub(crate) fn stream(self, range: Range) -> impl Stream<Item = Result<Payload>> + Send + 'static {
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

    /// The next page, once the connection has no other.
    async fn page(self, range: Range) -> Result<Page> {
        // It is never closed.
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Error::unavailable())?;
        // What the task has of the store it gives back also while nobody polls this.
        match AbortOnDropHandle::new(tokio::spawn(self.read(range, turn))).await {
            Ok(page) => page,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::unavailable()),
            },
        }
    }

    async fn read(self, range: Range, turn: OwnedSemaphorePermit) -> Result<Page> {
        let reading = self.door.readers.begin(self.actor.user()?).await?;
        let Range { chat_id, after, before } = range;
        let after = Some(after.unwrap_or(Seq::new(0)));
        let query = GetHistory { chat_id, before: None, after, around: None, limit: Some(PAGE) };
        let page = self.door.messenger.query(&self.actor, query).await?;
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
