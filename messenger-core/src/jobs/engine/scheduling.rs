//! Enqueuing the jobs that recur, when their time has come: one node does it for each time.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{ANSWER, Engine, LONGEST_PAUSE, outage::Watch};
use crate::{domain::Timestamp, ports::StoreResult};

/// How long after the last look schedules are looked at again, at the latest: clocks jump.
const LOOK: Duration = Duration::from_secs(60);
/// How soon they are looked at again after another node was faster.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks at the schedules whenever one of them is due, until this node stops.
    pub(super) async fn schedule_until_stop(self: Arc<Self>) {
        let mut outage = self.outage.watch("scheduling");
        while !self.recurring.is_empty() && !self.stages.no_more.is_cancelled() {
            let pause = match self.move_schedules(&mut outage).await {
                Ok(next) => next.since(self.context.now()).clamp(Duration::from_millis(1), LOOK),
                Err(_) => outage.pause(LONGEST_PAUSE),
            };
            self.stages.no_more.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Moves the schedules that are due or have another rule, and tells when to look again.
    async fn move_schedules(&self, outage: &mut Watch) -> StoreResult<Timestamp> {
        let stored = outage.call(ANSWER, self.store.schedules()).await?;
        let now = self.context.now();
        let mut next = now.after(LOOK);
        for recurring in &self.recurring {
            let known = stored.iter().find(|stored| stored.name == recurring.name);
            let Some(step) = recurring.step(known, &self.context) else {
                next = known.map_or(next, |known| next.min(known.next_at));
                continue;
            };
            if !outage.call(ANSWER, self.store.move_schedule(&step)).await? {
                next = next.min(now.after(LOOK_AGAIN));
                continue;
            }
            next = next.min(step.next_at);
            if let Some(job) = &step.job {
                self.wake.note(&job.kind, job.run_at);
            }
        }
        Ok(next)
    }
}
