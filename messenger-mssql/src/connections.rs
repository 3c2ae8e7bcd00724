//! Connections, and the promise that none is used again with something under way on it.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::ports::{StoreError, StoreErrorKind, StoreResult};
use messenger_sql::{
    columns::Columns,
    turns::{Caller, Seat, Turns},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    call::{Call, Part},
    connect::{Connector, Link, batch},
    errors::{DONE, outcome, server_error, store_error},
    row::SqlRow,
};

/// Where intents get their connections from.
///
/// A pool of our own, and not one of the libraries for any kind of connection: those tell a caller that the time is
/// over, and not what hindered the connection; and they do not know how long one was idle when it is taken.
#[derive(Debug)]
pub(crate) struct Connections {
    connector: Connector,
    settings: Settings,
    /// With a seat for each connection that may be open.
    turns: Turns,
    /// The one that was used last is used next, so that those not needed grow old.
    free: Mutex<Vec<Session>>,
    broken_at: BrokenAt,
}

/// How connections are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) max_connections: u32,
    /// How many calls wait for a connection at most.
    pub(crate) max_waiting: usize,
    /// The longest wait for a connection.
    pub(crate) acquire_timeout: Duration,
    /// The longest time from call to answer.
    pub(crate) timeout: Duration,
    /// One that was free for longer is closed, not used.
    pub(crate) idle_timeout: Duration,
    /// One that is older is closed after use: a server that was moved is found, and what a session gathers at the
    /// server does not grow for ever.
    pub(crate) max_lifetime: Duration,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// Of all result sets, in order.
    pub(crate) rows: Vec<T>,
    /// What the procedure returned; 0 for a statement.
    pub(crate) code: i32,
}

/// When a connection was last found broken: those that have not been used since may be, too.
type BrokenAt = Arc<Mutex<Option<Instant>>>;

impl Connections {
    /// One that was free for longer is asked whether it is still there before it is used.
    const QUIET: Duration = Duration::from_secs(5);
    /// How long a connection has to say that it is still there, or that nothing is left open on it.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// How often a call is run at most, if other work is in its way each time.
    const ATTEMPTS: u32 = 5;

    pub(crate) fn new(connector: Connector, settings: Settings) -> Self {
        let turns = Turns::new(settings.max_connections, settings.max_waiting);
        Self { connector, settings, turns, free: Mutex::default(), broken_at: BrokenAt::default() }
    }

    /// Runs a call and reads what it answers. Once begun it goes on wherever its caller is; a caller that goes away
    /// before leaves it undone.
    ///
    /// When other work was in the way the call is run again, and `read` sees all of its rows again.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        mut read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Answer<T>> {
        let Settings { acquire_timeout, timeout, .. } = self.settings;
        let now = Instant::now();
        let (until, deadline) = (now + acquire_timeout.min(timeout), now + timeout);
        let connections = Arc::clone(self);
        let work = move |seat, caller: Caller<Answer<T>>| async move {
            let session = match connections.session(seat, until).await {
                Ok(session) => session,
                Err(error) => return caller.answer(Err(error)),
            };
            if caller.is_gone() {
                return connections.give_back(session);
            }
            // A connection that does not answer is closed when its time is over: the session is dropped with the work.
            let answer = timeout_at(deadline, connections.work(session, &call, &mut read)).await;
            caller.answer(answer.unwrap_or_else(|_| Err(Trouble::NoAnswer.into())));
        };
        self.turns.run(until, work).await
    }

    /// All rows, if the procedure returned that it was carried out.
    pub(crate) async fn all<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        let answer = self.run(call, read).await?;
        outcome(answer.code)?;
        Ok(answer.rows)
    }

    /// The only row, if the procedure returned that it was carried out.
    pub(crate) async fn one<T: Send + 'static>(
        self: &Arc<Self>,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        Ok(self.all(call, read).await?.pop())
    }

    /// Nothing, if the procedure returned that it was carried out.
    pub(crate) async fn done(self: &Arc<Self>, call: Call) -> StoreResult<()> {
        self.all(call, |_| Ok(())).await.map(drop)
    }

    async fn work<T>(
        &self,
        mut session: Session,
        call: &Call,
        read: &mut impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T>,
    ) -> StoreResult<Answer<T>> {
        let mut attempt = 1;
        loop {
            let error = match session.ask(call, read).await {
                Ok(answer) => {
                    self.give_back(session);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            session.roll_back(Self::PATIENCE).await;
            let again = server_error(&error).filter(|error| error.is_worth_another_try());
            let Some(cause) = again.filter(|_| session.is_at_rest() && attempt < Self::ATTEMPTS) else {
                self.give_back(session);
                return Err(error);
            };
            tracing::debug!(?call, attempt, number = cause.number(), "other work was in the way");
            pause(attempt).await;
            attempt += 1;
        }
    }

    async fn session(&self, seat: Seat, until: Instant) -> StoreResult<Session> {
        while let Some((mut session, is_doubtful)) = self.take() {
            if !is_doubtful || timeout_at(until, session.is_alive(Self::PATIENCE)).await == Ok(true) {
                session.seat = Some(seat);
                return Ok(session);
            }
        }
        let link = self.connector.connect(until).await?;
        Ok(Session {
            link,
            opened_at: Instant::now(),
            free_since: Instant::now(),
            seat: Some(seat),
            broken_at: Arc::clone(&self.broken_at),
            busy: false,
            unsettled: false,
        })
    }

    /// The connection that was used last, and whether it may be broken.
    fn take(&self) -> Option<(Session, bool)> {
        let session = loop {
            let session = lock(&self.free).pop()?;
            if !self.is_over(&session) {
                break session;
            }
        };
        let is_doubtful = session.free_since.elapsed() > Self::QUIET
            || lock(&self.broken_at).is_some_and(|broken_at| session.free_since < broken_at);
        Some((session, is_doubtful))
    }

    fn is_over(&self, session: &Session) -> bool {
        session.opened_at.elapsed() > self.settings.max_lifetime
            || session.free_since.elapsed() > self.settings.idle_timeout
    }

    fn give_back(&self, mut session: Session) {
        session.free_since = Instant::now();
        if self.turns.is_closed() || !session.is_at_rest() || self.is_over(&session) {
            return;
        }
        let seat = session.seat.take();
        let mut free = lock(&self.free);
        free.push(session);
        let over: Vec<_> = free.extract_if(.., |session| self.is_over(session)).collect();
        drop(free);
        drop(over);
        // Not before the connection is there to be taken: else the next one in line would open another.
        drop(seat);
    }

    /// Waits for what is under way. Whoever comes later is refused.
    pub(crate) async fn close(&self) {
        self.turns.close().await;
        let free = std::mem::take(&mut *lock(&self.free));
        drop(free);
    }
}

/// A connection on which one intent is at work. Dropped while something is under way on it, it is closed, and the
/// server undoes what was not committed.
pub(crate) struct Session {
    link: Link,
    opened_at: Instant,
    free_since: Instant,
    /// None while it is free.
    seat: Option<Seat>,
    broken_at: BrokenAt,
    /// Something was sent, and not all of the answer has come.
    busy: bool,
    /// The server has refused something, and may have left a transaction open.
    unsettled: bool,
}

impl Session {
    async fn ask<T>(
        &mut self,
        call: &Call,
        read: &mut impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T>,
    ) -> StoreResult<Answer<T>> {
        let mut answer = Answer { rows: vec![], code: DONE };
        self.busy = true;
        let asked = call.ask(&mut self.link, |part| {
            match part {
                Part::Row(row) => answer.rows.push(read(&mut Columns::of(&row))?),
                Part::Code(code) => answer.code = code,
            }
            Ok(())
        });
        let asked = asked.await;
        self.settle(&asked);
        asked.map(|()| answer)
    }

    /// Undoes what a call may have left behind that the server has refused.
    async fn roll_back(&mut self, patience: Duration) {
        if self.busy || !self.unsettled {
            return;
        }
        self.unsettled = !self.say("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION", patience).await;
    }

    async fn is_alive(&mut self, patience: Duration) -> bool {
        self.say("SELECT 1", patience).await
    }

    /// Whether the server has done a statement in time.
    async fn say(&mut self, text: &str, patience: Duration) -> bool {
        self.busy = true;
        let Ok(said) = timeout(patience, batch(&mut self.link, text)).await else { return false };
        let said = said.map(drop).map_err(store_error);
        self.settle(&said);
        said.is_ok()
    }

    /// An error of the server's own is the last thing that it says to a statement.
    fn settle(&mut self, done: &StoreResult<()>) {
        let Err(error) = done else {
            self.busy = false;
            return;
        };
        self.busy = server_error(error).is_none_or(|error| error.is_fatal());
        self.unsettled = true;
    }

    const fn is_at_rest(&self) -> bool {
        !self.busy && !self.unsettled
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { busy, unsettled, .. } = self;
        f.debug_struct("Session").field("busy", busy).field("unsettled", unsettled).finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_at_rest() {
            *lock(&self.broken_at) = Some(Instant::now());
        }
    }
}

/// Before a call is run again: at once the first time, then after some 10, 20 and 40 milliseconds.
async fn pause(attempt: u32) {
    let Some(doublings) = attempt.checked_sub(2) else { return };
    let pause = Duration::from_millis(10) * (1 << doublings.min(10));
    // Those that were in each other's way should not meet again. It is no secret by how much, and no command's outcome, so it
    // is not the context's randomness.
    let spread = RandomState::new().hash_one(attempt) % 1000;
    sleep(pause.mul_f64(0.5 + f64::from(u32::try_from(spread).unwrap_or(0)) / 1000.0)).await;
}

/// Nothing that is locked here can be left half changed.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a call was not answered, where that is not the server's doing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the database did not answer in time")]
    NoAnswer,
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self::new(StoreErrorKind::Unavailable, trouble)
    }
}
