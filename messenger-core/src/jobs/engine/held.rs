//! The claims that this node holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::JobId,
    ports::{FinishedJob, JobClaim},
};

/// All claims of this node, from the moment in which it has them until their end is stored.
#[derive(Debug, Default)]
pub(crate) struct Held {
    claims: Mutex<HashMap<JobClaim, Arc<Lease>>>,
}

/// A claim that is held as long as this lives; it is renewed meanwhile.
#[derive(Debug)]
pub(super) struct Holding {
    held: Arc<Held>,
    lease: Arc<Lease>,
    claim: JobClaim,
}

/// A job whose end is to be stored. The claim is held until then.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) finished: FinishedJob,
    /// The number of its kind.
    pub(super) kind: usize,
    #[expect(dead_code, reason = "it ends with this")]
    pub(super) holding: Holding,
}

#[derive(Debug)]
struct Lease {
    /// Until when the claim is relied on, unless it is renewed.
    end: Mutex<Instant>,
    lost: CancellationToken,
}

impl Held {
    /// Holds a claim, which is lost at this moment unless it is renewed.
    pub(super) fn hold(self: &Arc<Self>, claim: JobClaim, end: Instant) -> Holding {
        let lease = Arc::new(Lease { end: Mutex::new(end), lost: CancellationToken::new() });
        self.claims().insert(claim, Arc::clone(&lease));
        Holding { held: Arc::clone(self), lease, claim }
    }

    /// All that have not been lost yet.
    pub(super) fn all(&self) -> Vec<JobClaim> {
        let claims = self.claims();
        let live = claims.iter().filter(|(_, lease)| !lease.lost.is_cancelled());
        let mut all: Vec<_> = live.map(|(claim, _)| *claim).collect();
        drop(claims);
        all.sort_unstable_by_key(|claim| (claim.job, claim.number));
        all
    }

    pub(super) fn renewed(&self, claim: JobClaim, end: Instant) {
        if let Some(lease) = self.claims().get(&claim) {
            lease.extend(end);
        }
    }

    /// Another has it, or the job was cancelled.
    pub(super) fn lost(&self, claim: JobClaim) {
        if let Some(lease) = self.claims().get(&claim) {
            lease.lost.cancel();
        }
    }

    /// The job was cancelled: if it is at work here, that ends.
    pub(crate) fn cancelled(&self, job: JobId) {
        let claims = self.claims();
        claims.iter().filter(|(claim, _)| claim.job == job).for_each(|(_, lease)| lease.lost.cancel());
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<JobClaim, Arc<Lease>>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn end(&self) -> Instant {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extend(&self, to: Instant) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        *end = to.max(*end);
    }
}

impl Holding {
    pub(super) const fn claim(&self) -> JobClaim {
        self.claim
    }

    /// Waits until the claim is lost: the job was cancelled, another may have it, or it was not renewed in time.
    pub(super) async fn lost(&self) {
        loop {
            let end = self.lease.end();
            tokio::select! {
                () = self.lease.lost.cancelled() => return,
                () = sleep_until(end) => if self.lease.end() <= end {
                    self.lease.lost.cancel();
                    return;
                },
            }
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.held.claims().remove(&self.claim);
    }
}
