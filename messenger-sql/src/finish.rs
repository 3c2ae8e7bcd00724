//! Work that is finished also when nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that goes on as a task of its own when it is dropped before its end.
///
/// A write must be done as a whole or not at all, so it can't stop where its caller goes away. To begin each in
/// a task would do as well, at the price of waking another thread for every write.
pub struct Finish<F: Future<Output: Send> + Send + 'static> {
    /// Gone at the end, and after a panic.
    work: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> Finish<F> {
    /// To be called within a tokio runtime.
    pub fn new(work: F) -> Self {
        Self { work: Some(Box::pin(work)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Finish<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finish<F> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_half_way_is_finished() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut work = Finish::new(async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(told.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_was_never_polled_is_done_all_the_same() {
        let (tell, told) = oneshot::channel();
        drop(Finish::new(async move { tell.send(7).unwrap() }));
        assert_eq!(told.await.unwrap(), 7);
    }
}
