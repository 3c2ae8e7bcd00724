use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, aio::MultiplexedConnection};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout},
};

use crate::{
    layout::Member,
    server::{Server, ServerError, has_code, is_elsewhere},
};

/// After a failed attempt to connect, requests fail at once for this long. Otherwise those that wait would make one slow
/// attempt after the other.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection for requests to a server, opened when it is first needed, and again after it is lost.
pub(crate) struct Requests {
    server: Arc<Server>,
    member: Member,
    state: Mutex<State>,
    /// Whether the last attempt to connect has failed.
    is_away: AtomicBool,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    failed: Option<Instant>,
}

/// A connection and its number, which no other one of this process has.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) number: u64,
}

impl Requests {
    pub(crate) fn new(server: Arc<Server>, member: Member) -> Self {
        Self { server, member, state: Mutex::default(), is_away: AtomicBool::new(false) }
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.member.address
    }

    pub(crate) async fn open(&self) -> Result<Open, ServerError> {
        // While the server is away one request tries to connect, and the others fail at once.
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(_) if self.is_away.load(Ordering::Relaxed) => return Err(ServerError::Away),
            Err(_) => self.state.lock().await,
        };
        if let Some(open) = &state.open {
            return Ok(open.clone());
        }
        if state.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(ServerError::Away);
        }
        let mut attempt = Attempt { state, is_away: &self.is_away };
        let connection = self.server.connect(&self.member, AsyncConnectionConfig::new()).await?;
        Ok(attempt.succeeds(connection))
    }

    /// Sends the commands in one exchange. After a failure the connection is dropped, because it may lead to a server whose role
    /// has changed, such as a former primary; but not after an unknown script, a command that this user may not run, or where
    /// another server has what was asked for.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        open: &Open,
        commands: &Pipeline,
    ) -> Result<T, ServerError> {
        let mut connection = open.connection.clone();
        let answer = timeout(self.server.timeout, commands.query_async(&mut connection)).await;
        let answer = answer.map_err(|_| ServerError::Late).and_then(|answer| Ok(answer?));
        let is_refusal = |error| is_unknown_script(error) || is_forbidden(error) || is_elsewhere(error);
        if answer.as_ref().is_err_and(|error| !is_refusal(error)) {
            self.give_up(open.number).await;
        }
        answer
    }

    /// Uses a connection no more.
    pub(crate) async fn give_up(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.open.as_ref().is_some_and(|open| open.number == number) {
            state.open = None;
        }
    }
}

/// An attempt to connect, which has failed unless it [succeeds](Self::succeeds): also if its caller does not wait for the end.
struct Attempt<'r> {
    state: MutexGuard<'r, State>,
    is_away: &'r AtomicBool,
}

impl Attempt<'_> {
    fn succeeds(&mut self, connection: MultiplexedConnection) -> Open {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let open = Open { connection, number: MADE.fetch_add(1, Ordering::Relaxed) + 1 };
        self.state.open = Some(open.clone());
        open
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let failed = self.state.open.is_none();
        self.state.failed = failed.then(Instant::now);
        self.is_away.store(failed, Ordering::Relaxed);
    }
}

pub(crate) fn is_unknown_script(error: &ServerError) -> bool {
    has_code(error, "NOSCRIPT")
}

/// Whether the user's ACL does not allow the command.
pub(crate) fn is_forbidden(error: &ServerError) -> bool {
    has_code(error, "NOPERM")
}
