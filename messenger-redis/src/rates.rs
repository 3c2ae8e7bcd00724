use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use messenger_core::ports::{Quota, RateLimiter, RateLimiterError};
use redis::{Cmd, FromRedisValue, Pipeline};

use crate::{
    code::Code,
    connections::Connections,
    requests::{is_forbidden, is_unknown_script},
    server::ServerError,
    topology::Topology,
};

static TAKE: Code = Code::new(include_str!("scripts/take.lua"));
static CHARGE: Code = Code::new(include_str!("scripts/charge.lua"));
static GIVE_BACK: Code = Code::new(include_str!("scripts/give_back.lua"));

/// A [`RateLimiter`] in Redis: buckets by the server's clock, changed by atomic scripts.
///
/// A bucket is a key `PREFIX:rate:NAME` of some 100 bytes, which expires when the bucket is full. What Redis loses is
/// forgotten: callers then begin with full buckets.
///
/// ```no_run
/// use std::time::Duration;
/// use messenger_core::ports::{Quota, RateLimiter as _};
/// use messenger_redis::Redis;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Redis::open("redis://127.0.0.1")?.rate_limiter();
/// let quota = Quota { burst: 10.try_into()?, interval: Duration::from_secs(30) };
/// assert_eq!(limiter.take("password:ada", quota).await?, None);
/// # Ok(())
/// # }
/// ```
pub struct RedisRateLimiter {
    connections: Connections,
}

impl RedisRateLimiter {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self { connections: Connections::new(topology) }
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Code,
        bucket: &str,
        call: impl Fn(&str) -> Cmd,
    ) -> Result<T, ServerError> {
        let topology = &self.connections.topology;
        let key = format!("{}:rate:{bucket}", topology.server.prefix);
        let layout = topology.layout().await?;
        let member = layout.of(&key).ok_or(ServerError::Slot)?;
        let requests = self.connections.to(member, &layout);
        let open = requests.open().await?;
        let mut commands = Pipeline::new();
        commands.add_command(call(&key));
        let mut answer = requests.run(&open, &commands).await;
        if answer.as_ref().is_err_and(is_unknown_script) {
            let _hash: (String,) = requests.run(&open, &script.load()).await?;
            answer = requests.run(&open, &commands).await;
        }
        if answer.as_ref().is_err_and(|error| !is_forbidden(error)) {
            // Another server may have the bucket now.
            topology.doubt();
        }
        answer.map(|(answer,)| answer)
    }
}

impl fmt::Debug for RedisRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.connections.topology.address();
        f.debug_struct("RedisRateLimiter").field("address", &address).finish_non_exhaustive()
    }
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn take(&self, bucket: &str, quota: Quota) -> Result<Option<Duration>, RateLimiterError> {
        let call = |key: &str| {
            let mut call = TAKE.call(&[key]);
            call.arg(micros(quota)).arg(quota.burst.get());
            call
        };
        let wait: u64 = self.run(&TAKE, bucket, call).await.map_err(failed)?;
        Ok((wait > 0).then(|| Duration::from_micros(wait)))
    }

    async fn give_back(&self, bucket: &str, quota: Quota) -> Result<(), RateLimiterError> {
        let call = |key: &str| {
            let mut call = GIVE_BACK.call(&[key]);
            call.arg(micros(quota));
            call
        };
        self.run(&GIVE_BACK, bucket, call).await.map_err(failed)
    }

    async fn charge(
        &self,
        bucket: &str,
        quota: Quota,
        count: u32,
        last: Duration,
    ) -> Result<Duration, RateLimiterError> {
        let last = u64::try_from(last.as_micros()).unwrap_or(u64::MAX);
        let call = |key: &str| {
            let mut call = CHARGE.call(&[key]);
            call.arg(micros(quota)).arg(quota.burst.get()).arg(count).arg(last);
            call
        };
        let full_in: u64 = self.run(&CHARGE, bucket, call).await.map_err(failed)?;
        Ok(Duration::from_micros(full_in))
    }
}

/// Redis counts with numbers of 53 bits.
fn micros(quota: Quota) -> u64 {
    const A_YEAR: u128 = 365 * 24 * 3600 * 1_000_000;
    u64::try_from(quota.interval.as_micros().clamp(1, A_YEAR)).unwrap_or(u64::MAX)
}

fn failed(error: ServerError) -> RateLimiterError {
    RateLimiterError(error.into())
}
