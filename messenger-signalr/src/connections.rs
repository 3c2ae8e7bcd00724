//! The connections of an endpoint, by the secret that the clients have for each.

use std::{
    collections::{HashMap, hash_map::Entry as MapEntry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::AbortHandle,
};

use super::{
    connection_token::{self, Issuer},
    options::Transport,
    transports::Pipe,
};
use messenger_socket::{Account, WebSocket};

/// Maximum number of connections that wait for their transport at the same time.
const WAITING: usize = 10_000;
/// Maximum number of concurrent posts to one connection.
const POSTS: usize = 16;

/// All connections that were negotiated and have not ended.
pub(super) struct Connections<U> {
    open: Mutex<HashMap<String, Arc<Entry<U>>>>,
    waiting: Arc<Semaphore>,
    pub(super) tokens: Issuer,
}

/// The shared record of a connection, for the requests of its client.
pub(super) struct Entry<U> {
    token: String,
    public_id: Arc<str>,
    pub(super) user: U,
    pub(super) account: Arc<Account>,
    place: Mutex<Place>,
    pipe: OnceLock<Arc<Pipe>>,
    /// Permits for bodies that are being read, or wait to be processed.
    pub(super) posts: Semaphore,
    task: OnceLock<AbortHandle>,
}

/// The transport of a connection.
enum Place {
    /// None yet.
    Nowhere { start: oneshot::Sender<Start>, stateful: bool, _waiting: OwnedSemaphorePermit },
    /// A WebSocket; with the sender for sockets that replace it.
    WebSocket(Option<mpsc::Sender<WebSocket>>),
    /// Requests of this transport.
    Requests(Transport),
    /// The connection has ended.
    Over,
}

/// The first transport of a connection.
pub(super) enum Start {
    Socket(Box<WebSocket>, Option<mpsc::Receiver<WebSocket>>),
    Requests(Arc<Pipe>, Transport),
}

/// Where to send a socket that is being opened.
pub(super) enum ForSocket {
    First(oneshot::Sender<Start>, Option<mpsc::Receiver<WebSocket>>),
    Other(mpsc::Sender<WebSocket>),
}

/// Why a transport is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in use.
    Busy,
    /// The connection has another transport.
    Elsewhere,
    /// The connection has ended.
    Over,
}

impl<U> Connections<U> {
    pub(super) fn new() -> Self {
        Self { open: Mutex::default(), waiting: Arc::new(Semaphore::new(WAITING)), tokens: Issuer::new() }
    }

    /// Adds a connection, which waits for its transport; `None` if too many are waiting, or if there is one with this
    /// token.
    pub(super) fn add(
        &self,
        token: String,
        user: U,
        account: Arc<Account>,
        stateful: bool,
    ) -> Option<(Arc<Entry<U>>, oneshot::Receiver<Start>)> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        let (start, started) = oneshot::channel();
        let entry = Arc::new(Entry {
            token,
            public_id: connection_token::public_id().into(),
            user,
            account,
            place: Mutex::new(Place::Nowhere { start, stateful, _waiting: waiting }),
            pipe: OnceLock::new(),
            posts: Semaphore::new(POSTS),
            task: OnceLock::new(),
        });
        match lock(&self.open).entry(entry.token.clone()) {
            MapEntry::Occupied(_) => return None,
            MapEntry::Vacant(free) => free.insert(Arc::clone(&entry)),
        };
        Some((entry, started))
    }

    pub(super) fn find(&self, token: &str) -> Option<Arc<Entry<U>>> {
        lock(&self.open).get(token).cloned()
    }

    pub(super) fn remove(&self, entry: &Entry<U>) {
        lock(&self.open).remove(&entry.token);
    }

    /// Ends the tasks of all connections.
    pub(super) fn abort_all(&self) {
        for (_, entry) in lock(&self.open).drain() {
            if let Some(task) = entry.task.get() {
                task.abort();
            }
        }
    }
}

impl<U> Entry<U> {
    /// The secret token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn public_id(&self) -> &Arc<str> {
        &self.public_id
    }

    pub(super) fn run_by(&self, task: AbortHandle) {
        // There is one task, which is set once.
        let _ = self.task.set(task);
    }

    /// Claims the transport for a WebSocket.
    pub(super) fn claim_socket(&self) -> Result<ForSocket, Taken> {
        let mut place = lock(&self.place);
        match &*place {
            Place::WebSocket(Some(others)) => return Ok(ForSocket::Other(others.clone())),
            Place::WebSocket(None) => return Err(Taken::Busy),
            Place::Requests(_) => return Err(Taken::Elsewhere),
            Place::Over => return Err(Taken::Over),
            Place::Nowhere { .. } => {}
        }
        let before = std::mem::replace(&mut *place, Place::WebSocket(None));
        let Place::Nowhere { start, stateful, .. } = before else { return Err(Taken::Busy) };
        let (sender, receiver) = if stateful {
            let (sender, receiver) = mpsc::channel(1);
            (Some(sender), Some(receiver))
        } else {
            (None, None)
        };
        *place = Place::WebSocket(sender);
        // Earlier posts are discarded.
        if let Some(pipe) = self.pipe.get() {
            pipe.close();
        }
        Ok(ForSocket::First(start, receiver))
    }

    /// Claims the transport for requests. Returns whether this is the first of them.
    pub(super) fn claim_requests(&self, transport: Transport, pipe: &Arc<Pipe>) -> Result<bool, Taken> {
        let mut place = lock(&self.place);
        match &*place {
            Place::Requests(of) if *of == transport => return Ok(false),
            Place::Requests(_) | Place::WebSocket(_) => return Err(Taken::Elsewhere),
            Place::Over => return Err(Taken::Over),
            Place::Nowhere { .. } => {}
        }
        if let Place::Nowhere { start, .. } = std::mem::replace(&mut *place, Place::Requests(transport)) {
            // The task may just have given up waiting; then the requests find that the connection has ended.
            let _ = start.send(Start::Requests(Arc::clone(pipe), transport));
        }
        Ok(true)
    }

    /// The transport, if it has been decided.
    pub(super) fn transport(&self) -> Option<Transport> {
        match &*lock(&self.place) {
            Place::Nowhere { .. } | Place::Over => None,
            Place::WebSocket(_) => Some(Transport::WebSockets),
            Place::Requests(transport) => Some(*transport),
        }
    }

    /// Created early, because posts of the client may arrive before its transport is known.
    pub(super) fn pipe(&self, make: impl FnOnce() -> Pipe) -> &Arc<Pipe> {
        let pipe = self.pipe.get_or_init(|| Arc::new(make()));
        if matches!(&*lock(&self.place), Place::Over | Place::WebSocket(_)) {
            pipe.close();
        }
        pipe
    }

    /// Discards everything that waits for this connection.
    fn abandon(&self) {
        *lock(&self.place) = Place::Over;
        if let Some(pipe) = self.pipe.get() {
            pipe.close();
        }
    }
}

/// Keeps the connection of a session findable; removed on drop.
pub(super) struct Registration<U> {
    pub(super) connections: Arc<Connections<U>>,
    pub(super) entry: Arc<Entry<U>>,
}

impl<U> Registration<U> {
    pub(super) fn public_id(&self) -> Arc<str> {
        Arc::clone(&self.entry.public_id)
    }

    /// Whether another socket may replace a lost one.
    pub(super) fn is_stateful(&self) -> bool {
        matches!(&*lock(&self.entry.place), Place::WebSocket(Some(_)))
    }

    pub(super) fn not_stateful(&self) {
        let mut place = lock(&self.entry.place);
        if let Place::WebSocket(others) = &mut *place {
            *others = None;
        }
    }
}

impl<U> Drop for Registration<U> {
    fn drop(&mut self) {
        self.connections.remove(&self.entry);
        self.entry.abandon();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use messenger_socket::{Unsent, UnsentLimits};

    fn connections() -> Arc<Connections<()>> {
        Arc::new(Connections::new())
    }

    fn account() -> Arc<Account> {
        Unsent::new(UnsentLimits::default()).account(&())
    }

    type Added = (Arc<Entry<()>>, oneshot::Receiver<Start>);

    fn add(connections: &Connections<()>, stateful: bool) -> Option<Added> {
        connections.add(connections.tokens.issue(stateful), (), account(), stateful)
    }

    #[test]
    fn nobody_takes_the_token_of_another_connection() {
        let connections = connections();
        let (entry, _started) = add(&connections, true).unwrap();
        assert!(connections.add(entry.token().to_owned(), (), account(), true).is_none());
        assert!(Arc::ptr_eq(&connections.find(entry.token()).unwrap(), &entry));
    }

    #[test]
    fn what_is_over_is_not_found() {
        let connections = connections();
        let (entry, _started) = add(&connections, true).unwrap();
        let registration = Registration { connections: Arc::clone(&connections), entry: Arc::clone(&entry) };
        assert!(connections.find(entry.token()).is_some());
        drop(registration);
        assert!(connections.find(entry.token()).is_none());
        // A request that had found it before can't claim it either.
        assert!(matches!(entry.claim_socket(), Err(Taken::Over)));
    }

    #[test]
    fn only_so_many_wait_for_their_start() {
        let connections = connections();
        let mut waiting: Vec<_> = (0..WAITING).map_while(|_| add(&connections, false)).collect();
        assert_eq!((waiting.len(), add(&connections, false).is_some()), (WAITING, false));
        // Connections with a transport do not count as waiting.
        let (begun, _) = &waiting[0];
        assert!(begun.claim_socket().is_ok());
        assert!(add(&connections, false).is_some());
        // And neither do ended ones.
        let (over, _) = waiting.pop().unwrap();
        drop(Registration { connections: Arc::clone(&connections), entry: over });
        assert!(add(&connections, false).is_some());
    }
}
