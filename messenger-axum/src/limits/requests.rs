//! Requests, which each node counts for itself, and tells a limiter that all nodes share each second.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use messenger_core::{
    Result, UserId,
    ports::{Quota, RateLimiter},
};

use super::{
    buckets::Buckets,
    period::Period,
    shared::{note, quota},
};
use crate::options::Rate;

/// For how long requests are counted before the limiter is told. So long a caller may use more than their share, by
/// asking several nodes.
const PERIOD: Duration = Duration::from_secs(1);
/// Who has used less than this part of what a bucket gains in a period is not told of, so that nearly all callers cost
/// the limiter nothing.
const TOLD_FROM: f64 = 0.1;
/// Of so many callers the limiter is told at most, of the busiest.
const CALLERS: usize = 4096;
/// Calls to the limiter at the same time.
const CALLS: usize = 32;
/// After this time those that are left are given up.
const TIME_LIMIT: Duration = Duration::from_secs(3);
const SHARDS: usize = 16;

/// Who is counted, by a name that is the same on all nodes.
pub(super) trait Caller: Hash + Eq + Clone + Send + Sync + 'static {
    fn bucket(&self) -> String;
}

impl Caller for UserId {
    fn bucket(&self) -> String {
        format!("user:{self}")
    }
}

impl Caller for IpAddr {
    fn bucket(&self) -> String {
        format!("address:{self}")
    }
}

/// A bucket for each caller. No request waits for the limiter: what it knows of the other nodes is taken from the
/// buckets afterwards.
pub(super) struct Requests<K: Caller>(Arc<Inner<K>>);

struct Inner<K: Caller> {
    buckets: Buckets<K>,
    shared: Option<Shared<K>>,
}

struct Shared<K> {
    limiter: Arc<dyn RateLimiter>,
    quota: Quota,
    counts: [Mutex<HashMap<K, u32>>; SHARDS],
    /// While they are counted, a task waits to tell of it.
    period: Period,
    hasher: RandomState,
    /// Held while the limiter is told, so that at most one task more waits.
    telling: tokio::sync::Mutex<()>,
}

impl<K: Caller> Requests<K> {
    pub(super) fn new(rate: Rate, limiter: Option<Arc<dyn RateLimiter>>) -> Self {
        let shared = limiter.map(|limiter| Shared {
            limiter,
            quota: quota(rate),
            counts: std::array::from_fn(|_| Mutex::default()),
            period: Period::new(),
            hasher: RandomState::new(),
            telling: tokio::sync::Mutex::new(()),
        });
        Self(Arc::new(Inner { buckets: Buckets::new(rate), shared }))
    }

    /// Takes one, or returns how long to wait for one.
    pub(super) fn take(&self, caller: &K) -> Result<()> {
        self.0.buckets.take(caller)?;
        if let Some(shared) = &self.0.shared {
            shared.count(caller);
            if shared.period.begin() {
                tokio::spawn(tell_later(Arc::downgrade(&self.0)));
            }
        }
        Ok(())
    }
}

/// Ends with the buckets, or after a period and the time limits of two.
async fn tell_later<K: Caller>(requests: Weak<Inner<K>>) {
    tokio::time::sleep(PERIOD).await;
    let Some(inner) = requests.upgrade() else { return };
    let Some(shared) = &inner.shared else { return };
    let _one_at_a_time = shared.telling.lock().await;
    // Who counts after this begins the next period; what is counted before the counts are taken is told with this one.
    let counted_for = shared.period.end();
    let busiest = shared.take_counts();
    let told = stream::iter(busiest).for_each_concurrent(CALLS, |(caller, count)| {
        let inner = &inner;
        async move {
            let bucket = caller.bucket();
            let charged = shared.limiter.charge(&bucket, shared.quota, count, counted_for).await;
            if let Some(full_in) = note(charged) {
                inner.buckets.not_full_before(&caller, full_in);
            }
        }
    });
    // Those that are left were counted by this node alone.
    let _ = tokio::time::timeout(TIME_LIMIT, told).await;
}

impl<K: Caller> Shared<K> {
    fn count(&self, caller: &K) {
        let shard = usize::try_from(self.hasher.hash_one(caller) % SHARDS as u64).unwrap_or(0);
        let mut counts = self.counts[shard].lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(caller.clone()).or_default() += 1;
    }

    /// Who has used much of their bucket, the busiest first. Begins to count anew.
    fn take_counts(&self) -> Vec<(K, u32)> {
        let gained = PERIOD.as_secs_f64() / self.quota.interval.as_secs_f64();
        let mut busy = Vec::new();
        for shard in &self.counts {
            let counts = mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            busy.extend(counts.into_iter().filter(|(_, count)| f64::from(*count) >= gained * TOLD_FROM));
        }
        busy.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        busy.truncate(CALLERS);
        busy
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use messenger_core::{Error, ports::RateLimiterError};

    use super::*;

    type Answer<T> = std::result::Result<T, RateLimiterError>;

    /// Buckets that are never filled again, each with what was taken from it; with none at all, it is out of reach.
    #[derive(Default)]
    struct Limiter(Mutex<Option<HashMap<String, u32>>>);

    #[async_trait]
    impl RateLimiter for Limiter {
        async fn take(&self, _: &str, _: Quota) -> Answer<Option<Duration>> {
            unreachable!("no request waits for the limiter")
        }

        async fn give_back(&self, _: &str, _: Quota) -> Answer<()> {
            unreachable!("what was asked for is not given back")
        }

        async fn charge(&self, bucket: &str, quota: Quota, count: u32, last: Duration) -> Answer<Duration> {
            assert!((PERIOD..PERIOD + TIME_LIMIT).contains(&last), "{last:?}");
            let mut buckets = self.0.lock().unwrap();
            let buckets = buckets.as_mut().ok_or_else(|| RateLimiterError("out of reach".into()))?;
            let taken = buckets.entry(bucket.to_owned()).or_default();
            *taken += count;
            Ok(quota.interval * *taken)
        }
    }

    impl Limiter {
        fn new() -> Arc<Self> {
            Arc::new(Self(Mutex::new(Some(HashMap::new()))))
        }

        fn taken(&self) -> Vec<(String, u32)> {
            let mut taken: Vec<_> =
                self.0.lock().unwrap().iter().flatten().map(|(k, v)| (k.clone(), *v)).collect();
            taken.sort();
            taken
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// 50 in a second, 200 at once, by a clock that is not the one of these tests: a bucket does not fill in them.
    fn nodes<const N: usize>(limiter: &Arc<Limiter>) -> [Requests<IpAddr>; N] {
        std::array::from_fn(|_| Requests::new(Rate::per_second(50, 200), Some(Arc::clone(limiter) as _)))
    }

    fn take(node: &Requests<IpAddr>, last: u8, times: usize) -> usize {
        (0..times).filter(|_| node.take(&address(last)).is_ok()).count()
    }

    async fn a_period() {
        tokio::time::sleep(PERIOD + Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_several_nodes_has_one_bucket_after_a_period() {
        let limiter = Limiter::new();
        let [here, there] = nodes(&limiter);
        assert_eq!((take(&here, 1, 150), take(&there, 1, 120)), (150, 120), "each by its own count");
        a_period().await;
        assert_eq!(limiter.taken(), [("address:192.0.2.1".to_owned(), 270)]);
        // Each learns of the others when it tells them.
        assert_eq!(take(&here, 1, 10), 10);
        a_period().await;
        for node in [&here, &there] {
            let refused = node.take(&address(1));
            assert!(
                matches!(refused, Err(Error::RateLimited(wait)) if wait > Duration::from_secs(1)),
                "{refused:?}"
            );
            node.take(&address(2)).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_period_is_told_of_once() {
        let limiter = Limiter::new();
        let [here] = nodes(&limiter);
        for period in 1..4 {
            assert_eq!(take(&here, 1, 20), 20);
            a_period().await;
            assert_eq!(limiter.taken(), [("address:192.0.2.1".to_owned(), 20 * period)]);
        }
        a_period().await;
        assert_eq!(limiter.taken()[0].1, 60, "nothing was asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_little_costs_the_limiter_nothing() {
        let limiter = Limiter::new();
        let [here] = nodes(&limiter);
        assert_eq!((take(&here, 1, 4), take(&here, 2, 5)), (4, 5));
        a_period().await;
        assert_eq!(limiter.taken(), [("address:192.0.2.2".to_owned(), 5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_very_many_the_busiest_are_told_of() {
        let limiter = Limiter::new();
        let [here] = nodes(&limiter);
        for number in 0..CALLERS as u32 + 100 {
            let caller = IpAddr::from(number.to_be_bytes());
            let times = if number < 100 { 5 } else { 6 };
            (0..times).for_each(|_| here.take(&caller).unwrap());
        }
        a_period().await;
        let taken = limiter.taken();
        assert_eq!(taken.len(), CALLERS);
        assert!(taken.iter().all(|(_, count)| *count == 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limiter_out_of_reach_leaves_each_node_its_own_count() {
        let limiter = Arc::new(Limiter::default());
        let [here, there] = nodes(&limiter);
        for node in [&here, &there] {
            assert_eq!(take(node, 1, 150), 150);
        }
        a_period().await;
        for node in [&here, &there] {
            assert_eq!(take(node, 1, 40), 40);
        }
        // What was not told is not told later: it has been filled again by then.
        *limiter.0.lock().unwrap() = Some(HashMap::new());
        a_period().await;
        assert_eq!(limiter.taken(), [("address:192.0.2.1".to_owned(), 80)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_the_buckets() {
        let limiter = Limiter::new();
        let [here] = nodes(&limiter);
        take(&here, 1, 50);
        drop(here);
        a_period().await;
        assert_eq!((limiter.taken(), Arc::strong_count(&limiter)), (vec![], 1));
    }
}
