//! Writes to a socket: messages are gathered and then flushed together, because each write costs a system call.

use std::{future::poll_fn, time::Duration};

use futures::{FutureExt as _, Sink, SinkExt as _};
use tokio::time::timeout;

/// How many bytes are gathered before they are written.
pub(crate) const WRITE_BUFFER: usize = 64 * 1024;
/// For longer writes a client has an additional second per `SLOWEST` bytes, up to `LONGEST_WRITE`.
const SLOWEST: usize = 16 * 1024;
const LONGEST_WRITE: Duration = Duration::from_secs(120);

/// Why something was not written.
#[derive(Debug)]
pub enum WriteError<E> {
    /// The client did not read it in time.
    TimedOut,
    /// The sink failed.
    Failed(E),
}

/// Messages that are written together.
pub struct Writer<'s, S> {
    /// The sink they are written to.
    pub sink: &'s mut S,
    gathered: usize,
    full: bool,
    taken: bool,
    wait: Duration,
}

impl<'s, S> Writer<'s, S> {
    /// Writes to this sink, and gives up after `wait` if the client has not read what was written; longer writes get
    /// more time.
    pub fn new(sink: &'s mut S, wait: Duration) -> Self {
        Self { sink, gathered: 0, full: false, taken: false, wait }
    }

    /// Gathers a message of `length` bytes, and writes the gathered messages once they exceed the buffer size.
    ///
    /// # Errors
    /// [`WriteError::TimedOut`] if the client reads nothing; [`WriteError::Failed`] with the error of the sink.
    pub async fn feed<M>(&mut self, message: M, length: usize) -> Result<(), WriteError<S::Error>>
    where
        S: Sink<M> + Unpin,
    {
        self.gathered += length;
        let patience = self.patience();
        // Ready at once unless the client is slow; only then is a timer needed.
        let mut ready = poll_fn(|task| self.sink.poll_ready_unpin(task));
        let is_ready = match (&mut ready).now_or_never() {
            Some(is_ready) => is_ready,
            None => {
                let is_ready = timeout(patience, ready).await.map_err(|_| WriteError::TimedOut)?;
                self.taken = true;
                is_ready
            }
        };
        is_ready.and_then(|()| self.sink.start_send_unpin(message)).map_err(WriteError::Failed)?;
        if self.gathered < WRITE_BUFFER {
            return Ok(());
        }
        self.full = true;
        self.flush().await
    }

    /// Writes the gathered messages.
    ///
    /// # Errors
    /// The same as for [`feed`](Self::feed).
    pub async fn flush<M>(&mut self) -> Result<(), WriteError<S::Error>>
    where
        S: Sink<M> + Unpin,
    {
        if self.gathered == 0 {
            return Ok(());
        }
        let patience = self.patience();
        self.gathered = 0;
        let flushed = match self.sink.flush().now_or_never() {
            Some(flushed) => flushed,
            None => {
                let flushed = timeout(patience, self.sink.flush()).await.map_err(|_| WriteError::TimedOut)?;
                self.taken = true;
                flushed
            }
        };
        flushed.map_err(WriteError::Failed)
    }

    /// Whether so much was gathered that some of it was written before the flush.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the writer had to wait, and the client then read something: a sign of life.
    pub const fn has_taken(&self) -> bool {
        self.taken
    }

    fn patience(&self) -> Duration {
        let more = Duration::from_secs((self.gathered / SLOWEST) as u64);
        self.wait + more.min(LONGEST_WRITE.saturating_sub(self.wait))
    }
}
