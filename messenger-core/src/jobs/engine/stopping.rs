//! The end of a node's workers: first nothing more is begun, then what was begun ends, then that is stored.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Engine;

/// How long what was given back, or has just ended, may take to be stored.
const STORING: Duration = Duration::from_secs(5);

impl Engine {
    /// Goes through the stages, once this node stops.
    pub(super) async fn stop_when(&self, stop: CancellationToken) {
        // Jobs have the time since this node began to drain.
        let _ = stop.run_until_cancelled(self.stages.no_more.cancelled()).await;
        let deadline = Instant::now() + self.settings.stop_wait;
        stop.cancelled().await;
        self.stages.no_more.cancel();
        self.running.close();
        if timeout_at(deadline, self.running.wait()).await.is_err() {
            tracing::info!(jobs = self.running.len(), "jobs are given back, for this node stops");
            self.stages.give_back.cancel();
            // What does not let itself be dropped, such as a handler that blocks, is not waited for.
            let _ = timeout(STORING, self.running.wait()).await;
        }
        self.stages.last_end.cancel();
        let _ = timeout(STORING, self.stages.all_stored.cancelled()).await;
        self.stages.give_up.cancel();
        self.stages.all_over.cancel();
    }
}
