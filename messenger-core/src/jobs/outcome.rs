use std::{error::Error, fmt, time::Duration};

/// What the handler of a job answers: the work has been done, or why not.
pub type JobResult = Result<(), JobError>;

/// Why a job was not done. Every error becomes one with `?`, and is then tried again as the
/// [policy of its kind](super::Retry) says.
///
/// What the error and its sources say is kept with the job, and logged, for those who operate the service: it should
/// quote no secrets and no messages.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::jobs::{JobError, JobResult};
///
/// fn deliver(answer: u16) -> JobResult {
///     match answer {
///         200 => Ok(()),
///         // It is not time for it: this does not count as an attempt.
///         425 => Err(JobError::snooze(Duration::from_secs(60))),
///         // No other attempt would change that.
///         410 => Err(JobError::dead("the receiver is gone")),
///         429 => Err(JobError::failed("too many").retry_in(Duration::from_secs(30))),
///         other => Err(JobError::failed(format!("answered {other}"))),
///     }
/// }
/// fn parse(text: &str) -> Result<u32, JobError> {
///     Ok(text.parse()?)
/// }
/// assert!(deliver(200).is_ok());
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
#[derive(Debug)]
pub struct JobError(pub(crate) Why);

#[derive(Debug)]
pub(crate) enum Why {
    Failed { cause: Cause, pause: Option<Duration> },
    Dead { cause: Cause },
    Snoozed { time: Duration },
}

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

impl JobError {
    /// The attempt failed; another may not.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Why::Failed { cause: cause.into(), pause: None })
    }

    /// It failed in a way that no other attempt would change: it is among the dead at once.
    pub fn dead(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Why::Dead { cause: cause.into() })
    }

    /// It is not time for it: it is begun again after this time, and this does not count as an attempt.
    pub const fn snooze(time: Duration) -> Self {
        Self(Why::Snoozed { time })
    }

    /// Sets how long after this failure the next attempt is, in place of what the policy says. Does nothing to others
    /// than [`failed`](Self::failed).
    #[must_use]
    pub fn retry_in(self, time: Duration) -> Self {
        match self.0 {
            Why::Failed { cause, .. } => Self(Why::Failed { cause, pause: Some(time) }),
            other => Self(other),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Failed { cause, .. } | Why::Dead { cause } => f.write_str(&chain(&**cause)),
            Why::Snoozed { time } => write!(f, "not for another {} s", time.as_secs_f64()),
        }
    }
}

/// The most bytes of a reason that are stored.
const REASON: usize = 2000;

/// What an error and its sources say, as far as it is stored.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors say what their source says.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    shortened(&text.replace('\0', "\u{fffd}")).to_owned()
}

fn shortened(text: &str) -> &str {
    let fits = (0..=REASON.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..fits.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{StoreError, StoreErrorKind};

    #[test]
    fn a_reason_is_what_all_causes_say_as_far_as_it_fits() {
        let cause = std::io::Error::other(std::io::Error::other("the line is cut"));
        let error = StoreError::new(StoreErrorKind::Unavailable, cause);
        assert_eq!(
            JobError::from(error).to_string(),
            "the store can't be reached or took too long: the line is cut"
        );
        assert_eq!(JobError::dead("a\0b").to_string(), "a\u{fffd}b");
        let long = JobError::failed("ä".repeat(1500)).to_string();
        assert_eq!((long.len(), long.chars().count()), (2000, 1000));
        let long = JobError::failed(format!("x{}", "ä".repeat(1500))).to_string();
        assert_eq!(long.len(), 1999, "no half of a character");
    }

    #[test]
    fn a_pause_of_its_own_is_for_failures_only() {
        let minute = Duration::from_secs(60);
        assert!(
            matches!(JobError::failed("x").retry_in(minute).0, Why::Failed { pause: Some(time), .. } if time == minute)
        );
        assert!(matches!(JobError::dead("x").retry_in(minute).0, Why::Dead { .. }));
        let snoozed = JobError::snooze(minute).retry_in(2 * minute);
        assert_eq!(snoozed.to_string(), "not for another 60 s");
    }
}
