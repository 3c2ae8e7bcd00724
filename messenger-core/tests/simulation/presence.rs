//! Presence that can be out of reach.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{memory::MemoryPresence, ports::*};
use tokio::time::{Instant, sleep};

use crate::record::Record;

/// Presence as one node reaches it.
pub(crate) struct SimPresence {
    pub(crate) inner: Arc<MemoryPresence>,
    pub(crate) record: Record,
    pub(crate) cut_until: Mutex<Option<Instant>>,
    pub(crate) dead: Mutex<bool>,
}

impl SimPresence {
    pub(crate) fn new(inner: Arc<MemoryPresence>, record: Record) -> Self {
        Self { inner, record, cut_until: Mutex::default(), dead: Mutex::default() }
    }

    pub(crate) fn cut(&self, time: Duration) {
        *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    pub(crate) fn kill(&self) {
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    async fn travel(&self) -> Result<(), PresenceError> {
        let time = self.record.millis(0, 3);
        sleep(time).await;
        if *self.dead.lock().unwrap_or_else(PoisonError::into_inner) {
            std::future::pending::<()>().await;
        }
        let until = *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(PresenceError("presence is out of reach".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl PresenceStore for SimPresence {
    async fn renew(
        &self,
        leases: &[Lease],
        ttl: Duration,
    ) -> Result<Vec<messenger_core::UserId>, PresenceError> {
        self.travel().await?;
        let came = self.inner.renew(leases, ttl).await;
        self.travel().await?;
        came
    }
    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError> {
        self.travel().await?;
        self.inner.release(leases).await
    }
    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError> {
        self.travel().await?;
        let gone = self.inner.sweep(grace, limit).await;
        self.travel().await?;
        gone
    }
    async fn query(&self, users: &[messenger_core::UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        self.travel().await?;
        self.inner.query(users).await
    }
}
