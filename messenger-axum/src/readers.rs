//! How many pages of history are read at once for one person.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use messenger_core::{Error, Result, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pages that are read at once for one person, over all of their connections.
const READS_OF_ONE: usize = 4;

/// Who reads pages at the moment.
#[derive(Default)]
pub(crate) struct Readers(Mutex<HashMap<UserId, Arc<Semaphore>>>);

/// The right of a person to read one more page; given back when dropped.
pub(crate) struct Reading<'r> {
    readers: &'r Readers,
    user: UserId,
    reads: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Readers {
    /// Waits until the person may read one more page.
    pub(crate) async fn begin(&self, user: UserId) -> Result<Reading<'_>> {
        let reads = {
            let mut readers = self.lock();
            Arc::clone(readers.entry(user).or_insert_with(|| Arc::new(Semaphore::new(READS_OF_ONE))))
        };
        let mut reading = Reading { readers: self, user, reads: Some(Arc::clone(&reads)), permit: None };
        let permit = reads.acquire_owned();
        // It is never closed.
        reading.permit = Some(permit.await.map_err(|_| Error::unavailable())?);
        Ok(reading)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Arc<Semaphore>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        (self.permit, self.reads) = (None, None);
        // Those who read or wait have it, too, and none is given out without this lock.
        if readers.get(&self.user).is_some_and(|reads| Arc::strong_count(reads) == 1) {
            readers.remove(&self.user);
        }
    }
}
