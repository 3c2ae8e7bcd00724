//! The sources of time, ids and randomness, so that a command is deterministic in tests.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::domain::{Id, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`; the system's implementation must be fit for keys and tokens.
    fn fill(&self, bytes: &mut [u8]);
}

/// Time, ids and randomness.
///
/// ```
/// use messenger_core::{MessageId, context::Context};
///
/// let context = Context::fixed();
/// let first: MessageId = context.id();
/// let second: MessageId = context.id();
/// assert!(first < second);
/// assert_eq!(Context::fixed().id::<messenger_core::Message>(), first);
/// ```
#[derive(Clone)]
pub struct Context {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    last_id: Arc<AtomicU64>,
}

impl Context {
    /// Uses this clock and this source of randomness.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, last_id: Arc::default() }
    }

    /// The system's clock and randomness.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    /// A clock fixed at 2026-01-01T00:00:00Z and numbers that are not random: for tests.
    pub fn fixed() -> Self {
        Self::new(Arc::new(ManualClock::default()), Arc::new(CountingRandom::default()))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns `N` random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// Makes a new id: a UUIDv7, greater than every id that this context has made before (RFC 9562, section 6.2, method
    /// 3: the twelve bits after the milliseconds are a fraction of the millisecond, incremented when the clock stands
    /// still).
    pub fn id<K>(&self) -> Id<K> {
        let micros = self.now().as_micros().unsigned_abs();
        // Milliseconds in the upper bits, 12 bits of 1/4096 ms below.
        let ticks = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        let mut last = self.last_id.load(Ordering::Relaxed);
        let ticks = loop {
            let next = ticks.max(last + 1);
            match self.last_id.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break next,
                Err(now) => last = now,
            }
        };
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&(ticks >> 12).to_be_bytes()[2..]);
        let fraction = ticks & 0xfff;
        bytes[6] = 0x70 | (fraction >> 8) as u8;
        bytes[7] = (fraction & 0xff) as u8;
        self.random.fill(&mut bytes[8..]);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Id::from_bytes(bytes)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    ///
    /// If the system has no randomness: a guessable token would be worse.
    fn fill(&self, bytes: &mut [u8]) {
        // Ids take a few bytes each and are not secret; keys and tokens are requested from the system one by one.
        if bytes.len() <= Pool::AT_MOST { POOL.with_borrow_mut(|pool| pool.take(bytes)) } else { ask(bytes) }
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 512], taken: 512 }) };
}

/// A pool of random bytes, because a system call costs more than everything else about an id.
struct Pool {
    bytes: [u8; 512],
    taken: usize,
}

impl Pool {
    const AT_MOST: usize = 8;

    fn take(&mut self, bytes: &mut [u8]) {
        if self.taken + bytes.len() > self.bytes.len() {
            ask(&mut self.bytes);
            self.taken = 0;
        }
        let end = self.taken + bytes.len();
        bytes.copy_from_slice(&self.bytes[self.taken..end]);
        self.taken = end;
    }
}

fn ask(bytes: &mut [u8]) {
    #[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
    #[expect(clippy::expect_used, reason = "nothing safe can be done without randomness")]
    getrandom::fill(bytes).expect("the system gives random bytes");
}

/// A clock that only moves when told to: for tests.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::context::{Clock, ManualClock};
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().since(before), Duration::from_secs(5));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        // 2026-01-01T00:00:00Z
        Self(AtomicI64::new(1_767_225_600_000_000))
    }
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Numbers that differ and are not random: for tests.
#[derive(Debug, Default)]
pub struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64 (Steele, Lea, Flood 2014): spreads a counter over all bits.
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::Message;

    /// A clock that shows the time it is set to, which may go backwards.
    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    /// Returns only one bits.
    struct Ones;

    impl Random for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    fn set(micros: i64) -> (Arc<Set>, Context) {
        let clock = Arc::new(Set(AtomicI64::new(micros)));
        (Arc::clone(&clock), Context::new(clock, Arc::new(Ones)))
    }

    /// The 48 bits of milliseconds and the 12 bits after them.
    fn time_of(id: Id<Message>) -> (u64, u16) {
        let value = id.as_uuid().as_u128();
        ((value >> 80) as u64, (value >> 64) as u16 & 0xfff)
    }

    #[test]
    fn ids_rise_and_never_repeat() {
        let context = Context::system();
        let ids: Vec<Id<Message>> = (0..10_000).map(|_| context.id()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.as_uuid().get_version_num() == 7));
        let tails: HashSet<&[u8]> = ids.iter().map(|id| &id.as_bytes()[8..]).collect();
        assert_eq!(tails.len(), ids.len(), "the random part differs, too");
    }

    #[test]
    fn an_id_is_the_time_a_fraction_of_a_millisecond_and_random_bits() {
        let millis = 0x0193_a5c1_7e2b;
        for (micros, fraction) in [(0, 0), (1, 4), (500, 0x800), (999, 0xffb)] {
            let (_, context) = set(millis * 1000 + micros);
            let id: Id<Message> = context.id();
            assert_eq!(time_of(id), (millis as u64, fraction), "{micros}");
            assert_eq!(id.as_uuid().get_version_num(), 7);
            // The variant of RFC 9562, and 62 random bits.
            assert_eq!(id.as_bytes()[8..], [0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        }
    }

    #[test]
    fn ids_rise_by_the_smallest_step_while_the_clock_stands_still_or_goes_back() {
        let (clock, context) = set(5_000_999);
        let mut expected = (5000, 0xffb);
        for micros in [5_000_999, 5_000_999, 4_000_000, 0, 5_000_998, 5_000_999] {
            clock.0.store(micros, Ordering::SeqCst);
            assert_eq!(time_of(context.id()), expected, "{micros}");
            expected = if expected.1 == 0xfff { (expected.0 + 1, 0) } else { (expected.0, expected.1 + 1) };
        }
        // Ids follow the clock again once it is ahead of them.
        clock.0.store(6_000_000, Ordering::SeqCst);
        assert_eq!(time_of(context.id()), (6000, 0));
    }

    #[test]
    fn randomness_fills_whatever_is_asked_for() {
        for length in [1, 7, 8, 9, 16, 32, 600] {
            // The probability that a given byte is zero in all of so many draws is 1 in 256^40.
            let mut or = vec![0; length];
            for _ in 0..40 {
                let mut bytes = vec![0; length];
                SystemRandom.fill(&mut bytes);
                or.iter_mut().zip(bytes).for_each(|(all, byte)| *all |= byte);
            }
            assert!(or.iter().all(|byte| *byte != 0), "{length}");
        }
    }

    #[test]
    fn no_randomness_is_given_out_twice() {
        let mut pool = Pool { bytes: [0; 512], taken: 512 };
        let mut draws = HashSet::new();
        for _ in 0..3 * 512 / 8 {
            let mut bytes = [0; 8];
            pool.take(&mut bytes);
            assert!(draws.insert(bytes), "{bytes:?}");
        }
        // The bytes left in the pool are not enough, so it is refilled.
        let mut pool = Pool { bytes: [7; 512], taken: 507 };
        let (mut five, mut eight) = ([0; 5], [0; 8]);
        pool.take(&mut five);
        assert_eq!((five, pool.taken), ([7; 5], 512));
        pool.take(&mut eight);
        assert_eq!(pool.taken, 8);
        assert_ne!(eight, [7; 8]);
    }

    #[test]
    fn numbers_for_tests_are_those_of_splitmix64() {
        let random = CountingRandom::default();
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        // The first value is that of the seed itself, 0; the others are those that the authors publish for it.
        let expected = [0, 0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f_u64];
        assert_eq!(bytes, expected.map(u64::to_le_bytes).concat()[..]);
        let mut three = [0; 3];
        random.fill(&mut three);
        assert_ne!(three, [0; 3]);
    }

    #[test]
    fn the_systems_clock_shows_the_time() {
        let now = SystemClock.now();
        // After this test was written, and before the greatest time that can be represented.
        assert!(
            now > "2025-01-01T00:00:00Z".parse().unwrap() && now < "9000-01-01T00:00:00Z".parse().unwrap()
        );
        assert!(SystemClock.now() >= now);
    }

    #[test]
    fn a_manual_clock_moves_by_what_it_is_told() {
        let clock = ManualClock::default();
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:00.000Z");
        clock.advance(Duration::from_millis(1500));
        clock.advance(Duration::from_millis(1));
        assert_eq!(clock.now().to_string(), "2026-01-01T00:00:01.501Z");
        let context = Context::new(Arc::new(clock), Arc::new(Ones));
        assert_eq!(format!("{context:?}"), "Context { now: 2026-01-01T00:00:01.501Z, .. }");
        assert_eq!(context.random::<4>(), [0xff; 4]);
    }
}
