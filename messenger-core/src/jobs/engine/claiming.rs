//! Asking the store for jobs, whenever there may be some and somebody to do them.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{ANSWER, Engine, LONGEST_PAUSE, outage::Watch};
use crate::{
    jobs::settings::JobSettings,
    ports::{ClaimJobs, ClaimedJob, StoreResult},
};

/// The shortest time between two questions of a node to which there was no answer lately.
const SHORTEST: Duration = Duration::from_millis(100);

impl Engine {
    /// Claims jobs and begins them, until this node stops.
    pub(super) async fn claim_until_stop(self: Arc<Self>) {
        // Who waits for those at work waits for what is being claimed, too.
        let _counted = self.running.token();
        let mut outage = self.outage.watch("claiming");
        let mut polls = Polls::new(&self.settings);
        while !self.stages.no_more.is_cancelled() {
            if polls.are_due() {
                self.kinds.want(None);
                polls.begun();
            }
            self.kinds.want(Some(&self.wake.take_due(self.context.now())));
            let shares = self.kinds.shares();
            if shares.is_empty() {
                self.wait(polls.next).await;
                continue;
            }
            match self.claim(&shares, &mut outage).await {
                Ok(0) => {}
                Ok(_) => {
                    polls.are_worth_while();
                    // What was begun has its turn, and where it is over already, the next question is for as many.
                    tokio::task::yield_now().await;
                }
                Err(_) => {
                    self.kinds.want(None);
                    self.stages
                        .no_more
                        .run_until_cancelled(tokio::time::sleep(outage.pause(LONGEST_PAUSE)))
                        .await;
                }
            }
        }
    }

    /// Waits until there may be something to claim: not longer than until `next`.
    async fn wait(&self, next: Instant) {
        let left = self.wake.time_left(self.context.now());
        let due = left.map_or(next, |left| next.min(Instant::now() + left.max(Duration::from_millis(1))));
        tokio::select! {
            // Whichever it is, the same follows; without chance, a simulation can be repeated.
            biased;
            () = self.wake.changed() => {}
            () = self.kinds.freed() => {}
            () = sleep_until(due) => {}
            () = self.stages.no_more.cancelled() => {}
        }
    }

    /// Claims as many as these shares are, begins them, and tells how many there were.
    async fn claim(self: &Arc<Self>, shares: &[(usize, usize)], outage: &mut Watch) -> StoreResult<usize> {
        let lease = self.settings.lease;
        let (asked, now) = (Instant::now(), self.context.now());
        let kinds =
            shares.iter().map(|(kind, share)| (self.kinds.get(*kind).registration.kind.clone(), *share));
        let claim = ClaimJobs { kinds: kinds.collect(), now, until: now.after(lease) };
        // Begun, it is waited for, also when this node stops: what was claimed unheard of is done after the lease.
        let claimed = outage.call(ANSWER.min(lease / 3), self.store.claim_jobs(&claim)).await?;
        for (kind, share) in shares {
            let name = &self.kinds.get(*kind).registration.kind;
            let got = claimed.iter().filter(|claimed| claimed.kind == *name).count();
            self.kinds.answered(*kind, *share, got);
        }
        let count = claimed.len();
        for claimed in claimed {
            self.begin(claimed, reliable_until(asked, lease));
        }
        Ok(count)
    }

    fn begin(self: &Arc<Self>, claimed: ClaimedJob, end: Instant) {
        let Some(kind) = self.kinds.find(&claimed.kind) else {
            // No store answers so; the lease ends, and somebody else does it.
            return tracing::error!(kind = %claimed.kind, "a job was claimed that was not asked for");
        };
        let place = self.kinds.take(kind);
        let holding = self.held.hold(claimed.claim, end);
        self.running.spawn(Arc::clone(self).run(claimed, kind, place, holding));
    }
}

/// Until when a lease is relied on that was asked for at this time: somewhat shorter, for the clocks of nodes differ.
pub(super) fn reliable_until(asked: Instant, lease: Duration) -> Instant {
    asked + lease * 5 / 6
}

/// When to ask without a reason: often after there was something to do, and more rarely the longer there was nothing.
struct Polls {
    next: Instant,
    pause: Duration,
    longest: Duration,
}

impl Polls {
    fn new(settings: &JobSettings) -> Self {
        let longest = settings.poll_interval;
        Self { next: Instant::now(), pause: SHORTEST.min(longest), longest }
    }

    fn are_due(&self) -> bool {
        Instant::now() >= self.next
    }

    fn begun(&mut self) {
        self.next = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(self.longest);
    }

    fn are_worth_while(&mut self) {
        self.pause = SHORTEST.min(self.longest);
        self.next = self.next.min(Instant::now() + self.pause);
    }
}
