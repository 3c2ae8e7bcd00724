//! The task of a node that looks for what is unread.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{desk::Desk, looking::Gone};
use crate::tasks::TaskGroup;

/// How long one look may take, in which the chats that were claimed are held.
const LOOK: Duration = Duration::from_secs(300);
/// The longest pause between two looks, and after one that has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// Starts looking, until the node drains.
pub(crate) fn start(desk: Desk, tasks: &TaskGroup, draining: &CancellationToken) {
    let draining = draining.clone();
    tasks.spawn_until_stop(async move {
        draining.run_until_cancelled(desk.look_for_ever()).await;
    });
}

impl Desk {
    async fn look_for_ever(&self) {
        let mut gone = Gone::beginning(self);
        // Before that nobody counts as away for long enough.
        sleep(self.notifications.settings.after).await;
        let pause = (self.notifications.settings.after / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        loop {
            // A host's store or presence may panic.
            let looked = AssertUnwindSafe(timeout(LOOK, self.look(&mut gone))).catch_unwind().await;
            let is_more = match looked {
                Ok(Ok(Ok(is_more))) => is_more,
                Ok(Ok(Err(error))) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "what is unread was not looked at, and will be");
                    false
                }
                Ok(Err(_)) => {
                    tracing::warn!("looking at what is unread took too long, and goes on");
                    false
                }
                Err(_) => {
                    tracing::error!("looking at what is unread has panicked, and is begun anew");
                    false
                }
            };
            if !is_more {
                sleep(pause).await;
            }
        }
    }
}
