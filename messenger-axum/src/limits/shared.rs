//! What is counted over all nodes.

use std::{net::IpAddr, sync::Arc, time::Duration};

use messenger_core::{
    Error, Result, UserId,
    ports::{Quota, RateLimiter, RateLimiterError},
};

use crate::options::{Options, Rate, RateLimits};

/// How long somebody waits for the limiter: what this node has counted has to do then.
const TAKING: Duration = Duration::from_millis(200);
/// After this time what was taken stays taken.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// The limiter that nodes share, and the limits that it keeps. Where it fails, the limits of this node have to do.
pub(crate) struct SharedLimiter {
    limiter: Arc<dyn RateLimiter>,
    logins: Quota,
    wrong_passwords: Quota,
    exports: Quota,
}

impl SharedLimiter {
    pub(crate) fn of(options: &Options) -> Option<Self> {
        let RateLimits { logins, wrong_passwords, exports, .. } = options.rate_limits?;
        let limiter = Arc::clone(&options.rate_limiter.as_ref()?.0);
        let (logins, wrong_passwords) = (quota(logins), quota(wrong_passwords));
        Some(Self { limiter, logins, wrong_passwords, exports: quota(exports) })
    }

    pub(super) fn limiter(&self) -> Arc<dyn RateLimiter> {
        Arc::clone(&self.limiter)
    }

    pub(super) async fn login(&self, network: IpAddr) -> Result<()> {
        self.take(&format!("login:{network}"), self.logins).await
    }

    pub(super) async fn try_password(&self, account: &[u8; 16]) -> Result<()> {
        self.take(&password(account), self.wrong_passwords).await
    }

    pub(super) fn not_wrong(&self, account: &[u8; 16]) {
        self.give_back(password(account), self.wrong_passwords);
    }

    pub(super) async fn export(&self, user: UserId) -> Result<()> {
        self.take(&export(user), self.exports).await
    }

    pub(super) fn not_exported(&self, user: UserId) {
        self.give_back(export(user), self.exports);
    }

    /// Nothing that has been done waits for it.
    fn give_back(&self, bucket: String, quota: Quota) {
        let limiter = Arc::clone(&self.limiter);
        tokio::spawn(async move { note(in_time(GIVING_BACK, limiter.give_back(&bucket, quota)).await) });
    }

    async fn take(&self, bucket: &str, quota: Quota) -> Result<()> {
        let taken = in_time(TAKING, self.limiter.take(bucket, quota)).await;
        note(taken).flatten().map_or(Ok(()), |wait| Err(Error::RateLimited(wait)))
    }
}

fn password(account: &[u8; 16]) -> String {
    format!("password:{:032x}", u128::from_be_bytes(*account))
}

fn export(user: UserId) -> String {
    format!("export:{user}")
}

pub(super) fn quota(rate: Rate) -> Quota {
    Quota { burst: rate.burst, interval: rate.interval.max(Duration::from_micros(1)) }
}

async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = std::result::Result<T, RateLimiterError>>,
) -> std::result::Result<T, RateLimiterError> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|late| Err(RateLimiterError(late.into())))
}

pub(super) fn note<T>(answer: std::result::Result<T, RateLimiterError>) -> Option<T> {
    let noted = answer.inspect_err(|error| {
        metrics::counter!("messenger_rate_limiter_failures_total").increment(1);
        tracing::debug!(error = error as &dyn std::error::Error, "limits were counted by this node alone");
    });
    noted.ok()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use async_trait::async_trait;

    use super::*;
    use crate::limits::{Account, Limiter};

    /// Buckets that are never filled again; with none at all, it is out of reach.
    #[derive(Default)]
    struct Buckets(Mutex<Option<HashMap<String, u32>>>);

    #[async_trait]
    impl RateLimiter for Buckets {
        async fn take(
            &self,
            bucket: &str,
            quota: Quota,
        ) -> std::result::Result<Option<Duration>, RateLimiterError> {
            let mut buckets = self.0.lock().unwrap();
            let buckets = buckets.as_mut().ok_or_else(|| RateLimiterError("out of reach".into()))?;
            let left = buckets.entry(bucket.to_owned()).or_insert(quota.burst.get());
            Ok(match left.checked_sub(1) {
                Some(less) => {
                    *left = less;
                    None
                }
                None => Some(quota.interval),
            })
        }

        async fn give_back(&self, bucket: &str, _: Quota) -> std::result::Result<(), RateLimiterError> {
            let mut buckets = self.0.lock().unwrap();
            let buckets = buckets.as_mut().ok_or_else(|| RateLimiterError("out of reach".into()))?;
            *buckets.get_mut(bucket).unwrap() += 1;
            Ok(())
        }

        async fn charge(
            &self,
            _: &str,
            _: Quota,
            _: u32,
            _: Duration,
        ) -> std::result::Result<Duration, RateLimiterError> {
            unreachable!("requests are not counted here")
        }
    }

    fn nodes(limiter: &Arc<Buckets>, limits: RateLimits) -> [Limiter; 2] {
        [(); 2].map(|()| {
            let options = Options::new().rate_limits(limits).rate_limiter(Arc::clone(limiter) as _);
            Limiter::new(Some(limits), SharedLimiter::of(&options))
        })
    }

    fn three() -> RateLimits {
        let three = Rate::every(Duration::from_secs(30), 3);
        RateLimits { logins: three, wrong_passwords: three, ..RateLimits::default() }
    }

    #[tokio::test]
    async fn wrong_passwords_and_log_ins_count_over_all_nodes() {
        let limiter = Arc::new(Buckets(Mutex::new(Some(HashMap::new()))));
        let [here, there] = nodes(&limiter, three());
        let (account, address) = (Account::named("ada"), Some("192.0.2.1".parse().unwrap()));
        for node in [&here, &there, &here] {
            assert!(node.try_password(account).await.is_ok());
            assert!(node.login(address).await.is_ok());
        }
        for refused in [there.try_password(account).await, there.login(address).await] {
            assert!(matches!(refused, Err(Error::RateLimited(wait)) if wait == Duration::from_secs(30)));
        }
        assert!(there.try_password(Account::named("bob")).await.is_ok());
        here.not_wrong(account);
        tokio::task::yield_now().await;
        assert!(there.try_password(account).await.is_ok(), "one was right");
        assert!(there.try_password(account).await.is_err());
    }

    /// A limiter that never answers.
    struct Frozen;

    #[async_trait]
    impl RateLimiter for Frozen {
        async fn take(&self, _: &str, _: Quota) -> std::result::Result<Option<Duration>, RateLimiterError> {
            std::future::pending().await
        }

        async fn give_back(&self, _: &str, _: Quota) -> std::result::Result<(), RateLimiterError> {
            std::future::pending().await
        }

        async fn charge(
            &self,
            _: &str,
            _: Quota,
            _: u32,
            _: Duration,
        ) -> std::result::Result<Duration, RateLimiterError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_limiter_that_does_not_answer() {
        let options = Options::new().rate_limits(three()).rate_limiter(Arc::new(Frozen));
        let limiter = Limiter::new(Some(three()), SharedLimiter::of(&options));
        let (account, began) = (Account::named("ada"), tokio::time::Instant::now());
        limiter.login(Some("192.0.2.1".parse().unwrap())).await.unwrap();
        limiter.try_password(account).await.unwrap();
        assert!(began.elapsed() < 2 * TAKING + Duration::from_millis(10), "{:?}", began.elapsed());
        limiter.not_wrong(account);
    }

    #[tokio::test]
    async fn each_node_counts_for_itself_while_the_limiter_is_out_of_reach() {
        let [here, there] = nodes(&Arc::default(), three());
        let account = Account::named("ada");
        for node in [&here, &there] {
            for _ in 0..3 {
                assert!(node.try_password(account).await.is_ok());
            }
            assert!(node.try_password(account).await.is_err());
            node.not_wrong(account);
            assert!(node.try_password(account).await.is_ok());
        }
    }
}
