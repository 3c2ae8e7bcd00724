//! Groups of tasks, and work that runs in a task of its own.

use tokio::task::{JoinError, JoinHandle};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::error::{Error, Result};

/// Tasks that are ended together.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskGroup {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TaskGroup {
    /// Starts a task that ends by itself when it gets the stop signal.
    pub(crate) fn spawn_with_stop<F: Future<Output = ()> + Send + 'static>(
        &self,
        work: impl FnOnce(CancellationToken) -> F,
    ) {
        self.tasks.spawn(work(self.stop.clone()));
    }

    /// Starts a task that the stop signal aborts at any await.
    pub(crate) fn spawn_until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(work));
    }

    /// Starts a task that ignores the stop signal; `None` once the group has been ended.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        // Counted first: whoever ends the group after this look waits for the task.
        let counted = self.tasks.token();
        if self.tasks.is_closed() {
            return None;
        }
        Some(tokio::spawn(async move {
            let _counted = counted;
            work.await
        }))
    }

    /// Gives the stop signal, without waiting.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Gives the stop signal, and waits until all tasks have ended.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Runs work that holds a scarce resource, such as a connection to the store. The caller may stop polling this future
/// for a long time, for example while a client does not read what is written to it; the work continues. Dropping the
/// future aborts it.
pub(crate) async fn driven<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    answer_of(AbortOnDropHandle::new(tokio::spawn(work)).await)
}

/// The result of a task.
pub(crate) fn answer_of<T>(ended: Result<Result<T>, JoinError>) -> Result<T> {
    match ended {
        Ok(answer) => answer,
        // Resumes the panic here. Its message may quote user content, so it belongs in no error.
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::unavailable()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::FutureExt as _;
    use tokio::{sync::Semaphore, time::sleep};

    use super::*;

    /// Work that holds one of the scarce resources for a second.
    async fn with_one_of(few: Arc<Semaphore>) -> Result<()> {
        let _one = few.acquire().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_goes_on_while_nobody_polls_it() {
        let few = Arc::new(Semaphore::new(1));
        let mut left_alone = Box::pin(driven(with_one_of(Arc::clone(&few))));
        assert!(left_alone.as_mut().now_or_never().is_none());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(few.available_permits(), 1);
        assert_eq!(left_alone.now_or_never().unwrap().ok(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_wants_any_more_is_given_up() {
        let few = Arc::new(Semaphore::new(1));
        let mut begun = Box::pin(driven(with_one_of(Arc::clone(&few))));
        assert!(begun.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
        assert_eq!(few.available_permits(), 0);
        drop(begun);
        tokio::task::yield_now().await;
        assert_eq!(few.available_permits(), 1);
    }

    #[tokio::test]
    async fn nothing_begins_in_a_group_that_has_ended_and_what_was_begun_is_waited_for() {
        let group = TaskGroup::default();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let begun = group.spawn(is_done).unwrap();
        let mut end = Box::pin(group.end());
        assert!(end.as_mut().now_or_never().is_none(), "one is under way");
        assert!(group.spawn(async {}).is_none());
        done.send(7).unwrap();
        end.await;
        assert_eq!(begun.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    #[should_panic(expected = "as if it were here")]
    async fn a_panic_is_passed_on() {
        let _ = driven::<()>(async { panic!("as if it were here") }).await;
    }
}
