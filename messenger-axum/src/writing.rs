//! Writing to a socket: gathered, then flushed at once, because each write costs a call of the system.

use std::{future::poll_fn, time::Duration};

use futures::{FutureExt as _, Sink, SinkExt as _};
use tokio::time::timeout;

/// What is gathered before it is written.
pub(crate) const WRITE_BUFFER: usize = 64 * 1024;
/// For what is more than a few frames a client has a second more for each `SLOWEST` bytes, up to `LONGEST_WRITE`.
const SLOWEST: usize = 16 * 1024;
const LONGEST_WRITE: Duration = Duration::from_secs(120);

/// Why something was not written.
pub(crate) enum NotWritten<E> {
    /// The client has not taken it in time.
    Slow,
    /// The line has failed.
    Broken(E),
}

/// What is being written in one go.
pub(crate) struct Writer<'s, S> {
    pub(crate) line: &'s mut S,
    gathered: usize,
    full: bool,
    taken: bool,
    wait: Duration,
}

impl<'s, S> Writer<'s, S> {
    /// A client that has not taken what was written after `wait`, and what its length adds, is too slow.
    pub(crate) fn new(line: &'s mut S, wait: Duration) -> Self {
        Self { line, gathered: 0, full: false, taken: false, wait }
    }

    pub(crate) async fn feed<M>(&mut self, message: M, length: usize) -> Result<(), NotWritten<S::Error>>
    where
        S: Sink<M> + Unpin,
    {
        self.gathered += length;
        let patience = self.patience();
        // Ready at once unless the client is slow; only then is a timer worth its price.
        let mut ready = poll_fn(|task| self.line.poll_ready_unpin(task));
        let is_ready = match (&mut ready).now_or_never() {
            Some(is_ready) => is_ready,
            None => {
                let is_ready = timeout(patience, ready).await.map_err(|_| NotWritten::Slow)?;
                self.taken = true;
                is_ready
            }
        };
        is_ready.and_then(|()| self.line.start_send_unpin(message)).map_err(NotWritten::Broken)?;
        if self.gathered < WRITE_BUFFER {
            return Ok(());
        }
        self.full = true;
        self.flush().await
    }

    pub(crate) async fn flush<M>(&mut self) -> Result<(), NotWritten<S::Error>>
    where
        S: Sink<M> + Unpin,
    {
        if self.gathered == 0 {
            return Ok(());
        }
        let patience = self.patience();
        self.gathered = 0;
        let flushed = match self.line.flush().now_or_never() {
            Some(flushed) => flushed,
            None => {
                let flushed = timeout(patience, self.line.flush()).await.map_err(|_| NotWritten::Slow)?;
                self.taken = true;
                flushed
            }
        };
        flushed.map_err(NotWritten::Broken)
    }

    /// Whether so much was gathered that it has been written already.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the client has taken something that it had to be waited for with.
    pub(crate) const fn has_taken(&self) -> bool {
        self.taken
    }

    fn patience(&self) -> Duration {
        let more = Duration::from_secs((self.gathered / SLOWEST) as u64);
        self.wait + more.min(LONGEST_WRITE.saturating_sub(self.wait))
    }
}
