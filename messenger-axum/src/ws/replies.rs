//! Where the answers to requests go: each to a frame of its own, or into the frame of its batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use messenger_core::Result;

use super::frames::{self, Id};
use crate::operation::Answer;
use messenger_socket::Account;

/// Once the answers to a batch have this many bytes, no more of its requests are begun: answers of a batch are held
/// until all are complete.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The destination of an answer.
pub(super) struct Reply {
    id: Option<Id>,
    batch: Option<Arc<Batch>>,
    account: Arc<Account>,
}

/// The answers to a batch, until it is complete.
pub(super) struct Batch {
    answers: Mutex<Answers>,
}

struct Answers {
    missing: usize,
    ready: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    pub(super) fn of(requests: usize) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(Answers { missing: requests, ready: Vec::new(), bytes: 0 }) })
    }

    /// Adds an answer, or none for a notification. After the last one, returns the frame, if it is not empty.
    fn add(&self, answer: Option<Bytes>) -> Option<Vec<u8>> {
        let mut answers = self.lock();
        answers.missing -= 1;
        answers.bytes += answer.as_ref().map_or(0, Bytes::len);
        answers.ready.extend(answer);
        (answers.missing == 0 && !answers.ready.is_empty()).then(|| frames::batch(&answers.ready))
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        // Nothing panics while it holds the lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reply {
    pub(super) fn to(id: Option<Id>, batch: Option<Arc<Batch>>, account: &Arc<Account>) -> Self {
        Self { id, batch, account: Arc::clone(account) }
    }

    /// Whether the answers to its batch are already so long that there is no room for this one.
    pub(super) fn has_no_room(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.lock().bytes > BATCH_BYTES)
    }

    /// Completes the reply; returns the frame to send, if there is one now.
    pub(super) fn with(self, answer: &Result<Answer>) -> Option<Bytes> {
        self.with_frame(|id| match answer {
            Ok(answer) => frames::answer(id, answer.value().map_or(b"null", |json| json)),
            Err(error) => frames::refusal(id, error),
        })
    }

    /// The same, for an answer that is already encoded.
    pub(super) fn with_frame(self, write: impl FnOnce(&Id) -> Vec<u8>) -> Option<Bytes> {
        let counted = |frame: Vec<u8>| self.account.counted(frame.into());
        let answer = self.id.as_ref().map(write).map(counted);
        match self.batch {
            Some(batch) => batch.add(answer).map(counted),
            None => answer,
        }
    }
}
