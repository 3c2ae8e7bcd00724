//! One job at work.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::{
    Engine,
    held::{Finished, Holding},
    kinds::{Kind, Place},
    meters::Ending,
};
use crate::{
    domain::JobId,
    jobs::{
        JobError, JobResult,
        outcome::{Why, chain},
    },
    ports::{ClaimedJob, FinishedJob, JobKind, JobOutcome},
};

/// An attempt, for the log.
struct Attempt {
    kind: JobKind,
    job: JobId,
    number: u32,
    is_last: bool,
}

/// How work ended that was not lost.
enum Ended {
    Worked(JobResult),
    GivenBack,
}

impl Engine {
    /// Does a job, and hands over what became of it. The place is free after that, and the claim is held until it is
    /// stored.
    pub(super) async fn run(
        self: Arc<Self>,
        claimed: ClaimedJob,
        kind: usize,
        place: Place,
        holding: Holding,
    ) {
        let of_kind = self.kinds.get(kind);
        let begun = Instant::now();
        of_kind.meters.claimed.increment(1);
        of_kind.meters.wait.record(self.context.now().since(claimed.run_at).as_secs_f64());
        let attempt = Attempt::of(&claimed);
        let is_too_late = self.stages.no_more.is_cancelled();
        let ended = tokio::select! {
            biased;
            () = holding.lost() => None,
            () = self.given_back(is_too_late) => Some(Ended::GivenBack),
            result = work(of_kind, claimed) => Some(Ended::Worked(result)),
        };
        let Some(ended) = ended else {
            tracing::info!(kind = %attempt.kind, job = %attempt.job, "a job was cancelled, or its lease was lost");
            return of_kind.meters.ended(Ending::Lost, begun.elapsed());
        };
        let (outcome, ending) = match ended {
            Ended::Worked(result) => self.outcome(of_kind, &attempt, result),
            Ended::GivenBack => (JobOutcome::Snoozed { until: self.context.now() }, Ending::GivenBack),
        };
        of_kind.meters.ended(ending, begun.elapsed());
        let finished = FinishedJob { claim: holding.claim(), outcome };
        // Fails only when this node has stopped, and gave up storing what became of jobs.
        let _ = self.ends.send(Finished { finished, kind, holding }).await;
        drop(place);
    }

    /// Waits until what is at work is given back; what was claimed while this node began to stop is at once.
    async fn given_back(&self, is_too_late: bool) {
        if !is_too_late {
            self.stages.give_back.cancelled().await;
        }
    }

    fn outcome(&self, kind: &Kind, attempt: &Attempt, result: JobResult) -> (JobOutcome, Ending) {
        let now = self.context.now();
        let (cause, pause) = match result {
            Ok(()) => return (JobOutcome::Done, Ending::Done),
            Err(JobError(Why::Snoozed { time })) => {
                return (JobOutcome::Snoozed { until: now.after(time) }, Ending::Snoozed);
            }
            Err(JobError(Why::Dead { cause })) => {
                let reason = chain(&*cause);
                attempt.log_dead(&reason);
                return (JobOutcome::Dead { reason }, Ending::Dead);
            }
            Err(JobError(Why::Failed { cause, pause })) => (cause, pause),
        };
        let reason = chain(&*cause);
        let by_policy = || kind.registration.retry.pause(attempt.number, self.context.random());
        let retry_at = now.after(pause.unwrap_or_else(by_policy));
        if attempt.is_last {
            attempt.log_dead(&reason);
        } else {
            attempt.log_retry(&reason, retry_at.since(now).as_secs_f64());
        }
        let ending = if attempt.is_last { Ending::Dead } else { Ending::Retried };
        (JobOutcome::Failed { retry_at, reason }, ending)
    }
}

/// The work itself: what panics or takes too long has failed.
async fn work(kind: &Kind, claimed: ClaimedJob) -> JobResult {
    let time = kind.registration.timeout;
    // What is done before the first await may panic, too.
    let begun = async { (kind.registration.handler)(claimed).await };
    match timeout(time, AssertUnwindSafe(begun).catch_unwind()).await {
        Ok(Ok(result)) => result,
        // The message of a panic may quote anything, so it belongs in no reason.
        Ok(Err(_)) => Err(JobError::failed("the handler has panicked")),
        Err(_) => Err(JobError::failed(format!("it took longer than {} s", time.as_secs_f64()))),
    }
}

impl Attempt {
    fn of(claimed: &ClaimedJob) -> Self {
        Self {
            kind: claimed.kind.clone(),
            job: claimed.claim.job,
            number: claimed.attempt,
            is_last: claimed.attempt >= claimed.max_attempts,
        }
    }

    fn log_dead(&self, reason: &str) {
        let Self { kind, job, number, .. } = self;
        tracing::error!(%kind, %job, attempt = number, reason, "a job has failed for good");
    }

    fn log_retry(&self, reason: &str, seconds: f64) {
        let Self { kind, job, number, .. } = self;
        tracing::warn!(%kind, %job, attempt = number, reason, seconds, "a job has failed, and is tried again");
    }
}
