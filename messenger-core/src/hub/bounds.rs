//! How much is asked at once, and how often.

use std::time::Duration;

/// Things asked of the store, presence or the bus in one call.
pub(super) const AT_ONCE: usize = 500;
/// Before something that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// What was read to enter rooms is read anew so often, if it was too old each time.
pub(super) const ATTEMPTS: usize = 8;
/// Changes read in one call, over all chats.
const CHANGES_AT_ONCE: u64 = 2000;

/// How many of these, which have so many changes each, are read in one call: one at least.
pub(super) fn fitting(changes: impl Iterator<Item = u64>) -> usize {
    let mut sum = 0;
    let fits = changes.take_while(|changes| {
        sum += changes;
        sum <= CHANGES_AT_ONCE
    });
    fits.count().max(1)
}
