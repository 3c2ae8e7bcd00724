//! Counts the bytes that wait to be written to sockets: for each connection, for each person, and in total.
//!
//! Counted is what a connection holds for itself alone: answers, items of streams and the pages they come from, and
//! gathered data that a slow client has not read. Events are shared by all their recipients, and have limits of their
//! own.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::time::Instant;

/// Smaller amounts are not counted: their number is limited, and counting would cost more than they do.
const SMALL: usize = 1024;

/// Limits on the bytes that wait for clients that do not read from their sockets: answers, items of streams with the
/// pages they come from, and data gathered for writing. Events are not counted, because they are shared by all their
/// recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsentLimits {
    /// For one connection; above it, its next request does not begin (4 MiB). A single answer may be longer.
    pub per_connection: usize,
    /// For one person, on this node (16 MiB). Above it, the person's connection that holds most is ended as too far
    /// behind.
    pub per_person: usize,
    /// For this node (64 MiB). Above it, the connection of the person who holds most is ended.
    pub in_all: usize,
}

impl Default for UnsentLimits {
    fn default() -> Self {
        Self { per_connection: 4 << 20, per_person: 16 << 20, in_all: 64 << 20 }
    }
}

/// Counts the bytes that wait for all clients of one node.
pub struct Unsent {
    limits: UnsentLimits,
    people: Mutex<People>,
    // Keyed, so that nobody can choose to be counted as somebody else.
    hasher: RandomState,
    gauge: metrics::Gauge,
}

#[derive(Default)]
struct People {
    bytes: usize,
    /// The people for whom something waits.
    waiting: HashMap<PersonKey, Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: usize,
    connections: Vec<Holding>,
}

/// How much one connection holds, and since when it has held anything.
struct Holding {
    account: Arc<Account>,
    bytes: usize,
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PersonKey(u64);

/// Counts the bytes that wait for one connection.
pub struct Account {
    all: Arc<Unsent>,
    person: PersonKey,
    bytes: AtomicUsize,
    is_evicted: AtomicBool,
    /// Wakes the task of the connection.
    waker: AtomicWaker,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("bytes", &self.bytes)
            .field("is_evicted", &self.is_evicted)
            .finish_non_exhaustive()
    }
}

/// Counted bytes; dropping it ends the count.
pub struct Reservation {
    account: Arc<Account>,
    bytes: usize,
}

impl Unsent {
    /// Makes a count with these limits.
    pub fn new(limits: UnsentLimits) -> Arc<Self> {
        let gauge = metrics::gauge!("messenger_unsent_bytes");
        Arc::new(Self { limits, people: Mutex::default(), hasher: RandomState::new(), gauge })
    }

    /// Opens the account of a connection of this person.
    pub fn account(self: &Arc<Self>, person: &impl Hash) -> Arc<Account> {
        Arc::new(Account {
            all: Arc::clone(self),
            person: PersonKey(self.hasher.hash_one(person)),
            bytes: AtomicUsize::new(0),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        // Nothing panics while it holds the lock.
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl People {
    fn add(&mut self, account: &Arc<Account>, bytes: usize) {
        let person = self.waiting.entry(account.person).or_default();
        self.bytes += bytes;
        person.bytes += bytes;
        match person.connections.iter_mut().find(|holding| Arc::ptr_eq(&holding.account, account)) {
            Some(holding) => holding.bytes += bytes,
            None => {
                let account = Arc::clone(account);
                person.connections.push(Holding { account, bytes, since: Instant::now() });
            }
        }
    }

    fn remove(&mut self, account: &Arc<Account>, bytes: usize) {
        // An evicted connection is no longer listed.
        let Some(person) = self.waiting.get_mut(&account.person) else { return };
        let mut connections = person.connections.iter_mut();
        let Some(index) = connections.position(|holding| Arc::ptr_eq(&holding.account, account)) else {
            return;
        };
        self.bytes -= bytes;
        person.bytes -= bytes;
        person.connections[index].bytes -= bytes;
        if person.connections[index].bytes == 0 {
            person.connections.swap_remove(index);
        }
        if person.connections.is_empty() {
            self.waiting.remove(&account.person);
        }
    }

    /// Removes the connection that must end to bring the total within the limits: the one with the greatest product of
    /// bytes and holding time. A client that reads holds what it is sent only for a moment.
    fn evict_one(&mut self, limits: &UnsentLimits, last: &Account) -> Option<Arc<Account>> {
        let of_one = self.waiting.get(&last.person).filter(|person| person.bytes > limits.per_person);
        let connections: Vec<&Holding> = match of_one {
            Some(person) => person.connections.iter().collect(),
            None if self.bytes > limits.in_all => {
                self.waiting.values().flat_map(|person| &person.connections).collect()
            }
            None => return None,
        };
        let now = Instant::now();
        let cost = |holding: &&Holding| (now - holding.since).as_secs_f64() * holding.bytes as f64;
        let by_cost = |one: &&Holding, other: &&Holding| {
            cost(one).total_cmp(&cost(other)).then(one.bytes.cmp(&other.bytes))
        };
        let most = connections.into_iter().max_by(by_cost)?;
        let (account, bytes) = (Arc::clone(&most.account), most.bytes);
        self.remove(&account, bytes);
        Some(account)
    }
}

impl Account {
    /// Counts `bytes` until the reservation is dropped. If that exceeds a limit, the connections that hold most are
    /// evicted.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.count(bytes);
        Reservation { account: Arc::clone(self), bytes }
    }

    fn count(self: &Arc<Self>, bytes: usize) {
        self.all.gauge.increment(bytes as f64);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut evicted = Vec::new();
        let mut people = self.all.lock();
        if !self.is_evicted() {
            people.add(self, bytes);
            while let Some(account) = people.evict_one(&self.all.limits, self) {
                account.is_evicted.store(true, Ordering::Release);
                evicted.push(account);
            }
        }
        drop(people);
        for account in evicted {
            metrics::counter!("messenger_connections_too_slow_total").increment(1);
            account.waker.wake();
        }
    }

    /// Counts data that grows, in a reservation kept for it: `bytes` from now on, if that is more than before. Small
    /// amounts are not counted.
    pub fn keep_counted(self: &Arc<Self>, reservation: &mut Option<Reservation>, bytes: usize) {
        if bytes < SMALL {
            *reservation = None;
            return;
        }
        match reservation {
            Some(reservation) => reservation.grow_to(bytes),
            None => *reservation = Some(self.reserve(bytes)),
        }
    }

    /// Counts these bytes until their last copy is dropped.
    pub fn counted(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        struct Counted {
            bytes: Bytes,
            _reservation: Reservation,
        }

        impl AsRef<[u8]> for Counted {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }

        if bytes.len() < SMALL {
            return bytes;
        }
        let _reservation = self.reserve(bytes.len());
        Bytes::from_owner(Counted { bytes, _reservation })
    }

    /// Whether more may wait for the connection.
    pub fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Acquire) < self.all.limits.per_connection
    }

    /// Ready when [there is room](Self::has_room). Only for the task of the connection.
    pub fn poll_room(&self, task: &Context<'_>) -> Poll<()> {
        self.waker.register(task.waker());
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the connection was evicted: it must end, because too much waits for it.
    pub fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Acquire)
    }

    /// Ready when the connection [was evicted](Self::is_evicted). Only for the task of the connection.
    pub fn poll_evicted(&self, task: &Context<'_>) -> Poll<()> {
        if self.is_evicted() {
            return Poll::Ready(());
        }
        self.waker.register(task.waker());
        if self.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Reservation {
    fn grow_to(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) {
            self.account.count(more);
            self.bytes = bytes;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.all.gauge.decrement(self.bytes as f64);
        self.account.all.lock().remove(&self.account, self.bytes);
        let before = self.account.bytes.fetch_sub(self.bytes, Ordering::Release);
        let most = self.account.all.limits.per_connection;
        if before >= most && before - self.bytes < most {
            self.account.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    const LIMITS: UnsentLimits = UnsentLimits { per_connection: 100, per_person: 1000, in_all: 2500 };

    fn is_evicted(account: &Account) -> bool {
        std::future::poll_fn(|task| account.poll_evicted(task)).now_or_never().is_some()
    }

    async fn a_second_later() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_for_longest_of_what_is_too_much_for_a_person_is_ended() {
        let all = Unsent::new(LIMITS);
        let [little, most, other] = ["ada", "ada", "bob"].map(|name| all.account(&name));
        let _other = other.reserve(1000);
        let held = [little.reserve(400), most.reserve(600)];
        assert!(![&little, &most, &other].into_iter().any(|account| is_evicted(account)));
        a_second_later().await;
        let more = little.reserve(1);
        assert_eq!([&little, &most, &other].map(|account| is_evicted(account)), [false, true, false]);
        // What it held no longer counts, and neither does what it still reserves.
        let _more = [most.reserve(5000), little.reserve(599)];
        assert!(!is_evicted(&little));
        drop((held, more));
        assert_eq!(all.lock().bytes, 1000 + 599);
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_for_longest_of_what_is_too_much_in_all_is_ended() {
        let all = Unsent::new(LIMITS);
        let [slow, deaf, reads] = ["ada", "bob", "eve"].map(|name| all.account(&name));
        let _held = [slow.reserve(700), deaf.reserve(800)];
        a_second_later().await;
        let read = reads.reserve(1000);
        assert!(![&slow, &deaf, &reads].into_iter().any(|account| is_evicted(account)));
        drop(read);
        // It holds more than anybody else, but only for a moment.
        let _read = reads.reserve(1000);
        let _last = all.account(&"dan").reserve(1);
        assert_eq!([&slow, &deaf, &reads].map(|account| is_evicted(account)), [false, true, false]);
    }

    #[test]
    fn what_is_gone_is_not_counted() {
        let all = Unsent::new(LIMITS);
        let account = all.account(&"ada");
        let answer = account.counted(Bytes::from(vec![b'x'; 2000]));
        // It is the only one, and above the limit of a person.
        assert!(is_evicted(&account));
        drop(answer);
        let account = all.account(&"ada");
        let small = account.counted(Bytes::from(vec![b'x'; SMALL - 1]));
        assert!(account.has_room());
        let share = account.reserve(100);
        assert!(!account.has_room());
        drop((small, share));
        assert!(account.has_room() && all.lock().waiting.is_empty());
    }

    #[test]
    fn what_grows_is_counted_as_long_as_it_is_not_small() {
        let all = Unsent::new(UnsentLimits { per_connection: 100, ..UnsentLimits::default() });
        let account = all.account(&"ada");
        let mut share = None;
        // Data that shrinks may grow again, and keeps its memory in the meantime.
        for (now, counted) in
            [(SMALL - 1, 0), (SMALL, SMALL), (5000, 5000), (2000, 5000), (6000, 6000), (0, 0)]
        {
            account.keep_counted(&mut share, now);
            assert_eq!((all.lock().bytes, account.has_room()), (counted, counted == 0), "{now}");
        }
        account.keep_counted(&mut share, 3000);
        drop(share);
        assert!(account.has_room() && all.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken() {
        let all = Unsent::new(LIMITS);
        let account = all.account(&"ada");
        let share = account.reserve(150);
        let waits = tokio::spawn({
            let account = Arc::clone(&account);
            async move { std::future::poll_fn(|task| account.poll_room(task)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(share);
        waits.await.unwrap();
    }
}
