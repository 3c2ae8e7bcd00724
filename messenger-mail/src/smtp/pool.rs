use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::connection::Connection;

/// A server may have closed a connection that has done nothing for longer.
const IDLE: Duration = Duration::from_secs(30);
/// Some servers let no more through on one connection.
const MAILS: u32 = 100;

/// Connections that wait for another mail, and leave to have one at all.
pub(super) struct Pool {
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
    mails: u32,
}

/// Leave to use one connection. What is not given back with it is closed.
pub(super) struct Turn<'a> {
    pool: &'a Pool,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Pool {
    pub(super) fn new(connections: usize) -> Self {
        Self { permits: Semaphore::new(connections), idle: Mutex::default() }
    }

    pub(super) async fn turn(&self) -> Turn<'_> {
        // It is never closed.
        Turn { pool: self, _permit: self.permits.acquire().await.ok() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing that is done under the lock can be left half-way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// A connection that was used before, with the number of mails that it has carried.
    pub(super) fn used(&self) -> Option<(Connection, u32)> {
        let mut idle = self.pool.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE);
        idle.pop().map(|idle| (idle.connection, idle.mails))
    }

    /// Keeps a connection that has carried so many mails for the next one.
    pub(super) fn keep(&self, connection: Connection, mails: u32) {
        if mails < MAILS {
            self.pool.lock().push(Idle { connection, since: Instant::now(), mails });
        }
    }
}
