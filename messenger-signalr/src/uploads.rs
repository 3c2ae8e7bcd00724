//! Streams from a client to a method.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::mpsc;

use super::{
    error::HubError,
    protocol::{Outcome, OwnedArgument},
};

/// A client's stream. It ends when the client ends it, and with an error if something failed on the client or the
/// connection was lost.
#[derive(Debug)]
pub struct Upload {
    items: mpsc::Receiver<Item>,
    ended: bool,
}

/// Maximum number of concurrent streams from one client.
const AT_ONCE: usize = 32;

type Item = Option<Result<OwnedArgument, HubError>>;

impl Stream for Upload {
    type Item = Result<OwnedArgument, HubError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match std::task::ready!(self.items.poll_recv(task)) {
            Some(Some(Ok(item))) => return Poll::Ready(Some(Ok(item))),
            Some(Some(Err(error))) => Some(Err(error)),
            Some(None) => None,
            None => Some(Err(HubError::exception("The connection was lost before the stream was complete."))),
        };
        self.ended = true;
        Poll::Ready(next)
    }
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    open: HashMap<String, mpsc::Sender<Item>>,
    /// The item that its method has no room for yet; nothing else of the connection is processed in the meantime.
    held: Option<(mpsc::Sender<Item>, Item)>,
}

impl Uploads {
    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open.get(id).is_some_and(|stream| !stream.is_closed())
    }

    /// Whether this many more may be opened: they use places that other calls need.
    pub(super) fn have_room(&self, more: usize) -> bool {
        more == 0 || self.open.values().filter(|stream| !stream.is_closed()).count() + more <= AT_ONCE
    }

    pub(super) fn open(&mut self, id: String, capacity: usize) -> Upload {
        self.open.retain(|_, stream| !stream.is_closed());
        let (sender, items) = mpsc::channel(capacity.clamp(1, 10_000));
        self.open.insert(id, sender);
        Upload { items, ended: false }
    }

    /// Passes on an item; one for a stream that is not open is dropped.
    pub(super) fn item(&mut self, id: &str, item: OwnedArgument) {
        if let Some(stream) = self.open.get(id).cloned() {
            self.give(stream, Some(Ok(item)));
        }
    }

    /// Ends a stream; false if there is none with this id.
    pub(super) fn complete(&mut self, id: &str, outcome: &Outcome<'_>) -> bool {
        let Some(stream) = self.open.remove(id) else { return false };
        let end = match outcome {
            Outcome::Error(error) => Some(Err(HubError::exception(error.to_string()))),
            Outcome::Void | Outcome::Value(_) => None,
        };
        self.give(stream, end);
        true
    }

    fn give(&mut self, stream: mpsc::Sender<Item>, item: Item) {
        match stream.try_send(item) {
            // Its method has returned.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(item)) => self.held = Some((stream, item)),
        }
    }

    /// Whether an item waits for room.
    pub(super) const fn is_full(&self) -> bool {
        self.held.is_some()
    }

    /// Waits until there is room for the item.
    pub(super) async fn make_room(&mut self) {
        let Some((stream, _)) = &self.held else { return poll_fn(|_| Poll::Pending).await };
        let stream = stream.clone();
        let permit = stream.reserve().await;
        if let (Some((_, item)), Ok(permit)) = (self.held.take(), permit) {
            permit.send(item);
        }
    }
}
