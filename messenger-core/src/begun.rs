//! A command in two stages: first it is placed in order, then it is answered.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use futures::future::BoxFuture;

use crate::error::Result;

/// A command that the caller's next command can no longer overtake.
pub enum Begun<T> {
    /// It is done.
    Done(Result<T>),
    /// It has its place in the queue for the next commit. Dropping this has the same effect as dropping
    /// [`execute`](crate::Messenger::execute).
    UnderWay(BoxFuture<'static, Result<T>>),
}

impl<T> Begun<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// Those of the command.
    pub async fn answer(self) -> Result<T> {
        match self {
            Self::Done(answer) => answer,
            Self::UnderWay(work) => work.await,
        }
    }

    /// Converts the answer, once it is there.
    #[must_use]
    pub fn and_then<U>(self, make: impl FnOnce(T) -> Result<U> + Send + 'static) -> Begun<U>
    where
        T: 'static,
    {
        match self {
            Self::Done(answer) => Begun::Done(answer.and_then(make)),
            Self::UnderWay(work) => Begun::UnderWay(Box::pin(async move { make(work.await?) })),
        }
    }
}

/// Lets a command report that it is placed.
#[derive(Clone, Default)]
pub(crate) struct Placing(Arc<AtomicBool>);

impl Placing {
    pub(crate) fn placed(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Runs the command until it is placed or done.
    pub(crate) async fn begin<T>(self, work: BoxFuture<'static, Result<T>>) -> Begun<T> {
        let mut work = Some(work);
        poll_fn(|task| {
            let Some(mut begun) = work.take() else { return Poll::Pending };
            match begun.as_mut().poll(task) {
                Poll::Ready(answer) => Poll::Ready(Begun::Done(answer)),
                // Only this command sets the flag, and it has just been polled.
                Poll::Pending if self.0.load(Ordering::Relaxed) => Poll::Ready(Begun::UnderWay(begun)),
                Poll::Pending => {
                    work = Some(begun);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    /// Work that is placed by the first signal, and done by the second.
    fn work(placing: &Placing) -> (BoxFuture<'static, Result<u8>>, [oneshot::Sender<()>; 2]) {
        let ((first, place), (second, end)) = (oneshot::channel(), oneshot::channel());
        let placing = placing.clone();
        let work = async move {
            let _ = place.await;
            placing.placed();
            let _ = end.await;
            Ok(7)
        };
        (work.boxed(), [first, second])
    }

    #[tokio::test]
    async fn a_command_is_begun_once_it_is_placed_and_not_before() {
        let placing = Placing::default();
        let (work, [place, end]) = work(&placing);
        let mut begun = Box::pin(placing.begin(work));
        assert!(futures::poll!(&mut begun).is_pending());
        place.send(()).unwrap();
        let mut answer = Box::pin(begun.await.and_then(|number| Ok(number + 1)).answer());
        assert!(futures::poll!(&mut answer).is_pending());
        end.send(()).unwrap();
        assert_eq!(answer.await.unwrap(), 8);
    }

    #[tokio::test]
    async fn one_that_never_says_where_it_is_placed_is_begun_when_it_is_done() {
        let placing = Placing::default();
        let begun = placing.begin(async { Ok(7) }.boxed()).await;
        assert!(matches!(begun, Begun::Done(Ok(7))));
        assert_eq!(begun.and_then(|number| Ok(number + 1)).answer().await.unwrap(), 8);
    }
}
