//! Buckets that all nodes take from.

use std::{num::NonZeroU32, time::Duration};

use futures::future::join_all;
use messenger_core::ports::{Quota, RateLimiter as _};
use messenger_redis::RedisRateLimiter;
use messenger_testing::{RedisCluster, RedisServer};

use crate::support::{redis, redis_at};

fn quota(burst: u32, interval: Duration) -> Quota {
    Quota { burst: NonZeroU32::new(burst).unwrap(), interval }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn two_nodes_have_one_bucket(here: &RedisRateLimiter, there: &RedisRateLimiter) {
    for name in ["a", "b", "c"] {
        let quota = quota(20, HOUR);
        let takes = (0..15).flat_map(|_| [here.take(name, quota), there.take(name, quota)]);
        let answers: Vec<_> = join_all(takes).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|wait| wait.is_none()).count(), 20, "{name}");
        for wait in answers.into_iter().flatten() {
            assert!(wait <= HOUR && wait > HOUR - Duration::from_secs(60), "{wait:?}");
        }
        here.give_back(name, quota).await.unwrap();
        assert_eq!(there.take(name, quota).await.unwrap(), None);
        assert!(there.take(name, quota).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_bucket_is_emptied_once_over_all_nodes() {
    let server = RedisServer::start().await;
    let [here, there] = [(); 2].map(|()| redis(&server.address()).rate_limiter());
    two_nodes_have_one_bucket(&here, &there).await;
}

#[tokio::test]
async fn so_it_is_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    let [here, there] = [(); 2].map(|()| redis_at(&cluster.url()).rate_limiter());
    two_nodes_have_one_bucket(&here, &there).await;
}

#[tokio::test]
async fn a_bucket_fills_again_by_the_servers_clock_and_no_further_than_full() {
    let server = RedisServer::start().await;
    let limiter = redis(&server.address()).rate_limiter();
    let quota = quota(2, Duration::from_millis(200));
    for _ in 0..2 {
        let mut taken = 0;
        let wait = loop {
            match limiter.take("a", quota).await.unwrap() {
                None => taken += 1,
                Some(wait) => break wait,
            }
        };
        // One may have come while two were taken, on a busy machine.
        assert!((2..=4).contains(&taken), "{taken}");
        assert!(wait <= Duration::from_millis(200), "{wait:?}");
        tokio::time::sleep(wait + Duration::from_millis(1)).await;
        assert_eq!(limiter.take("a", quota).await.unwrap(), None, "after that time there is one");
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    // What is given back to a full bucket makes it no fuller.
    for _ in 0..5 {
        limiter.give_back("full", self::quota(2, HOUR)).await.unwrap();
    }
    let taken = [(); 3].map(|()| limiter.take("full", self::quota(2, HOUR)));
    let taken = join_all(taken).await.into_iter().filter(|wait| wait.as_ref().unwrap().is_none());
    assert_eq!(taken.count(), 2);
}

#[tokio::test]
async fn what_was_let_through_is_charged_also_where_the_bucket_does_not_hold_it() {
    let server = RedisServer::start().await;
    let [here, there] = [(); 2].map(|()| redis(&server.address()).rate_limiter());
    let (minute, quota) = (Duration::from_secs(60), quota(10, Duration::from_secs(60)));
    // The server's clock goes on meanwhile.
    let about = |full_in: Duration, minutes: u32| {
        assert!(
            full_in <= minute * minutes && full_in > minute * minutes - Duration::from_secs(30),
            "{full_in:?}"
        );
    };
    about(here.charge("a", quota, 4, Duration::ZERO).await.unwrap(), 4);
    about(there.charge("a", quota, 5, Duration::ZERO).await.unwrap(), 9);
    assert_eq!(here.take("a", quota).await.unwrap(), None, "the last one");
    about(here.take("a", quota).await.unwrap().unwrap(), 1);
    about(here.charge("a", quota, 20, Duration::ZERO).await.unwrap(), 30);
    about(there.take("a", quota).await.unwrap().unwrap(), 21);
    about(there.charge("a", quota, 1_000_000, Duration::ZERO).await.unwrap(), 100);
    about(there.charge("a", quota, u32::MAX, Duration::MAX).await.unwrap(), 100);
    about(there.charge("another", quota, 1, Duration::ZERO).await.unwrap(), 1);
    // What was let through over some time has been filled again for so long.
    about(here.charge("over time", quota, 5, 2 * minute).await.unwrap(), 3);
    about(there.charge("over time", quota, 5, 2 * minute).await.unwrap(), 8);
    assert_eq!(here.charge("slowly", quota, 2, 3 * minute).await.unwrap(), Duration::ZERO);
    assert_eq!(server.command("EXISTS test:rate:slowly").await.as_deref(), Some(":0"));
    let left: u64 =
        server.command("PTTL test:rate:a").await.unwrap().trim_start_matches(':').parse().unwrap();
    about(Duration::from_millis(left), 100);
}

#[tokio::test]
async fn times_of_any_length_do() {
    let server = RedisServer::start().await;
    let limiter = redis(&server.address()).rate_limiter();
    for _ in 0..3 {
        assert_eq!(limiter.take("at once", quota(1, Duration::ZERO)).await.unwrap(), None);
    }
    let for_ever = quota(2, Duration::MAX);
    for _ in 0..2 {
        assert_eq!(limiter.take("for ever", for_ever).await.unwrap(), None);
    }
    let wait = limiter.take("for ever", for_ever).await.unwrap().unwrap();
    let full_in = limiter.charge("for ever and ever", for_ever, 20, Duration::ZERO).await.unwrap();
    for time in [wait, full_in] {
        assert!(time > 24 * 360 * HOUR, "{time:?}");
    }
    assert_eq!(limiter.charge("long ago", quota(2, HOUR), 1, Duration::MAX).await.unwrap(), Duration::ZERO);
}

#[tokio::test]
async fn a_bucket_takes_no_room_once_it_is_full_and_works_after_a_loss() {
    let server = RedisServer::start().await;
    let limiter = redis(&server.address()).rate_limiter();
    assert_eq!(limiter.take("a", quota(1, HOUR)).await.unwrap(), None);
    assert_eq!(server.command("EXISTS test:rate:a").await.as_deref(), Some(":1"));
    limiter.give_back("a", quota(1, HOUR)).await.unwrap();
    let gone = async {
        while server.command("EXISTS test:rate:a").await.as_deref() != Some(":0") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(limiter.take("a", quota(1, HOUR)).await.unwrap(), None);
    // Also the scripts are gone then.
    for command in ["FLUSHALL", "SCRIPT FLUSH"] {
        server.command(command).await;
    }
    assert_eq!(limiter.take("a", quota(1, HOUR)).await.unwrap(), None);
    assert!(limiter.take("a", quota(1, HOUR)).await.unwrap().is_some());
    drop(server);
    limiter.take("a", quota(1, HOUR)).await.unwrap_err();
}
