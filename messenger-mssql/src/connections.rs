//! Connections, with the guarantee that none is reused while something is in progress on it.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use messenger_core::ports::StoreResult;
use messenger_sql::{
    columns::Columns,
    pool::{Connect, Connection, Pool, Pooled, Settings},
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    call::{Call, Part},
    connect::{Connector, Link, batch},
    errors::{DONE, outcome, server_error, store_error},
    row::SqlRow,
};

/// Provides intents with connections.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: Arc<Pool<Connector>>,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The rows of all result sets, in order.
    pub(crate) rows: Vec<T>,
    /// The return code of the procedure; 0 for a statement.
    pub(crate) code: i32,
}

/// How long a connection may take to show that it is alive, or that nothing is left open on it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The maximum number of times that a call is run if it conflicts with other work.
const ATTEMPTS: u32 = 5;

impl Connections {
    pub(crate) fn new(connector: Connector, settings: Settings) -> Self {
        Self { pool: Arc::new(Pool::new(connector, settings)) }
    }

    /// Runs a call and reads its answer. Once begun, it continues whether or not its caller polls it; if the caller
    /// goes away before, it is not begun.
    ///
    /// After a conflict with other work the call is run again, and `read` is given all rows again.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: Call,
        mut read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Answer<T>> {
        let work = move |mut session: Pooled<Session>| async move {
            let answer = work(&mut session, &call, &mut read).await;
            (session, answer)
        };
        self.pool.run(work).await
    }

    /// Returns all rows, if the procedure was carried out.
    pub(crate) async fn all<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Vec<T>> {
        let answer = self.run(call, read).await?;
        outcome(answer.code)?;
        Ok(answer.rows)
    }

    /// Returns the only row, if the procedure was carried out.
    pub(crate) async fn one<T: Send + 'static>(
        &self,
        call: Call,
        read: impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<Option<T>> {
        Ok(self.all(call, read).await?.pop())
    }

    /// Returns nothing, if the procedure was carried out.
    pub(crate) async fn done(&self, call: Call) -> StoreResult<()> {
        self.all(call, |_| Ok(())).await.map(drop)
    }

    /// Waits for running work. Later calls are refused.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn work<T>(
    session: &mut Session,
    call: &Call,
    read: &mut impl FnMut(&mut Columns<'_, SqlRow>) -> StoreResult<T>,
) -> StoreResult<Answer<T>> {
    let mut attempt = 1;
    loop {
        let error = match session.ask(call, read).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        session.roll_back().await;
        let again = server_error(&error).filter(|error| error.is_worth_another_try());
        let Some(cause) = again.filter(|_| session.is_at_rest() && attempt < ATTEMPTS) else {
            return Err(error);
        };
        tracing::debug!(?call, attempt, number = cause.number(), "other work was in the way");
        pause(attempt).await;
        attempt += 1;
    }
}

impl Connect for Connector {
    type Connection = Session;

    async fn connect(&self, until: Instant) -> StoreResult<Session> {
        Ok(Session { link: self.open(until).await?, busy: false, unsettled: false })
    }
}

/// A connection in use by one intent. If it is dropped while something is in progress on it, it is closed, and the
/// server rolls back what was not committed.
pub(crate) struct Session {
    link: Link,
    /// Something was sent, and the answer is not complete.
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

    /// Rolls back what a refused call may have left open.
    async fn roll_back(&mut self) {
        if self.busy || !self.unsettled {
            return;
        }
        self.unsettled = !self.say("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await;
    }

    /// Runs a statement; returns whether the server completed it in time.
    async fn say(&mut self, text: &str) -> bool {
        self.busy = true;
        let Ok(said) = timeout(PATIENCE, batch(&mut self.link, text)).await else { return false };
        let said = said.map(drop).map_err(store_error);
        self.settle(&said);
        said.is_ok()
    }

    /// An error of the server completes its answer to a statement.
    fn settle(&mut self, done: &StoreResult<()>) {
        let Err(error) = done else {
            self.busy = false;
            return;
        };
        self.busy = server_error(error).is_none_or(|error| error.is_fatal());
        self.unsettled = true;
    }
}

impl Connection for Session {
    fn is_at_rest(&self) -> bool {
        !self.busy && !self.unsettled
    }

    async fn is_alive(&mut self) -> bool {
        self.say("SELECT 1").await
    }

    /// Nothing to do: it is closed whenever it is dropped.
    fn retire(&mut self) {}
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { busy, unsettled, .. } = self;
        f.debug_struct("Session").field("busy", busy).field("unsettled", unsettled).finish_non_exhaustive()
    }
}

/// The pause before a call is run again: none the first time, then some 10, 20 and 40 milliseconds.
async fn pause(attempt: u32) {
    let Some(doublings) = attempt.checked_sub(2) else { return };
    let pause = Duration::from_millis(10) * (1 << doublings.min(10));
    // Random, so that conflicting calls do not collide again. The amount is no secret and does not affect a command's
    // outcome, so it does not use the context's randomness.
    let spread = RandomState::new().hash_one(attempt) % 1000;
    sleep(pause.mul_f64(0.5 + f64::from(u32::try_from(spread).unwrap_or(0)) / 1000.0)).await;
}
