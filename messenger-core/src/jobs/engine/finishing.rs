//! Storing what became of jobs: what ended while the last commit was under way is the next one.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tokio::{sync::mpsc, time::sleep};

use super::{ANSWER, ENDS, Engine, LONGEST_PAUSE, held::Finished, outage::Watch};
use crate::ports::{FinishedJob, JobOutcome, StoreErrorKind};

impl Engine {
    /// Stores the ends of jobs, until there are no more and will be none.
    pub(super) async fn finish_until_the_end(self: Arc<Self>, mut ends: mpsc::Receiver<Finished>) {
        let _over = self.stages.all_stored.clone().drop_guard();
        let mut outage = self.outage.watch("finishing");
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.stages.give_up.cancelled() => return,
                count = ends.recv_many(&mut batch, ENDS) => if count == 0 { return },
                () = self.stages.last_end.cancelled(), if !ends.is_closed() => {
                    ends.close();
                    continue;
                }
            }
            let storing = AssertUnwindSafe(self.store_ends(&batch, &mut outage)).catch_unwind();
            let stored = self.stages.give_up.run_until_cancelled(storing).await;
            if !matches!(stored, Some(Ok(()))) {
                tracing::error!(
                    jobs = batch.len(),
                    "the ends of jobs were not stored: they are done once more"
                );
            }
            batch.clear();
        }
    }

    /// Stores a batch, however often it takes. A claim that was lost, or whose end has been stored and the answer was
    /// not heard, changes nothing.
    async fn store_ends(&self, batch: &[Finished], outage: &mut Watch) {
        let all: Vec<FinishedJob> = batch.iter().map(|end| end.finished.clone()).collect();
        loop {
            match self.store_once(&all, outage).await {
                Ok(()) => return self.note_due(batch),
                Err(StoreErrorKind::Unavailable | StoreErrorKind::Conflict) => {}
                // One of them may be what the store does not take: the others are stored without it.
                Err(_) if all.len() > 1 => break,
                Err(_) => return log_refused(&all[0]),
            }
            sleep(outage.pause(LONGEST_PAUSE)).await;
        }
        for end in batch {
            Box::pin(self.store_ends(std::slice::from_ref(end), outage)).await;
        }
    }

    async fn store_once(&self, all: &[FinishedJob], outage: &mut Watch) -> Result<(), StoreErrorKind> {
        let now = self.context.now();
        let held =
            outage.call(ANSWER, self.store.finish_jobs(all, now)).await.map_err(|error| error.kind())?;
        let lost = held.iter().filter(|held| !**held).count();
        if lost > 0 {
            tracing::debug!(jobs = lost, "jobs have ended that were no longer held");
        }
        Ok(())
    }

    /// This node knows when these are due again, and that those may be that waited for one that is done.
    fn note_due(&self, batch: &[Finished]) {
        for Finished { finished, kind, .. } in batch {
            let kind = &self.kinds.get(*kind).registration.kind;
            match finished.outcome {
                JobOutcome::Failed { retry_at: due, .. } | JobOutcome::Snoozed { until: due } => {
                    self.wake.note(kind, due);
                }
                JobOutcome::Done => self.wake.note_done(finished.claim.job, self.context.now()),
                JobOutcome::Dead { .. } => {}
            }
        }
    }
}

fn log_refused(finished: &FinishedJob) {
    tracing::error!(job = %finished.claim.job, "the store does not take the end of a job: it is done once more");
}
