//! Time limits on calls of presence and the bus.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::ports::{BusError, PresenceError};

/// How long presence or the bus may take to answer; a longer call counts as failed.
const ANSWER: Duration = Duration::from_secs(10);

/// Presence or the bus did not answer in time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it took too long")]
pub(super) struct Late;

impl From<Late> for PresenceError {
    fn from(late: Late) -> Self {
        Self(late.into())
    }
}

impl From<Late> for BusError {
    fn from(late: Late) -> Self {
        Self(late.into())
    }
}

/// Returns the answer of presence or the bus, if it comes in time.
pub(super) async fn within<T, E: From<Late>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(Late.into()))
}
