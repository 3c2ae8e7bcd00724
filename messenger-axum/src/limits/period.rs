use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// Whether a period is running, and since when: one value, so that whoever ends it and whoever begins the next one at the
/// same moment never take the beginning of one for that of the other.
#[derive(Debug)]
pub(super) struct Period {
    made_at: Instant,
    /// Nanoseconds from then to the beginning, and 1; 0 while none is running.
    since: AtomicU64,
}

impl Period {
    /// None is running yet.
    pub(super) fn new() -> Self {
        Self { made_at: Instant::now(), since: AtomicU64::new(0) }
    }

    /// Begins a period unless one is running. Returns whether it did.
    pub(super) fn begin(&self) -> bool {
        self.since.load(Ordering::Acquire) == 0
            && self.since.compare_exchange(0, self.now(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the period. Returns how long it was.
    pub(super) fn end(&self) -> Duration {
        let since = self.since.swap(0, Ordering::AcqRel);
        if since == 0 { Duration::ZERO } else { Duration::from_nanos(self.now().saturating_sub(since)) }
    }

    fn now(&self) -> u64 {
        // Enough for centuries.
        u64::try_from(self.made_at.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_period_is_as_long_as_since_it_first_began() {
        let period = Period::new();
        assert_eq!(period.end(), Duration::ZERO, "none was running");
        for length in [Duration::ZERO, Duration::from_secs(3)] {
            assert!(period.begin());
            tokio::time::advance(length).await;
            assert!(!period.begin(), "it is running");
            assert_eq!(period.end(), length);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[test]
    fn none_seems_shorter_because_the_next_one_begins_while_it_is_ended() {
        let (period, is_over) = (Period::new(), AtomicBool::new(false));
        let least = Duration::from_micros(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        period.begin();
                    }
                });
            }
            let shortest = (0..100_000).map(|_| {
                period.begin();
                let begun = Instant::now();
                while begun.elapsed() < least {
                    std::hint::spin_loop();
                }
                period.end()
            });
            let shortest = shortest.min();
            is_over.store(true, Ordering::Relaxed);
            assert!(shortest >= Some(least), "{shortest:?}");
        });
    }
}
