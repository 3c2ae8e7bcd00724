use std::time::Duration;

/// Times and bounds of background jobs.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::{Settings, jobs::JobSettings};
///
/// let jobs = JobSettings { keep_done: Duration::from_secs(3600), ..JobSettings::default() };
/// let settings = Settings { jobs, ..Settings::default() };
/// assert_eq!(settings.jobs.parallel, 16);
/// ```
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// How many jobs a node does at the same time; at least 1. Default: 16.
    pub parallel: usize,
    /// How long a node holds a job without a sign of life: after that time another one takes over what a node that died
    /// had begun. It is renewed after each third of that time. From 3 s to one hour; values outside are clamped. The
    /// clocks of nodes may differ by a sixth of it. Default: 30 s.
    pub lease: Duration,
    /// How often a node that has nothing to do asks for jobs that others have enqueued; what it has enqueued itself it
    /// begins at once. From 10 ms. Default: 2 s.
    pub poll_interval: Duration,
    /// How long a node that stops waits for the jobs that it has begun, from when it begins to
    /// [drain](crate::Messenger::drain); those that take longer are given back when it closes, and are begun anew by
    /// another node. Default: 5 s.
    pub stop_wait: Duration,
    /// How long jobs are kept that were done or cancelled. Those that failed for good are kept until they are
    /// [dropped](super::Jobs::drop). Default: 1 day.
    pub keep_done: Duration,
    /// How often jobs are counted for metrics, by each node that does any; zero: never. Default: 1 minute.
    pub count_interval: Duration,
}

impl JobSettings {
    pub(crate) fn clamped(self) -> Self {
        Self {
            parallel: self.parallel.max(1),
            lease: self.lease.clamp(Duration::from_secs(3), Duration::from_secs(3600)),
            poll_interval: self.poll_interval.max(Duration::from_millis(10)),
            ..self
        }
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            parallel: 16,
            lease: Duration::from_secs(30),
            poll_interval: Duration::from_secs(2),
            stop_wait: Duration::from_secs(5),
            keep_done: Duration::from_secs(86_400),
            count_interval: Duration::from_secs(60),
        }
    }
}
