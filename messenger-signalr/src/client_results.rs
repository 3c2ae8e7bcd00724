//! Client results: calls of a client's methods by the hub.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::sync::oneshot;

use super::protocol::{ArgumentError, EncodeError, Outcome, OwnedArgument, Payload, Protocol};

/// Maximum number of calls that wait to be sent to one client.
const WAITING: usize = 64;

/// Why a client has returned no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientResultError {
    /// The client has refused, for example because it has no such method.
    #[error("the client answered with an error: {0}")]
    Refused(String),
    /// The connection has ended.
    #[error("the connection has ended")]
    Gone,
    /// Too many calls wait for this client.
    #[error("too many questions wait for the client")]
    Busy,
    /// The call can't be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The result is not of the requested type.
    #[error("the client's result does not fit")]
    Answer(#[from] ArgumentError),
}

/// The queue of calls from the hub to the session.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientCalls(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<ClientCall>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct ClientCall {
    pub(super) target: String,
    pub(super) argument: Payload,
    pub(super) reply: oneshot::Sender<Result<OwnedArgument, ClientResultError>>,
}

impl ClientCalls {
    pub(super) fn push(&self, ask: ClientCall) -> Result<(), ClientResultError> {
        let mut state = self.lock();
        if state.closed {
            return Err(ClientResultError::Gone);
        }
        if state.waiting.len() >= WAITING {
            return Err(ClientResultError::Busy);
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

/// The session's side: calls that were sent and not answered.
#[derive(Debug)]
pub(super) struct PendingCalls {
    calls: ClientCalls,
    open: HashMap<String, oneshot::Sender<Result<OwnedArgument, ClientResultError>>>,
    last: u64,
}

impl PendingCalls {
    pub(super) fn new(calls: ClientCalls) -> Self {
        Self { calls, open: HashMap::new(), last: 0 }
    }

    pub(super) fn poll_next(&self, task: &mut Context<'_>) -> Poll<ClientCall> {
        self.calls.0.waker.register(task.waker());
        self.calls.lock().waiting.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// The encoded call for the client.
    pub(super) fn send(&mut self, ask: ClientCall, protocol: Protocol) -> Bytes {
        // Callers that no longer wait free their places.
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

    /// Handles a completion of a call of this connection; false if there was no such call.
    pub(super) fn answer(&mut self, id: &str, outcome: Outcome<'_>) -> bool {
        let Some(reply) = self.open.remove(id) else { return false };
        let answer = match outcome {
            Outcome::Value(value) => Ok(value.into_owned()),
            Outcome::Void => Ok(OwnedArgument::null()),
            Outcome::Error(error) => Err(ClientResultError::Refused(error.into_owned())),
        };
        // The caller may have gone.
        let _ = reply.send(answer);
        true
    }
}

impl Drop for PendingCalls {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        state.closed = true;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_no_longer_wait_for_an_answer_take_no_room() {
        let mut asked = PendingCalls::new(ClientCalls::default());
        let mut ask = || {
            let (reply, answer) = oneshot::channel();
            let argument = Protocol::Json.payload(&()).unwrap();
            asked.send(ClientCall { target: "name".into(), argument, reply }, Protocol::Json);
            answer
        };
        let _waiting: Vec<_> = (0..WAITING).map(|_| ask()).collect();
        for _ in 0..10 * WAITING {
            drop(ask());
        }
        assert!(asked.open.len() <= WAITING + 1, "{}", asked.open.len());
    }
}
