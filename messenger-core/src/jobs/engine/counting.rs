//! Counting the jobs in the store, for metrics.

use std::sync::Arc;

use tokio::time::sleep;

use super::{ANSWER, Engine, meters::Counts};

impl Engine {
    pub(super) async fn count_until_stop(self: Arc<Self>) {
        let interval = self.settings.count_interval;
        if interval.is_zero() {
            return;
        }
        let mut outage = self.outage.watch("counting");
        let mut counts = Counts::default();
        while self.stages.no_more.run_until_cancelled(sleep(interval)).await.is_some() {
            let now = self.context.now();
            if let Ok(counted) = outage.call(ANSWER, self.store.job_counts(now)).await {
                counts.set(&counted, now);
            }
        }
    }
}
