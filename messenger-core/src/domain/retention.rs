use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// How long messages are kept: from a minute to a hundred years, in whole seconds.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::RetentionPeriod;
///
/// let year = RetentionPeriod::from_secs(365 * 86_400)?;
/// assert_eq!(year.as_duration(), Duration::from_secs(31_536_000));
/// assert!(RetentionPeriod::from_secs(59).is_err());
/// assert!(RetentionPeriod::from_secs(RetentionPeriod::LONGEST.as_secs() + 1).is_err());
/// # Ok::<(), messenger_core::InvalidRetention>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "u64", into = "u64")]
pub struct RetentionPeriod(u64);

/// A time that is no [`RetentionPeriod`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 60 to 3155760000 seconds: from a minute to a hundred years")]
pub struct InvalidRetention;

impl RetentionPeriod {
    /// A minute.
    pub const SHORTEST: Self = Self(60);
    /// A hundred years of 365.25 days.
    pub const LONGEST: Self = Self(3_155_760_000);

    /// So many seconds.
    ///
    /// # Errors
    /// [`InvalidRetention`] if it is less than a minute or more than a hundred years.
    pub const fn from_secs(seconds: u64) -> Result<Self, InvalidRetention> {
        if seconds < Self::SHORTEST.0 || seconds > Self::LONGEST.0 {
            return Err(InvalidRetention);
        }
        Ok(Self(seconds))
    }

    /// In seconds.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// As a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// The shorter one of those that there are.
    ///
    /// ```
    /// use messenger_core::RetentionPeriod;
    ///
    /// let [day, year] = [86_400, 31_536_000].map(|seconds| RetentionPeriod::from_secs(seconds).ok());
    /// assert_eq!(RetentionPeriod::shorter(day, year), day);
    /// assert_eq!(RetentionPeriod::shorter(None, year), year);
    /// assert_eq!(RetentionPeriod::shorter(None, None), None);
    /// ```
    pub fn shorter(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

impl TryFrom<u64> for RetentionPeriod {
    type Error = InvalidRetention;

    fn try_from(seconds: u64) -> Result<Self, InvalidRetention> {
        Self::from_secs(seconds)
    }
}

impl From<RetentionPeriod> for u64 {
    fn from(period: RetentionPeriod) -> Self {
        period.0
    }
}

impl fmt::Display for RetentionPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}
