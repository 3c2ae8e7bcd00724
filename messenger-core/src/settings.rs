use std::time::Duration;

use crate::{
    domain::RetentionPeriod,
    hub::HubSettings,
    jobs::JobSettings,
    passwords::{PasswordCost, Peppers},
};

/// Durations, queue lengths, and how passwords are hashed.
///
/// ```
/// use std::time::Duration;
/// use messenger_core::Settings;
///
/// let settings = Settings { session_lifetime: Duration::from_secs(3600), ..Settings::default() };
/// assert_eq!(settings.commit_wait, Duration::from_secs(10));
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a session lasts after it was last used. Default: 30 days.
    pub session_lifetime: Duration,
    /// How long a send or a mark waits for its commit before the caller is answered that the service is unavailable.
    /// Default: 10 s.
    pub commit_wait: Duration,
    /// Maximum number of messages or marks in one commit; at least 1. Default: 256.
    pub batch: usize,
    /// Maximum number of messages or marks that wait for a commit, per lane; at least 1. Default: 4,096.
    pub queue: usize,
    /// The cost of one password hash. Default: that of [`PasswordCost`].
    pub password_cost: PasswordCost,
    /// What is hashed with each password and is not in the database. Default: nothing.
    pub password_peppers: Option<Peppers>,
    /// Times and bounds of live connections. Default: those of [`HubSettings`].
    pub hub: HubSettings,
    /// How long messages are kept. Default: for good.
    pub retention: Option<RetentionPeriod>,
    /// Times and bounds of background jobs. Default: those of [`JobSettings`].
    pub jobs: JobSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_lifetime: Duration::from_secs(30 * 86_400),
            commit_wait: Duration::from_secs(10),
            batch: 256,
            queue: 4096,
            password_cost: PasswordCost::default(),
            password_peppers: None,
            hub: HubSettings::default(),
            retention: None,
            jobs: JobSettings::default(),
        }
    }
}
