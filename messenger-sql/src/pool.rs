//! A pool of connections, with the guarantee that none is reused while something is in progress on it.
//!
//! The drivers' pools, and generic ones, don't know what is in progress on a connection, so they ask the server before
//! or after each use, or trust a connection that they should not.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::ports::StoreResult;
use tokio::time::{Instant, timeout_at};

use crate::turns::{Caller, Permit, TurnError, Turns};

/// A connection that knows whether something is in progress on it. If it is dropped then, it is closed, and the server
/// rolls back what was not committed.
pub trait Connection: Send + 'static {
    /// Whether everything that was sent has been answered, and no transaction is open.
    fn is_at_rest(&self) -> bool;

    /// Asks the server for a response, with a time limit of the connection's own.
    fn is_alive(&mut self) -> impl Future<Output = bool> + Send;

    /// Announces that the connection will be dropped next, and must then be closed.
    fn retire(&mut self);
}

/// Opens connections.
pub trait Connect: Send + Sync + 'static {
    /// The type of connection.
    type Connection: Connection;

    /// Opens a connection, or fails by `until`.
    fn connect(&self, until: Instant) -> impl Future<Output = StoreResult<Self::Connection>> + Send;
}

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Maximum number of connections.
    pub max_connections: u32,
    /// Maximum number of intents that wait for a connection.
    pub max_waiting: usize,
    /// The longest wait for a connection.
    pub acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub timeout: Duration,
    /// A connection that was free for longer is closed, not used.
    pub idle_timeout: Duration,
    /// An older connection is closed after use: so a server that was moved is found, and what a session accumulates on
    /// the server does not grow forever.
    pub max_lifetime: Duration,
    /// Whether free connections are kept, and not dropped after use.
    pub keeps_free: bool,
}

/// Provides intents with connections.
pub struct Pool<C: Connect> {
    connect: C,
    settings: Settings,
    /// With one permit for each connection that may be open.
    turns: Turns,
    /// The connection used last is used next, so that unneeded ones become idle.
    free: Mutex<Vec<Pooled<C::Connection>>>,
    broken_at: BrokenAt,
}

/// When a connection was last found broken: those not used since then may be broken, too.
type BrokenAt = Arc<Mutex<Option<Instant>>>;

/// A connection of a pool.
#[derive(Debug)]
pub struct Pooled<C: Connection> {
    connection: C,
    opened_at: Instant,
    free_since: Instant,
    /// `None` while it is free.
    permit: Option<Permit>,
    broken_at: BrokenAt,
}

/// A connection that was free for longer is checked before it is used.
pub const QUIET: Duration = Duration::from_secs(5);

impl<C: Connect> Pool<C> {
    /// A pool without connections.
    pub fn new(connect: C, settings: Settings) -> Self {
        let turns = Turns::new(settings.max_connections, settings.max_waiting);
        Self { connect, settings, turns, free: Mutex::default(), broken_at: BrokenAt::default() }
    }

    /// The opener of connections.
    pub const fn connect(&self) -> &C {
        &self.connect
    }

    /// How many connections are unused, whether open or not.
    pub fn available(&self) -> usize {
        self.turns.free()
    }

    /// Runs the work with a connection, which the work returns with its answer. Once begun, it continues whether or not
    /// its caller polls it; if the caller goes away before, it is not begun.
    ///
    /// # Errors
    /// `Unavailable` if there is no connection or no answer in time; otherwise the result of the work.
    pub async fn run<T, W>(
        self: &Arc<Self>,
        work: impl FnOnce(Pooled<C::Connection>) -> W + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        W: Future<Output = (Pooled<C::Connection>, StoreResult<T>)> + Send,
    {
        let Settings { acquire_timeout, timeout, .. } = self.settings;
        let now = Instant::now();
        let (until, deadline) = (now + acquire_timeout.min(timeout), now + timeout);
        let pool = Arc::clone(self);
        let task = move |permit, caller: Caller<T>| async move {
            let connection = match pool.take(permit, until).await {
                Ok(connection) => connection,
                Err(error) => return caller.answer(Err(error)),
            };
            if caller.is_gone() {
                return pool.give_back(connection);
            }
            // A connection that does not answer in time is closed: it is dropped with the work.
            let answer = match timeout_at(deadline, work(connection)).await {
                Ok((connection, answer)) => {
                    pool.give_back(connection);
                    answer
                }
                Err(_) => Err(TurnError::NoAnswer.into()),
            };
            caller.answer(answer);
        };
        self.turns.run(until, task).await
    }

    async fn take(&self, permit: Permit, until: Instant) -> StoreResult<Pooled<C::Connection>> {
        while let Some(mut free) = self.take_free() {
            if !self.is_doubtful(&free) || timeout_at(until, free.is_alive()).await == Ok(true) {
                free.permit = Some(permit);
                return Ok(free);
            }
        }
        let connection = self.connect.connect(until).await?;
        let now = Instant::now();
        let broken_at = Arc::clone(&self.broken_at);
        Ok(Pooled { connection, opened_at: now, free_since: now, permit: Some(permit), broken_at })
    }

    /// Takes the connection used last.
    fn take_free(&self) -> Option<Pooled<C::Connection>> {
        loop {
            let mut free = lock(&self.free).pop()?;
            if !self.is_over(&free) {
                return Some(free);
            }
            free.retire();
        }
    }

    fn is_doubtful(&self, free: &Pooled<C::Connection>) -> bool {
        free.free_since.elapsed() > QUIET
            || lock(&self.broken_at).is_some_and(|broken_at| free.free_since < broken_at)
    }

    fn is_over(&self, connection: &Pooled<C::Connection>) -> bool {
        connection.opened_at.elapsed() > self.settings.max_lifetime
            || connection.free_since.elapsed() > self.settings.idle_timeout
    }

    fn give_back(&self, mut connection: Pooled<C::Connection>) {
        connection.free_since = Instant::now();
        if !self.settings.keeps_free || self.turns.is_closed() || !connection.is_at_rest() {
            return;
        }
        if self.is_over(&connection) {
            connection.retire();
            return;
        }
        let permit = connection.permit.take();
        let mut free = lock(&self.free);
        free.push(connection);
        let mut over: Vec<_> = free.extract_if(.., |free| self.is_over(free)).collect();
        drop(free);
        over.iter_mut().for_each(|connection| connection.retire());
        drop(over);
        // Only after the connection has been put back: otherwise the next caller would open another one.
        drop(permit);
    }

    /// Waits for running work, and closes free connections. Later calls are refused.
    pub async fn close(&self) {
        self.turns.close().await;
        let free = std::mem::take(&mut *lock(&self.free));
        drop(free);
    }
}

impl<C: Connect> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("settings", &self.settings)
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

impl<C: Connection> Deref for Pooled<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C: Connection> DerefMut for Pooled<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C: Connection> Drop for Pooled<C> {
    fn drop(&mut self) {
        if !self.connection.is_at_rest() {
            *lock(&self.broken_at) = Some(Instant::now());
        }
    }
}

/// Nothing behind this lock can be left half changed, so a poisoned lock can be used.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
