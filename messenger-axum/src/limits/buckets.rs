//! Rate-limit buckets, one for each key, kept only while not full.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference as _},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{
        StateStore,
        keyed::{DashMapStateStore, ShrinkableKeyedStateStore},
    },
};
use messenger_core::{Error, Result};

use crate::options::Rate;

/// The minimum number of requests between two removals of full buckets.
const SWEEP: usize = 1024;

pub(super) struct Buckets<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    limiter: RateLimiter<K, Shared<K>, C, NoOpMiddleware<C::Instant>>,
    states: Shared<K>,
    /// From when states count.
    start: C::Instant,
    interval: Nanos,
    until_sweep: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock> Buckets<K, C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        // A period of zero would be no quota; `Rate` excludes it.
        let quota = Quota::with_period(rate.interval)
            .unwrap_or_else(|| Quota::per_second(rate.burst))
            .allow_burst(rate.burst);
        let states = Shared(Arc::new(DashMapStateStore::default()));
        Self {
            start: clock.now(),
            limiter: RateLimiter::new(quota, states.clone(), clock),
            states,
            interval: rate.interval.into(),
            until_sweep: AtomicUsize::new(SWEEP),
        }
    }

    /// Takes one from the bucket, or returns how long to wait for one.
    pub(super) fn take(&self, key: &K) -> Result<()> {
        self.sweep_sometimes();
        self.limiter.check_key(key).map_err(|until| self.wait(&until))
    }

    /// Puts back one that was taken.
    pub(super) fn give_back(&self, key: &K) {
        // The state is the time at which the bucket will be full again. No state, or a time in the past, means a full
        // bucket: there is nothing to put back.
        let _ = self.states.measure_and_replace(key, |full_at| match full_at {
            Some(full_at) => Ok(((), full_at.saturating_sub(self.interval))),
            None => Err(()),
        });
    }

    /// Takes what others have taken: the bucket is not full again before this time has passed.
    pub(super) fn not_full_before(&self, key: &K, full_in: Duration) {
        let full_at = self.limiter.clock().now().duration_since(self.start) + Nanos::from(full_in);
        let _ = self.states.measure_and_replace(key, |here| match here {
            Some(here) if here >= full_at => Err(()),
            _ => Ok(((), full_at)),
        });
    }

    fn wait(&self, until: &NotUntil<C::Instant>) -> Error {
        Error::RateLimited(until.wait_time_from(self.limiter.clock().now()))
    }

    /// Removes full buckets, which are equivalent to none. The next removal comes after as many requests as buckets
    /// were left, so that each request has the same small share of the cost, and the map is never more than twice as
    /// large as necessary.
    fn sweep_sometimes(&self) {
        let due =
            self.until_sweep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if due != Ok(1) {
            return;
        }
        self.limiter.retain_recent();
        self.until_sweep.store(self.limiter.len().max(SWEEP), Ordering::Relaxed);
    }
}

#[derive(Clone)]
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

#[cfg(test)]
mod tests {
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
    fn what_is_given_back_can_be_taken_again() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        buckets.give_back(&1);
        for _ in 0..10 {
            assert!(buckets.take(&1).is_ok());
            assert!(buckets.take(&1).is_ok());
            assert!(buckets.take(&1).is_err());
            buckets.give_back(&1);
            assert!(buckets.take(&1).is_ok());
            assert!(buckets.take(&1).is_err());
            clock.advance(Duration::from_secs(20));
        }
    }

    #[test]
    fn a_bucket_is_as_empty_as_others_left_it_and_no_fuller_than_it_was() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        clock.advance(Duration::from_secs(100));
        buckets.not_full_before(&1, Duration::from_secs(25));
        let Err(Error::RateLimited(wait)) = buckets.take(&1) else { panic!() };
        assert_eq!(wait, Duration::from_secs(15));
        buckets.not_full_before(&1, Duration::from_secs(5));
        clock.advance(Duration::from_secs(14));
        assert!(buckets.take(&1).is_err());
        clock.advance(Duration::from_secs(1));
        assert!(buckets.take(&1).is_ok());
        assert!(buckets.take(&1).is_err());
    }

    #[test]
    fn full_buckets_are_thrown_away() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        for key in 0..50 * SWEEP {
            assert!(buckets.take(&key).is_ok());
            clock.advance(Duration::from_millis(100));
        }
        // One request keeps its bucket from being full for ten seconds, the time of a hundred other requests.
        let left = buckets.limiter.len();
        assert!((100..=SWEEP + 100 + 1).contains(&left), "{left}");
    }

    #[test]
    fn looking_for_full_buckets_is_not_the_work_of_each_request() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        for key in 0..SWEEP - 1 {
            assert!(buckets.take(&key).is_ok());
            clock.advance(Duration::from_secs(10));
        }
        assert_eq!(buckets.limiter.len(), SWEEP - 1);
        // The last of these requests triggers the removal of all full buckets.
        assert!(buckets.take(&SWEEP).is_ok());
        assert!(buckets.limiter.len() < 10);
    }

    #[test]
    fn nor_is_it_of_as_many_requests_as_there_are_buckets_that_are_not_full() {
        let clock = FakeRelativeClock::default();
        let buckets = buckets(&clock);
        for key in 0..4 * SWEEP {
            assert!(buckets.take(&key).is_ok());
        }
        clock.advance(Duration::from_secs(10));
        // At the last removal there were twice as many as at the one before.
        for key in 0..3 * SWEEP {
            assert!(buckets.take(&key).is_ok());
        }
        assert!(buckets.limiter.len() >= 4 * SWEEP);
    }
}
