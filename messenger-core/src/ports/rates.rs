use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;

/// Counts what is limited over all nodes, such as wrong passwords and requests: buckets by the generic cell rate algorithm (ITU-T I.371).
///
/// Each node limits for itself as well, so where a limiter can't be reached, callers are slowed down by each node alone.
///
/// No call blocks for long: if the limiter can't be reached, it fails with a [`RateLimiterError`] within seconds.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes one from a bucket. `None` if there was one; otherwise nothing is taken, and there will be one after the
    /// returned time. A bucket that is not known is full.
    async fn take(&self, bucket: &str, quota: Quota) -> Result<Option<Duration>, RateLimiterError>;

    /// Puts one that was taken back into a bucket. A full bucket stays as it is.
    async fn give_back(&self, bucket: &str, quota: Quota) -> Result<(), RateLimiterError>;

    /// Takes `count` that were let through in the `last` time, by a node's own count, whether the bucket holds as many or
    /// not. Returns after which time it will be full again: zero if it is. A bucket owes at most nine times what a full
    /// one holds.
    async fn charge(
        &self,
        bucket: &str,
        quota: Quota,
        count: u32,
        last: Duration,
    ) -> Result<Duration, RateLimiterError>;
}

/// How much a bucket holds, and how fast it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many a full bucket holds.
    pub burst: NonZeroU32,
    /// After which time there is one more: at least a microsecond.
    pub interval: Duration,
}

/// The limiter can't be reached, or took too long.
#[derive(Debug, thiserror::Error)]
#[error("the rate limiter can't be reached")]
pub struct RateLimiterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
