use std::fmt;

use http::request::Parts;
use messenger_core::Result;

use crate::{
    client,
    limits::{Limiter, SharedLimiter},
    options::Options,
};

/// The limit on [log-ins](crate::RateLimits::logins) from one address, for routes of a host's own that ask for a secret.
/// Counted apart from the log-ins of the API, except over all nodes.
///
/// ```
/// use http::Request;
/// use messenger_axum::{LoginLimit, Options};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let limit = LoginLimit::new(&Options::new());
/// let (parts, ()) = Request::new(()).into_parts();
/// // Before the secret is looked at.
/// assert!(limit.take(&parts).await.is_ok());
/// # });
/// ```
pub struct LoginLimit {
    limiter: Limiter,
    trusted_proxies: usize,
}

impl LoginLimit {
    /// With the rates, the limiter and the proxies of these options.
    pub fn new(options: &Options) -> Self {
        let limiter = Limiter::new(options.rate_limits, SharedLimiter::of(options));
        Self { limiter, trusted_proxies: options.trusted_proxies }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Error::RateLimited`](messenger_core::Error::RateLimited).
    pub async fn take(&self, parts: &Parts) -> Result<()> {
        self.limiter.login(client::address(&parts.extensions, &parts.headers, self.trusted_proxies)).await
    }
}

impl fmt::Debug for LoginLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginLimit").finish_non_exhaustive()
    }
}
