//! Between the task that makes the parts and the body that sends them.

use std::{
    collections::VecDeque,
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::{sync::Notify, task::JoinHandle};

use crate::admission::{Lost, Place};

/// What was made and not sent yet: at most one part.
pub(super) struct Feed {
    state: Mutex<State>,
    taken: Notify,
}

struct State {
    place: Place,
    /// Pieces that wait in the place.
    waiting: usize,
    end: End,
    body: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More is made.
    NotYet,
    /// After what waits.
    Whole,
    /// Something went wrong: what was sent has no end.
    BrokenOff,
}

/// Why a download has no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the export was broken off")]
    Off,
}

impl Feed {
    pub(super) fn new(place: Place, is_last: bool, waiting: usize) -> Arc<Self> {
        let end = if is_last { End::Whole } else { End::NotYet };
        Arc::new(Self { state: Mutex::new(State { place, waiting, end, body: None }), taken: Notify::new() })
    }

    /// Resolves when nothing waits any more. One at a time may wait for that.
    pub(super) async fn taken(&self) {
        while self.lock().waiting > 0 {
            self.taken.notified().await;
        }
    }

    pub(super) fn fill(&self, pieces: VecDeque<Bytes>, is_last: bool) -> Result<(), Lost> {
        let mut state = self.lock();
        let count = pieces.len();
        state.place.refill(pieces)?;
        state.waiting += count;
        if is_last {
            state.end = End::Whole;
        }
        state.wake();
        Ok(())
    }

    /// For the task that fills it: if it ends otherwise than with the last part, the body breaks off.
    pub(super) const fn broken_off_on_drop(self: Arc<Self>) -> Filling {
        Filling(self)
    }

    fn next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let mut state = self.lock();
        match state.place.next_piece() {
            Err(lost) => Poll::Ready(Some(Err(lost.into()))),
            Ok(Some(piece)) => {
                state.waiting -= 1;
                if state.waiting == 0 {
                    self.taken.notify_one();
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Ok(None) => match state.end {
                End::NotYet => {
                    state.body = Some(cx.waker().clone());
                    Poll::Pending
                }
                End::Whole => Poll::Ready(None),
                End::BrokenOff => Poll::Ready(Some(Err(Broken::Off))),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(body) = self.body.take() {
            body.wake();
        }
    }
}

pub(super) struct Filling(Arc<Feed>);

impl Deref for Filling {
    type Target = Feed;

    fn deref(&self) -> &Feed {
        &self.0
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.end == End::NotYet {
            state.end = End::BrokenOff;
        }
        state.wake();
    }
}

/// The body, with which the task ends.
pub(super) struct Download {
    feed: Arc<Feed>,
    making: Option<JoinHandle<()>>,
    /// Whether the end, or the error, has been told.
    is_over: bool,
}

impl Download {
    pub(super) const fn new(feed: Arc<Feed>, making: Option<JoinHandle<()>>) -> Self {
        Self { feed, making, is_over: false }
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = self.feed.next(cx);
        self.is_over = matches!(next, Poll::Ready(None | Some(Err(_))));
        next.map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(making) = &self.making {
            making.abort();
        }
    }
}
