//! Client results: what the hub asks of a client.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{
    hub::Caller,
    protocol::{ArgumentError, EncodeError, Outcome, OwnedArgument, Payload, Protocol},
};

/// Questions that may wait to be sent to one client.
const WAITING: usize = 64;

/// Why a client has given no result.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The client says so, for example because it has no such method.
    #[error("the client answered with an error: {0}")]
    Refused(String),
    /// The connection has ended.
    #[error("the connection has ended")]
    Gone,
    /// Too many questions wait for this client.
    #[error("too many questions wait for the client")]
    Busy,
    /// The question can't be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The result is not of the type that was asked for.
    #[error("the client's result does not fit")]
    Answer(#[from] ArgumentError),
}

impl Caller {
    /// Calls a method of the client and waits for its result; for as long as the connection lives, so a caller with
    /// less patience sets a limit of its own. The method that asks no longer holds up those behind it.
    ///
    /// # Errors
    /// As the variants of [`AskError`] say.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        target: &str,
        argument: &(impl Serialize + Sync + ?Sized),
    ) -> Result<T, AskError> {
        let argument = self.protocol.payload(argument)?;
        let (reply, answer) = oneshot::channel();
        self.asks.push(Ask { target: target.into(), argument, reply })?;
        answer.await.map_err(|_| AskError::Gone)??.read().map_err(AskError::from)
    }
}

/// The questions on their way from the hub to the session.
#[derive(Debug, Clone, Default)]
pub(super) struct Asks(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Ask>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Ask {
    target: String,
    argument: Payload,
    reply: oneshot::Sender<Result<OwnedArgument, AskError>>,
}

impl Asks {
    fn push(&self, ask: Ask) -> Result<(), AskError> {
        let mut state = self.lock();
        if state.closed {
            return Err(AskError::Gone);
        }
        if state.waiting.len() >= WAITING {
            return Err(AskError::Busy);
        }
        state.waiting.push_back(ask);
        drop(state);
        self.0.waker.wake();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end: what was asked and not answered.
#[derive(Debug)]
pub(super) struct Asked {
    asks: Asks,
    open: HashMap<String, oneshot::Sender<Result<OwnedArgument, AskError>>>,
    last: u64,
}

impl Asked {
    pub(super) fn new(asks: Asks) -> Self {
        Self { asks, open: HashMap::new(), last: 0 }
    }

    pub(super) fn poll_next(&self, task: &mut Context<'_>) -> Poll<Ask> {
        self.asks.0.waker.register(task.waker());
        self.asks.lock().waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// The question as it goes to the client.
    pub(super) fn send(&mut self, ask: Ask, protocol: Protocol) -> Bytes {
        // Those who no longer wait leave their place.
        if self.open.len() >= WAITING {
            self.open.retain(|_, reply| !reply.is_closed());
        }
        self.last += 1;
        let id = format!("s{}", self.last);
        let record = protocol.request(Some(&id), &ask.target, &[ask.argument]);
        self.open.insert(id, ask.reply);
        record
    }

    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// A completion for what this connection was asked; false if there was no such question.
    pub(super) fn answer(&mut self, id: &str, outcome: Outcome<'_>) -> bool {
        let Some(reply) = self.open.remove(id) else { return false };
        let answer = match outcome {
            Outcome::Value(value) => Ok(value.into_owned()),
            Outcome::Void => Ok(OwnedArgument::null()),
            Outcome::Error(error) => Err(AskError::Refused(error.into_owned())),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
        true
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.asks.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_no_longer_wait_for_an_answer_take_no_room() {
        let mut asked = Asked::new(Asks::default());
        let mut ask = || {
            let (reply, answer) = oneshot::channel();
            let argument = Protocol::Json.payload(&()).unwrap();
            asked.send(Ask { target: "name".into(), argument, reply }, Protocol::Json);
            answer
        };
        let _waiting: Vec<_> = (0..WAITING).map(|_| ask()).collect();
        for _ in 0..10 * WAITING {
            drop(ask());
        }
        assert!(asked.open.len() <= WAITING + 1, "{}", asked.open.len());
    }
}
