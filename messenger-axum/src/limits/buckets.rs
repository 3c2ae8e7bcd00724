//! One bucket for each key, kept only while it is not full.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{
        StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};
use messenger_core::{Error, Result};

use crate::options::Rate;

/// After at least so many requests the buckets that are full again are thrown away.
const SWEEP: usize = 1024;

pub(super) struct Buckets<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    take: RateLimiter<K, Shared<K>, C, NoOpMiddleware<C::Instant>>,
    peek: RateLimiter<K, ReadOnly<K>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    until_sweep: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Buckets<K, C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        // A period of zero would be no quota; `Rate` has none.
        let quota = Quota::with_period(rate.interval)
            .unwrap_or_else(|| Quota::per_second(rate.burst))
            .allow_burst(rate.burst);
        let state = Arc::new(DashMapStateStore::default());
        Self {
            take: RateLimiter::new(quota, Shared(Arc::clone(&state)), clock.clone()),
            peek: RateLimiter::new(quota, ReadOnly(state), clock.clone()),
            clock,
            until_sweep: AtomicUsize::new(SWEEP),
        }
    }

    /// Takes one from the bucket, or says how long to wait for one.
    pub(super) fn take(&self, key: &K) -> Result<()> {
        self.sweep_sometimes();
        self.take.check_key(key).map_err(|until| self.wait(&until))
    }

    /// Says whether one could be taken, and takes none.
    pub(super) fn peek(&self, key: &K) -> Result<()> {
        self.peek.check_key(key).map_err(|until| self.wait(&until))
    }

    fn wait(&self, until: &NotUntil<C::Instant>) -> Error {
        Error::RateLimited(until.wait_time_from(self.clock.now()))
    }

    /// A full bucket is as good as none. The next sweep comes after as many requests as buckets were left, so
    /// that sweeping costs each request the same small share, and the map is never more than twice as large as
    /// it must be.
    fn sweep_sometimes(&self) {
        let due =
            self.until_sweep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if due != Ok(1) {
            return;
        }
        self.take.retain_recent();
        self.until_sweep.store(self.take.len().max(SWEEP), Ordering::Relaxed);
    }
}

struct Shared<K: Hash + Eq>(Arc<DashMapStateStore<K>>);

impl<K: Hash + Eq + Clone> StateStore for Shared<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, f)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Shared<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The same states, of which a measurement changes none.
struct ReadOnly<K: Hash + Eq>(Arc<DashMapStateStore<K>>);

impl<K: Hash + Eq + Clone> StateStore for ReadOnly<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if !self.0.contains_key(key) {
            return f(None).map(|(outcome, _)| outcome);
        }
        // An `Err` leaves the state as it is, so the outcome travels in one.
        let unchanged: Result<(), Result<T, E>> =
            self.0.measure_and_replace(key, |nanos| Err(f(nanos).map(|(outcome, _)| outcome)));
        unchanged.map_or_else(|outcome| outcome, |()| f(None).map(|(outcome, _)| outcome))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn buckets(clock: &FakeRelativeClock) -> Buckets<usize, FakeRelativeClock> {
        Buckets::with_clock(Rate::every(Duration::from_secs(10), 2), clock.clone())
    }

    #[test]
    fn a_bucket_fills_again_with_time() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        assert!(buckets.take(&1).is_ok());
        assert!(buckets.take(&1).is_ok());
        let Err(Error::RateLimited(wait)) = buckets.take(&1) else { panic!() };
        assert_eq!(wait, Duration::from_secs(10));
        assert!(buckets.take(&2).is_ok());
        clock.advance(Duration::from_secs(10));
        assert!(buckets.take(&1).is_ok());
        assert!(buckets.take(&1).is_err());
    }

    #[test]
    fn peeking_takes_nothing() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        for _ in 0..10 {
            assert!(buckets.peek(&1).is_ok());
        }
        assert_eq!(buckets.take.len(), 0);
        assert!(buckets.take(&1).is_ok());
        assert!(buckets.peek(&1).is_ok());
        assert!(buckets.take(&1).is_ok());
        for _ in 0..10 {
            assert!(buckets.peek(&1).is_err());
        }
        clock.advance(Duration::from_secs(10));
        assert!(buckets.peek(&1).is_ok());
    }

    #[test]
    fn full_buckets_are_thrown_away() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        for key in 0..50 * SWEEP {
            assert!(buckets.take(&key).is_ok());
            clock.advance(Duration::from_millis(100));
        }
        // One request keeps its bucket from being full for ten seconds, which is a hundred others.
        assert!(buckets.take.len() <= SWEEP + 100 + 1, "{}", buckets.take.len());
    }
}
