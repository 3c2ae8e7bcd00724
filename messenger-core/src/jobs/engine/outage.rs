//! Whether the store can be used for jobs: it is logged once when that ends, and once when it is so again.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;

use crate::ports::{StoreError, StoreErrorKind, StoreResult};

/// How many activities of the engine fail at present.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage(Arc<AtomicUsize>);

/// One activity: how its calls of the store go.
#[derive(Debug)]
pub(super) struct Watch {
    outage: Outage,
    what: &'static str,
    failures: u32,
}

impl Outage {
    /// An activity; `what` says in the log what fails: "claiming", for instance.
    pub(super) fn watch(&self, what: &'static str) -> Watch {
        Watch { outage: self.clone(), what, failures: 0 }
    }
}

impl Watch {
    /// Waits for the answer of a call for no longer than this, and notes how it went.
    pub(super) async fn call<T>(
        &mut self,
        time: Duration,
        call: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        let late = |late| Err(StoreError::new(StoreErrorKind::Unavailable, late));
        let answer = timeout(time, call).await.unwrap_or_else(late);
        match &answer {
            Ok(_) => self.works(),
            Err(error) => self.fails(error),
        }
        answer
    }

    /// How long to wait after so many failures in a row: longer each time.
    pub(super) fn pause(&self, longest: Duration) -> Duration {
        const FIRST: Duration = Duration::from_millis(250);
        FIRST.saturating_mul(2_u32.saturating_pow(self.failures.saturating_sub(1))).min(longest)
    }

    fn fails(&mut self, error: &StoreError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 && self.outage.0.fetch_add(1, Ordering::AcqRel) == 0 {
            let error = error as &dyn std::error::Error;
            tracing::warn!(what = self.what, error, "the store can't be used for jobs");
        }
    }

    fn works(&mut self) {
        if self.failures > 0 && self.outage.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            tracing::info!(what = self.what, "the store can be used for jobs again");
        }
        self.failures = 0;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.failures > 0 {
            self.outage.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
