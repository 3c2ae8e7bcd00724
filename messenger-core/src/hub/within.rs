//! Presence and the bus answer in time, or have failed.

use std::{future::Future, time::Duration};

use tokio::time::timeout;

use crate::ports::{BusError, PresenceError};

/// For an answer of presence or the bus: what takes longer has failed.
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

/// What presence or the bus answers, if it does so in time.
pub(super) async fn within<T, E: From<Late>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(Late.into()))
}
