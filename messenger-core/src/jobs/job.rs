use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::ports::JobPriority;

/// A kind of background jobs of a host: the payload is the value itself, and the constants say how it is done.
///
/// The payload is stored as JSON and may be read by another release: add fields with `#[serde(default)]`, and rename
/// none. It is written to the store as it is, so what is secret belongs elsewhere, and the job names where.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::jobs::{Job, Retry};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct SendInvoice {
///     number: u32,
/// }
///
/// impl Job for SendInvoice {
///     const KIND: &'static str = "invoices.send";
///     const RETRY: Retry = Retry { max_attempts: 5, ..Retry::DEFAULT };
///     // The office's mail server likes no more at once.
///     const PARALLEL: usize = 2;
/// }
/// assert_eq!(SendInvoice::TIMEOUT, Duration::from_secs(600));
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the kind: 1 to 64 of the characters `a` to `z`, `0` to `9`, `.`, `-` and `_`. Those that begin with
    /// `messenger.` are the service's own.
    const KIND: &'static str;

    /// How often it is tried, and when again.
    const RETRY: Retry = Retry::DEFAULT;

    /// How urgent it is among those of its kind, unless [another priority](super::Enqueue::priority) is asked for.
    const PRIORITY: JobPriority = JobPriority::Normal;

    /// How long an attempt may take; then it has failed. Default: 10 minutes.
    const TIMEOUT: Duration = Duration::from_secs(600);

    /// How many of this kind one node does at the same time, within [what it does in
    /// all](super::JobSettings::parallel). At least 1. Default: no bound of its own.
    const PARALLEL: usize = usize::MAX;
}

/// How often a job is tried, and how long after a failure the next attempt is: twice as long each time, and by chance
/// between half of that and all of it, so that what failed together is not tried again together.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::jobs::Retry;
///
/// // After 5 s, 10 s, 20 s … 1 h; in all for about ten hours.
/// assert_eq!(Retry::DEFAULT.max_attempts, 20);
/// assert_eq!(Retry::DEFAULT.longest, Duration::from_secs(3600));
/// assert_eq!(Retry::NEVER.max_attempts, 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How often it is tried at most, from 1. One that is tried once is never done twice, and not at all if its node
    /// dies meanwhile.
    pub max_attempts: u32,
    /// The longest pause after the first failure.
    pub first: Duration,
    /// The longest pause after any failure.
    pub longest: Duration,
}

impl Retry {
    /// 20 attempts, with pauses of 5 s to one hour.
    pub const DEFAULT: Self =
        Self { max_attempts: 20, first: Duration::from_secs(5), longest: Duration::from_secs(3600) };

    /// One attempt only.
    pub const NEVER: Self = Self { max_attempts: 1, ..Self::DEFAULT };

    /// The pause after this attempt has failed, counted from 1.
    pub(crate) fn pause(&self, attempt: u32, random: [u8; 4]) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let whole = self.first.saturating_mul(doubled).min(self.longest);
        let chance = f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX);
        whole.mul_f64(f64::midpoint(1.0, chance))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread_over_their_upper_half() {
        let retry =
            Retry { max_attempts: 9, first: Duration::from_secs(4), longest: Duration::from_secs(60) };
        for (attempt, half) in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (40, 30), (u32::MAX, 30)] {
            assert_eq!(retry.pause(attempt, [0; 4]), Duration::from_secs(half), "{attempt}");
            assert_eq!(retry.pause(attempt, [255; 4]), Duration::from_secs(2 * half), "{attempt}");
        }
        let middle = retry.pause(1, [128, 0, 0, 0]).as_secs_f64();
        assert!((middle - 3.0).abs() < 0.001, "{middle}");
        let forever = Retry { longest: Duration::MAX, ..retry };
        assert!(forever.pause(u32::MAX, [0; 4]) > Duration::from_secs(1 << 31));
    }
}
