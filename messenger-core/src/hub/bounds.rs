//! Batch sizes, and the limits and delays of retries.

use std::time::Duration;

/// Maximum number of items in one call of the store, presence or the bus.
pub(super) const AT_ONCE: usize = 500;
/// How often in a row it is asked who has gone.
pub(super) const SWEEPS: usize = 4;
/// Delay before a failed operation is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// How many times the data for entering rooms is read before giving up, if it is outdated each time.
pub(super) const ATTEMPTS: usize = 8;
/// Maximum number of changes read in one call, over all chats.
const CHANGES_AT_ONCE: u64 = 2000;

/// How many of these items, which have so many changes each, are read in one call; at least one.
pub(super) fn fitting(changes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = changes.take_while(|changes| {
        sum += changes;
        sum <= CHANGES_AT_ONCE
    });
    fits.count().max(1)
}
