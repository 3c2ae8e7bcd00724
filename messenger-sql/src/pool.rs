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

    /// Asks the server for a response. The pool waits for it for 2 s at most, and then drops the connection.
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

/// For its answer: a network that has dropped a connection says nothing. It leaves time to open another.
const ANSWER: Duration = Duration::from_secs(2);

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
            let asked_until = until.min(Instant::now() + ANSWER);
            if !self.is_doubtful(&free) || timeout_at(asked_until, free.is_alive()).await == Ok(true) {
                free.permit = Some(permit);
                return Ok(free);
            }
            // What has cut off one has probably cut off the others, and to wait for each takes longer than to open one.
            self.retire_doubtful();
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

    fn retire_doubtful(&self) {
        let mut doubtful: Vec<_> = lock(&self.free).extract_if(.., |free| self.is_doubtful(free)).collect();
        doubtful.iter_mut().for_each(|connection| connection.retire());
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

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use tokio::time::advance;

    use super::*;

    /// A server, and whether the network has dropped the connections that there are.
    #[derive(Debug, Default)]
    struct Server {
        opened: AtomicUsize,
        /// Those opened up to here hear nothing any more.
        silent: AtomicUsize,
        retired: AtomicUsize,
    }

    struct Fake {
        server: Arc<Server>,
        number: usize,
        is_at_rest: AtomicBool,
    }

    impl Connection for Fake {
        fn is_at_rest(&self) -> bool {
            self.is_at_rest.load(Ordering::Relaxed)
        }

        async fn is_alive(&mut self) -> bool {
            self.is_at_rest.store(false, Ordering::Relaxed);
            if self.number <= self.server.silent.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            self.is_at_rest.store(true, Ordering::Relaxed);
            true
        }

        fn retire(&mut self) {
            self.server.retired.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Opens(Arc<Server>);

    impl Connect for Opens {
        type Connection = Fake;

        async fn connect(&self, _: Instant) -> StoreResult<Fake> {
            let number = self.0.opened.fetch_add(1, Ordering::Relaxed) + 1;
            Ok(Fake { server: Arc::clone(&self.0), number, is_at_rest: AtomicBool::new(true) })
        }
    }

    const SECONDS_5: Duration = Duration::from_secs(5);

    fn pool(server: &Arc<Server>) -> Arc<Pool<Opens>> {
        let settings = Settings {
            max_connections: 4,
            max_waiting: 100,
            acquire_timeout: SECONDS_5,
            timeout: SECONDS_5 * 6,
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            keeps_free: true,
        };
        Arc::new(Pool::new(Opens(Arc::clone(server)), settings))
    }

    /// Which connection the work was given.
    async fn work(pool: &Arc<Pool<Opens>>) -> StoreResult<usize> {
        let work = |connection: Pooled<Fake>| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let number = connection.number;
            (connection, Ok(number))
        };
        pool.run(work).await
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_a_network_has_dropped_cost_one_wait_and_no_failure() {
        let server = Arc::<Server>::default();
        let pool = pool(&server);
        assert!(join_all((0..4).map(|_| work(&pool))).await.iter().all(Result::is_ok));
        assert_eq!(server.opened.load(Ordering::Relaxed), 4);
        advance(QUIET + Duration::from_secs(1)).await;
        server.silent.store(4, Ordering::Relaxed);
        let began_at = Instant::now();
        assert_eq!(work(&pool).await.unwrap(), 5, "a new one");
        assert!(began_at.elapsed() < ANSWER * 2, "{:?}", began_at.elapsed());
        assert_eq!(server.retired.load(Ordering::Relaxed), 3, "those that were not asked are closed, too");
        assert_eq!(pool.available(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_now_is_used_although_an_older_one_was_dropped() {
        let server = Arc::<Server>::default();
        let pool = pool(&server);
        assert!(join_all((0..4).map(|_| work(&pool))).await.iter().all(Result::is_ok));
        advance(QUIET + Duration::from_secs(1)).await;
        assert_eq!(work(&pool).await.unwrap(), work(&pool).await.unwrap(), "the one that has just answered");
        assert_eq!(server.opened.load(Ordering::Relaxed), 4);
        assert_eq!(server.retired.load(Ordering::Relaxed), 0);
    }
}
