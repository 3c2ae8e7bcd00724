//! Renewing leases while the work goes on.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Engine, claiming::reliable_until, outage::Watch};
use crate::ports::JobClaim;

/// Maximum number of leases that are renewed in one call.
const AT_ONCE: usize = 500;

impl Engine {
    /// Renews what is held after each third of a lease; more often while that fails.
    pub(super) async fn renew_until_the_end(self: Arc<Self>) {
        let mut outage = self.outage.watch("renewing");
        let lease = self.settings.lease;
        let mut pause = lease / 3;
        while self.stages.all_over.run_until_cancelled(sleep(pause)).await.is_some() {
            let begun = Instant::now();
            let mut is_renewed = true;
            for claims in self.held.all().chunks(AT_ONCE) {
                is_renewed &= self.renew(claims, &mut outage).await;
            }
            let wanted = if is_renewed { lease / 3 } else { lease / 15 };
            pause = wanted.saturating_sub(begun.elapsed()).max(Duration::from_millis(10));
        }
    }

    async fn renew(&self, claims: &[JobClaim], outage: &mut Watch) -> bool {
        let lease = self.settings.lease;
        let asked = Instant::now();
        let until = self.context.now().after(lease);
        let Ok(held) = outage.call(lease / 6, self.store.renew_jobs(claims, until)).await else {
            return false;
        };
        for claim in claims {
            if held.contains(&claim.job) {
                self.held.renewed(*claim, reliable_until(asked, lease));
            } else {
                self.held.lost(*claim);
            }
        }
        true
    }
}
